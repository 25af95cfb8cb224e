"""CustomResourceDefinitions at work: what they declare is served as soon as the write is answered, and gone with them.

A write of a definition passes an admission plugin: ``admit`` judges the names and sets the status conditions, so that a
new definition is Established when it is answered; ``commit`` puts its versions into the catalog. A deleted definition is
held by Kubernetes' own finalizer until its objects are gone; ``commit`` removes them and lets it go. ``load`` does the
same for the definitions of an old store.
Source: apiextensions-apiserver pkg/controller/{status,establish,finalizer}, pkg/apiserver.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sampan.api import metadata
from sampan.api.request import Admission, Attributes, Request, User
from sampan.api.resource import Column, Resource
from sampan.api.resources.definitions import CLEANUP, accepted_status, conflict_of, established
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.canonical import dumps
from sampan.schema.jsonpath import first
from sampan.schema.objects import Object
from sampan.schema.structural import structural_type
from sampan.store import Conflict, Event, Put

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.catalog import Served

PREFIX = "/registry/apiextensions.k8s.io/customresourcedefinitions/"
APPROVAL = "api-approved.kubernetes.io"
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
AGE = Column("Age", ".metadata.creationTimestamp", type="date")
NAME = Column("Name", ".metadata.name", format="name")


class CustomResources:
    """The custom resources of one API: an admission plugin for definitions, and the keeper of their catalog entries."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._served: dict[str, list[tuple[str, str, str]]] = {}
        """Definition name → (group, version, plural) of what it has in the catalog."""
        self._revisions: dict[str, int] = {}
        """Definition name → the revision of it that is served."""

    async def load(self) -> None:
        """Serve what the definitions in the store declare, and finish deletions that were cut off."""
        for record in (await self.api.store.page(PREFIX)).records:
            definition = self.api.parsed(record)
            self.serve(definition)
            if definition["metadata"].get("deletionTimestamp"):
                await self._clean_up(definition["metadata"]["name"])

    async def follow(self, events: Sequence[Event]) -> None:
        """Serve what other servers' definitions declare; who handles a write has done it before (``commit``)."""
        for event in events:
            name = event.record.key[len(PREFIX) :]
            if event.deleted:
                if self.api.store.get(event.record.key) is None:
                    self.forget(name)
            elif self._revisions.get(name, 0) < event.revision:
                self.serve(self.api.parsed(event.record))

    # admission

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "CustomResourceDefinition" and resource.group == "apiextensions.k8s.io"

    async def admit(self, admission: Admission) -> None:
        definition = admission.object
        if definition is None:
            await self._hold(admission)
            return
        if admission.subresource or not isinstance(definition.get("spec"), dict):
            return
        others = [
            self.api.parsed(record)
            for record in (await self.api.store.page(PREFIX)).records
            if record.key != PREFIX + admission.name
        ]
        group = text(definition, "spec", "group")
        refused = conflict_of(definition, [other for other in others if text(other, "spec", "group") == group])
        definition["status"] = accepted_status(definition, refused, metadata.now())

    async def _hold(self, admission: Admission) -> None:
        """Put the finalizer on a definition that is about to be deleted."""
        old = admission.old
        if old is None or admission.dry_run or CLEANUP in items(old, "metadata", "finalizers"):
            return
        if admission.operation != "DELETE" or old["metadata"].get("deletionTimestamp"):
            return
        if await self._empty(old):
            return
        changed = copy.deepcopy(old)
        revision = int(changed["metadata"].pop("resourceVersion"))
        changed["metadata"]["finalizers"] = [*items(old, "metadata", "finalizers"), CLEANUP]
        key = PREFIX + old["metadata"]["name"]
        await self.api.registry.commit(Put(key, dumps(changed), expected=revision))

    async def _empty(self, definition: Object) -> bool:
        for _, _, prefix in self._prefixes(definition):
            if (await self.api.store.page(prefix, limit=1)).records:
                return False
        return True

    def _prefixes(self, definition: Object) -> list[tuple[str, str, str]]:
        found = []
        for group, version, plural in self._served.get(definition["metadata"]["name"], ()):
            served = self.api.catalog.get(group, version, plural)
            if served is not None:
                found.append((group, version, served.key_prefix))
        return found[:1]

    async def commit(self, admission: Admission) -> None:
        """Serve, or stop serving, what was written."""
        record = self.api.store.get(PREFIX + admission.name)
        if record is None:
            self.forget(admission.name)
            return
        definition = self.api.parsed(record)
        if definition["metadata"].get("deletionTimestamp"):
            await self._clean_up(admission.name)
        elif not admission.subresource:
            self.serve(definition)

    # the catalog

    def serve(self, definition: Object) -> None:
        """Put every served version of an established definition into the catalog."""
        name = definition["metadata"]["name"]
        if not established(definition):
            return
        wanted = [
            resource_of(definition, version)
            for version in items(definition, "spec", "versions")
            if version.get("served")
        ]
        keys = [(resource.group, resource.version, resource.plural) for resource in wanted]
        for key in self._served.get(name, ()):
            if key not in keys:
                self.api.catalog.remove(*key)
        for resource in wanted:
            self.api.catalog.add(resource)
        self._served[name] = keys
        self._revisions[name] = int(definition["metadata"].get("resourceVersion") or 0)

    def forget(self, name: str) -> None:
        """Stop serving a definition's resources."""
        self._revisions.pop(name, None)
        for key in self._served.pop(name, ()):
            self.api.catalog.remove(*key)

    # deletion

    async def _clean_up(self, name: str) -> None:
        """Delete the objects of a definition that is being deleted, and let it go when none is left."""
        record = self.api.store.get(PREFIX + name)
        if record is None:
            self.forget(name)
            return
        definition = self.api.parsed(record)
        if CLEANUP in items(definition, "metadata", "finalizers"):
            for group, version, _ in self._prefixes(definition):
                served = self.api.catalog.get(group, version, text(definition, "spec", "names", "plural"))
                if served is not None:
                    await self._delete_all(served)
            if not await self._empty(definition):
                return  # objects with finalizers: each that goes asks again (``after_object``)
            await self._let_go(name)

    async def _delete_all(self, served: Served) -> None:
        from sampan.api import deleting
        from sampan.api.errors import StatusError

        user = User("system:apiserver", ("system:masters",))
        for record in (await self.api.store.page(served.key_prefix)).records:
            found = self.api.parsed(record)["metadata"]
            namespace, name = found.get("namespace", ""), found["name"]
            resource = served.resource
            at = Attributes(user, "delete", "", resource.group, resource.version, resource.plural, "", namespace, name)
            request = Request(self.api, user, at, "DELETE", {}, {}, {})
            try:
                await deleting.delete(self.api.registry, request, served, namespace, name, deleting.DeleteOptions(0))
            except StatusError as error:
                if error.code != 404:
                    raise

    async def _let_go(self, name: str) -> None:
        record = self.api.store.get(PREFIX + name)
        if record is None:
            return
        changed = copy.deepcopy(self.api.parsed(record))
        changed["metadata"].pop("resourceVersion", None)
        finalizers = [item for item in items(changed, "metadata", "finalizers") if item != CLEANUP]
        changed["metadata"]["finalizers"] = finalizers
        if not finalizers:
            del changed["metadata"]["finalizers"]
        value = dumps(changed)
        put = (
            Put(record.key, value, record.revision)
            if finalizers
            else Put(record.key, None, record.revision, last=value)
        )
        try:
            await self.api.registry.commit(put)
        except Conflict:
            await self._clean_up(name)
            return
        if not finalizers:
            self.forget(name)

    async def after_object(self, group: str, plural: str) -> None:
        """An object of a custom resource is gone: a definition that waited for it may go, too."""
        record = self.api.store.get(f"{PREFIX}{plural}.{group}")
        if record is not None and self.api.parsed(record)["metadata"].get("deletionTimestamp"):
            await self._clean_up(f"{plural}.{group}")


