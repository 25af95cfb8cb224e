"""CustomResourceDefinitions at work: what they declare is served as soon as the write is answered, and gone with them.

A write of a definition passes an admission plugin: ``admit`` judges the names and sets the status conditions, so that a
new definition is Established when it is answered; ``commit`` puts its versions into the catalog, and looks again at
definitions of the group that waited for a name. ``load`` does the same for the definitions of an old store.
How objects of several versions are kept is in ``stored_versions.py``, how a definition ends in ``crd_deletion.py``.
Source: apiextensions-apiserver pkg/controller/{status,establish}, pkg/apiserver.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sampan.api import metadata
from sampan.api.aggregation.local import synchronize
from sampan.api.catalog import Served
from sampan.api.conversion import converter
from sampan.api.crd_deletion import clean_up
from sampan.api.errors import StatusError, invalid
from sampan.api.request import Admission
from sampan.api.resource import Column, Resource
from sampan.api.resources.definition_status import established, find_condition, judge, storage_version
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.stored_versions import Versions
from sampan.schema.canonical import dumps
from sampan.schema.jsonpath import JSONPathError, compile_path, first
from sampan.schema.objects import Object, api_version_of
from sampan.schema.structural import StructuralType, structural_type
from sampan.store import Conflict, Event, Put, Record
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.schema.types import TypeSystem

logger = logging.getLogger("sampan.api")

PREFIX = prefix_of("customresourcedefinitions.apiextensions.k8s.io")
VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
AGE = Column("Age", ".metadata.creationTimestamp", type="date")
NAME = Column("Name", ".metadata.name", format="name")
ANYTHING: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""The schema of a version without one, which only very old definitions have."""


class Definition(NamedTuple):
    """A definition as it is served: what must differ for its resources to be made anew."""

    spec: Object
    names: Object
    stored: list[str]
    keys: list[tuple[str, str, str]]
    """(group, version, plural) of what it has in the catalog."""
    storage: Served
    """The storage version, served or not."""


