"""Objects that another Kubernetes version stored: brought into the version that is stored now, once, at start.

A store that was written by a server of 1.28 has FlowSchemas as v1beta3; a server of 1.37 stores and serves them as v1. Custom
resources have views instead (``stored_versions.py``). On a store that several servers write nothing is rewritten: the
others may not know the newer version yet. Source: what kube-storage-version-migrator does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import orjson

from sampan.api.catalog import Served
from sampan.api.resources.versions import conversion, several_versions
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Put, Record

if TYPE_CHECKING:
    from sampan.api.app import Api

logger = logging.getLogger("sampan.api")


async def restore(api: Api) -> None:
    """Rewrite what was stored in another version of its kind."""
    if api.store.shared or not api.store.revision:
        return
    for served in stored_as_themselves(api):
        puts = []
        for record in (await api.store.page(served.key_prefix)).records:
            brought = in_version(record, served)
            if brought is not None:
                puts.append(Put(record.key, dumps(brought), expected=record.revision))
        if puts:
            logger.info("%d objects are now stored as %s", len(puts), served.resource.api_version)
            try:
                await api.store.commit(puts)
            except Conflict as conflict:  # nobody writes yet: a store that is broken says so on every start
                logger.warning("not rewritten: %s", conflict)


def stored_as_themselves(api: Api) -> Iterator[Served]:
    """Yield the kinds that have had several versions, as they are stored."""
    known = several_versions()
    for served in api.catalog:
        resource = served.resource
        if not resource.custom and not served.converts and (resource.group, resource.kind) in known:
            yield served


def in_version(record: Record, served: Served) -> Object | None:
    """Return an object in the version of ``served``, None where it is in it already or cannot be brought there."""
    resource = served.resource
    if record.value.startswith(f'{{"apiVersion":"{resource.api_version}",'.encode()):
        return None  # most are written so
    obj: Object = orjson.loads(record.value)
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    if group != resource.group or version == resource.version:
        return None
    way = conversion(group, resource.kind, version, resource.version)
    if way is None:
        return None
    way(obj)
    obj["apiVersion"] = resource.api_version
    obj["metadata"].pop("resourceVersion", None)
    return obj