class CustomObjects:
    """The admission plugin that tells a definition in deletion that one of its objects has gone."""

    def __init__(self, custom: CustomResources) -> None:
        self.custom = custom

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.custom and operation in ("DELETE", "UPDATE")

    async def commit(self, admission: Admission) -> None:
        resource, old = admission.resource, admission.old
        if old is not None and old["metadata"].get("deletionTimestamp"):
            await self.custom.after_object(resource.group, resource.plural)


def resource_of(definition: Object, version: Object) -> Resource:
    """Return the declaration of one version of a definition."""
    spec = mapping(definition, "spec")
    names = mapping(definition, "status", "acceptedNames") or mapping(spec, "names")
    group, kind = spec["group"], names["kind"]
    schema = dig(version, "schema", "openAPIV3Schema") or {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    storage = next(one["name"] for one in items(spec, "versions") if one.get("storage"))
    columns = tuple(
        Column(
            column["name"],
            column["jsonPath"],
            column.get("type", "string"),
            column.get("format", ""),
            column.get("description", ""),
            column.get("priority", 0),
        )
        for column in items(version, "additionalPrinterColumns")
    )
    scale = dig(version, "subresources", "scale")
    return Resource(
        group=group,
        version=version["name"],
        kind=kind,
        plural=names["plural"],
        namespaced=spec.get("scope") == "Namespaced",
        singular=names.get("singular", ""),
        short_names=tuple(items(names, "shortNames")),
        categories=tuple(items(names, "categories")),
        verbs=VERBS,
        columns=(NAME, *(columns or (AGE,))),
        status=dig(version, "subresources", "status") is not None,
        scale=scale,
        field_selectors={
            field["jsonPath"].lstrip("."): getter(field["jsonPath"]) for field in items(version, "selectableFields")
        },
        unconditional_update=False,
        stored_version=storage,
        custom=True,
        schema=structural_type(schema, group=group, version=version["name"], kind=kind),
    )


def getter(path: str) -> Any:
    def get(obj: Object) -> str:
        found = first(path, obj)
        if isinstance(found, bool):
            return str(found).lower()
        return "" if found is None else str(found)

    return get