class CustomResources:
    """The custom resources of one API: an admission plugin for definitions, and the keeper of their catalog entries."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.terminating: set[tuple[str, str]] = set()
        """(group, plural) of definitions that are being deleted: nothing new is created."""
        self._served: dict[str, Definition] = {}
        self._revisions: dict[str, int] = {}
        """Definition name → the newest revision of it that was looked at."""

    async def load(self) -> None:
        """Serve what the definitions in the store declare, and finish deletions that were cut off."""
        for record in (await self.api.store.page(PREFIX)).records:
            definition = self.api.parsed(record)
            self.serve(record)
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
                self.serve(event.record)

    # admission

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "CustomResourceDefinition" and resource.group == "apiextensions.k8s.io"

    async def admit(self, admission: Admission) -> None:
        definition = admission.object
        if definition is None or admission.subresource or not isinstance(definition.get("spec"), dict):
            return
        judge(definition, await self._others(text(definition, "spec", "group"), admission.name), metadata.now())

    async def validate(self, admission: Admission) -> None:
        """Refuse a definition whose CEL rules do not compile or may cost too much. Raises 422."""
        definition = admission.object
        if definition is None or admission.subresource or not has_rules(definition):
            return
        from sampan.api.resources.definition_rules import rule_causes

        causes = rule_causes(definition, admission.old, self.api.types.version)
        if causes:
            raise invalid(admission.resource, admission.name, causes)

    async def _others(self, group: str, name: str) -> list[Object]:
        """Return the other definitions of a group."""
        found = [self.api.parsed(record) for record in (await self.api.store.page(PREFIX)).records]
        return [one for one in found if text(one, "spec", "group") == group and one["metadata"]["name"] != name]

    async def commit(self, admission: Admission) -> None:
        """Serve, or stop serving, what was written."""
        record = self.api.store.get(PREFIX + admission.name)
        group = text(admission.object or admission.old, "spec", "group")
        if record is None:
            self.forget(admission.name)
        else:
            self.serve(record)
            if self.api.parsed(record)["metadata"].get("deletionTimestamp"):
                await self._clean_up(admission.name)
        if not admission.subresource:
            await self._judge_waiting(group, admission.name)
        await synchronize(self.api)

    async def _judge_waiting(self, group: str, name: str) -> None:
        """Look again at definitions whose names were taken: one may have become free."""
        for other in await self._others(group, name):
            accepted = find_condition(other, "NamesAccepted")
            if accepted is None or accepted.get("status") == "True" or other["metadata"].get("deletionTimestamp"):
                continue
            key = PREFIX + other["metadata"]["name"]
            stored = self.api.store.get(key)
            if stored is None:
                continue
            changed = self.api.whole(stored)
            revision = int(changed["metadata"].pop("resourceVersion"))
            judge(changed, await self._others(group, other["metadata"]["name"]), metadata.now())
            try:
                (record,) = await self.api.registry.commit(Put(key, dumps(changed), expected=revision))
            except Conflict:
                continue  # its own writer judges it
            self.serve(record)

    # the catalog

    def serve(self, record: Record) -> None:
        """Put every served version of an established definition into the catalog, where anything of it has changed."""
        definition = self.api.parsed(record)
        name, spec = definition["metadata"]["name"], definition["spec"]
        names, stored = mapping(definition, "status", "acceptedNames"), items(definition, "status", "storedVersions")
        known = self._served.get(name)
        self._revisions[name] = record.revision
        self._note_deletion(definition)
        if not established(definition) or (
            known is not None and (known.spec, known.names, known.stored) == (spec, names, stored)
        ):
            return
        changed = known is not None or (dig(definition, "metadata", "generation") or 1) > 1
        types = {version["name"]: type_of(definition, version, self.api.types) for version in items(spec, "versions")}
        group = spec["group"]
        versions = Versions(
            converter(self.api.webhook_client, definition),
            api_version_of(group, storage_version(definition)),
            {api_version_of(group, version): type for version, type in types.items()},
            clean_since=record.revision if changed else 0,
            complete=stored == [storage_version(definition)],
        )
        made = {
            version["name"]: resource_of(
                definition,
                version,
                types[version["name"]],
                versions.view(self.api.store, api_version_of(group, version["name"])),
            )
            for version in items(spec, "versions")
        }
        self._serve(name, definition, made)

    def _serve(self, name: str, definition: Object, made: dict[str, Resource]) -> None:
        spec = definition["spec"]
        wanted = [made[version["name"]] for version in items(spec, "versions") if version.get("served")]
        keys = [(resource.group, resource.version, resource.plural) for resource in wanted]
        known = self._served.get(name)
        for key in known.keys if known is not None else ():
            if key not in keys:
                self.api.catalog.remove(*key)
        for resource in wanted:
            self.api.catalog.add(resource)
        storage = made[storage_version(definition)]
        status = mapping(definition, "status")
        self._served[name] = Definition(
            spec,
            mapping(status, "acceptedNames"),
            items(status, "storedVersions"),
            keys,
            Served(storage, storage.schema),
        )

    def _note_deletion(self, definition: Object) -> None:
        entry = (text(definition, "spec", "group"), text(definition, "spec", "names", "plural"))
        if definition["metadata"].get("deletionTimestamp") and entry not in self.terminating:
            self.terminating.add(entry)
            self.api.chain.forget()

    def forget(self, name: str) -> None:
        """Stop serving a definition's resources."""
        known = self._served.pop(name, None)
        self._revisions.pop(name, None)
        plural, _, group = name.partition(".")
        self.terminating.discard((group, plural))
        for key in known.keys if known is not None else ():
            self.api.catalog.remove(*key)

    # deletion

    async def _clean_up(self, name: str) -> None:
        known = self._served.get(name)
        if await clean_up(self.api, PREFIX + name, known.storage if known is not None else None):
            self.forget(name)
            await synchronize(self.api)

    async def after_object(self, group: str, plural: str) -> None:
        """An object of a custom resource is gone: a definition that waited for it may go, too."""
        if (group, plural) in self.terminating:
            await self._clean_up(f"{plural}.{group}")


