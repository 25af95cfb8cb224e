"""The end of a CustomResourceDefinition: its objects go first, then the finalizer, then what it served.

Objects with finalizers of their own keep it; each that goes asks again (``CustomObjects``).
Source: apiextensions-apiserver pkg/controller/finalizer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api import deleting, metadata
from sampan.api.errors import StatusError
from sampan.api.request import Attributes, Request, User
from sampan.api.resources.definition_status import CLEANUP, Condition, set_condition
from sampan.api.resources.reading import items
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Put

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.catalog import Served

SERVER = User("system:apiserver", ("system:masters",))
IN_PROGRESS = Condition("Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")


async def clean_up(api: Api, key: str, served: Served | None) -> bool:
    """Delete the objects of a definition in deletion, and the definition where none is left. Return whether it is gone."""
    while True:
        record = api.store.get(key)
        if record is None:
            return True
        definition = api.whole(record)
        if CLEANUP not in items(definition, "metadata", "finalizers"):
            return False
        if served is not None:
            waiting = IN_PROGRESS
            try:
                await delete_all(api, served)
            except StatusError as error:
                waiting = IN_PROGRESS._replace(reason="InstanceDeletionFailed", message=str(error))
            if (await api.store.page(served.key_prefix, limit=1)).records:
                set_condition(definition, waiting, metadata.now())
                await _write(api, key, record.revision, definition)
                return False
        try:
            return await _let_go(api, key, record.revision, definition)
        except Conflict:
            continue  # somebody changed it meanwhile: look again


async def _write(api: Api, key: str, revision: int, definition: Object) -> None:
    value = dumps(definition)
    record = api.store.get(key)
    same = record is not None and dumps(api.whole(record)) == value
    if not same:
        try:
            await api.registry.commit(Put(key, value, revision))
        except Conflict:
            return  # whoever wrote it comes by here as well


async def _let_go(api: Api, key: str, revision: int, definition: Object) -> bool:
    finalizers = [item for item in items(definition, "metadata", "finalizers") if item != CLEANUP]
    done = Condition("Terminating", "False", "InstanceDeletionCompleted", "removed all instances")
    set_condition(definition, done, metadata.now())
    if finalizers:
        definition["metadata"]["finalizers"] = finalizers
        await api.registry.commit(Put(key, dumps(definition), revision))
        return False
    del definition["metadata"]["finalizers"]
    await api.registry.commit(Put(key, None, revision, last=dumps(definition)))
    return True


async def delete_all(api: Api, served: Served) -> None:
    """Delete every object of a resource, as far as their finalizers allow; nobody is asked."""
    for record in (await api.store.page(served.key_prefix)).records:
        found = api.parsed(record)["metadata"]
        namespace, name = found.get("namespace", ""), found["name"]
        resource = served.resource
        at = Attributes(SERVER, "delete", "", resource.group, resource.version, resource.plural, "", namespace, name)
        request = Request(api, SERVER, at, "DELETE", {}, {}, {})
        try:
            options = deleting.DeleteOptions(0)
            await deleting.delete(api.registry, request, served, namespace, name, options, admission=False)
        except StatusError as error:
            if error.code != 404:
                raise