class CustomObjects:
    """The admission plugin for objects of a definition in deletion: none is created, and each that goes is told."""

    judges = True

    def __init__(self, custom: CustomResources) -> None:
        self.custom = custom

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.custom and (resource.group, resource.plural) in self.custom.terminating

    async def admit(self, admission: Admission) -> None:
        if admission.operation == "CREATE":
            why = "create not allowed while custom resource definition is terminating"
            details = {"group": admission.resource.group, "kind": admission.resource.plural}
            raise StatusError(405, "MethodNotAllowed", why, details=details)

    async def commit(self, admission: Admission) -> None:
        await self.custom.after_object(admission.resource.group, admission.resource.plural)


def type_of(definition: Object, version: Object, types: TypeSystem) -> StructuralType:
    schema = dig(version, "schema", "openAPIV3Schema") or ANYTHING
    if mapping(definition, "spec").get("preserveUnknownFields"):
        schema = {**schema, "x-kubernetes-preserve-unknown-fields": True}
    names = mapping(definition, "status", "acceptedNames") or mapping(definition, "spec", "names")
    group = definition["spec"]["group"]
    return structural_type(schema, group=group, version=version["name"], kind=names["kind"], types=types)


def resource_of(definition: Object, version: Object, type: StructuralType, view: Any = None) -> Resource:
    """Return the declaration of one version of a definition."""
    spec = mapping(definition, "spec")
    names = mapping(definition, "status", "acceptedNames") or mapping(spec, "names")
    columns = tuple(printed(version))
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec.get("scope") == "Namespaced",
        singular=names.get("singular", ""),
        short_names=tuple(items(names, "shortNames")),
        categories=tuple(items(names, "categories")),
        verbs=VERBS,
        columns=(NAME, *(columns or (AGE,))),
        status=dig(version, "subresources", "status") is not None,
        scale=dig(version, "subresources", "scale"),
        field_selectors={
            field["jsonPath"].lstrip("."): getter(field["jsonPath"]) for field in items(version, "selectableFields")
        },
        stored_version=storage_version(definition),
        custom=True,
        trusts_definition=False,
        deprecated=deprecation(definition, version),
        schema=type,
        view=view,
    )


def printed(version: Object) -> Iterator[Column]:
    """Yield the columns of a version, up to the first whose path cannot be read: it must not keep its resource from
    being printed."""
    for column in items(version, "additionalPrinterColumns"):
        try:
            compile_path(column["jsonPath"])
        except JSONPathError as error:
            logger.warning("column %r of a CustomResourceDefinition is not printed: %s", column["name"], error)
            return
        kind, format = column.get("type", "string"), column.get("format", "")
        description, priority = column.get("description", ""), column.get("priority", 0)
        yield Column(column["name"], column["jsonPath"], kind, format, description, priority)


def deprecation(definition: Object, version: Object) -> str:
    """Return the warning of a deprecated version, "" of others."""
    if not version.get("deprecated"):
        return ""
    given = version.get("deprecationWarning")
    kind = text(definition, "spec", "names", "kind")
    return given or f"{definition['spec']['group']}/{version['name']} {kind} is deprecated"


def has_rules(definition: Object) -> bool:
    """Whether any version's schema has CEL rules, without importing what compiles them."""
    return b"x-kubernetes-validations" in orjson.dumps(mapping(definition, "spec"))


def getter(path: str) -> Any:
    def get(obj: Object) -> str:
        found = first(path, obj)
        if isinstance(found, bool):
            return str(found).lower()
        return "" if found is None else str(found)

    return get
