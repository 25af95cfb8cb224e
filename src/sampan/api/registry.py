"""The verbs of one resource on the store: get, create, replace, and the pipeline every write goes through.

A write flows: default → mutating admission → default → validate → validating admission → managedFields → store, and the
bytes stored are the bytes served. ``replace`` is the one way to change an object (update, patch, status, scale,
deletion marks): it reads, lets a function make the new object, and writes on condition that nothing changed in between,
again and again where the caller allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

import orjson

from sampan.api import metadata as meta
from sampan.api import pipeline
from sampan.api.catalog import Served
from sampan.api.errors import (
    StatusError,
    already_exists,
    bad_request,
    conflict,
    not_found,
    service_unavailable,
)
from sampan.api.identity import permit
from sampan.api.request import Admission, Request
from sampan.api.turns import LARGE_BODY_BYTES, beside
from sampan.schema import zeros
from sampan.schema.apply import SAME, Version, Versions, same
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object, split_api_version
from sampan.store import (
    Conflict,
    NoSpace,
    Put,
    Record,
    StoreError,
    TooLarge,
    Unavailable,
    Unknown,
    with_resource_version,
)

if TYPE_CHECKING:
    from sampan.api.app import Api

NAME_ATTEMPTS = 8
"""Names tried for one generateName (Kubernetes: 8)."""

CONFLICT_ATTEMPTS = 50
"""Times a write without resourceVersion is tried again; each try means that another writer got on."""

MAX_OBJECT_BYTES = 1_572_864
"""etcd's default request limit, which is what bounds an object in Kubernetes."""


def changes_shape(served: Served) -> bool:
    """Whether a version differs from the stored one by more than its name."""
    return served.resource.from_stored is not None or served.resource.to_stored is not None


class Written(NamedTuple):
    """What a write left: the served bytes, and whether they are of a new or of a removed object."""

    value: bytes
    created: bool = False
    deleted: bool = False


Change = Callable[[Object], Object]
"""``old -> new``; it may change and return what it is given."""


class Registry:
    """Reads and writes of any resource of an API."""

    def __init__(self, api: Api) -> None:
        self.api = api

    # reads

    def record(self, served: Served, namespace: str, name: str) -> Record:
        """Return the stored record. Raises 404."""
        record = self.api.store.get(served.key(namespace, name))
        if record is None:
            raise not_found(served.resource, name)
        return record

    async def current(self, served: Served, namespace: str, name: str) -> Record:
        """Return the record as the version serves it. Raises 404, and 500 where it cannot be converted."""
        record = self.record(served, namespace, name)
        return record if served.view is None else await served.view.record(record)

    async def served_value(self, served: Served, record: Record) -> bytes:
        """Return a stored record's bytes as they are served."""
        if served.view is not None:
            converted: Record = await served.view.record(record)
            return converted.value
        return self.served_bytes(served, record.value)

    async def to_store(self, served: Served, obj: Object) -> bytes:
        """Return an object as the bytes to store. Raises 413, and 500 where it cannot be converted."""
        return self.stored_bytes(served, obj if served.view is None else await served.view.to_store(obj))

    def read(self, served: Served, namespace: str, name: str) -> Object:
        """Return an object of one's own, in the served version. Raises 404."""
        return self.decode(served, self.record(served, namespace, name).value)

    def decode(self, served: Served, value: bytes) -> Object:
        """Return stored bytes as an object in the served version."""
        obj: Object = orjson.loads(value)
        if served.converts:
            obj["apiVersion"] = served.resource.api_version
            if served.resource.from_stored is not None:
                served.resource.from_stored(obj)
            if served.type is not None:
                zeros.refill(served.type, obj)
        return obj

    def served_bytes(self, served: Served, value: bytes) -> bytes:
        """Return stored bytes as they are served: the same, unless the versions differ."""
        return orjson.dumps(self.decode(served, value)) if served.converts else value

    def stored_bytes(self, served: Served, obj: Object) -> bytes:
        """Return an object as the bytes to store. Raises 413."""
        if served.converts:
            obj = orjson.loads(orjson.dumps({**obj, "apiVersion": served.stored_api_version}))
            if served.resource.to_stored is not None:
                served.resource.to_stored(obj)
            group, version = split_api_version(served.stored_api_version)
            stored = self.api.types.type_for(group, version, served.resource.kind)
            if stored is not None:
                zeros.refill(stored, obj)
        value = dumps(obj)
        if len(value) > MAX_OBJECT_BYTES:
            message = f"etcdserver: request is too large: the object has {len(value)} bytes"
            raise StatusError(413, "RequestEntityTooLarge", message)
        return value

    async def convert(self, source: Served, target: Served, obj: Object) -> Object:
        """Return an object of one version of a resource in another version of it."""
        if source.view is not None:
            versions = (source.resource.api_version, target.resource.api_version)
            converted: Object = (await source.view.convert([obj], *versions, stored=False))[0]
            return converted
        version = obj["metadata"].get("resourceVersion")
        made = self.decode(target, self.stored_bytes(source, obj))
        if version:
            made["metadata"]["resourceVersion"] = version
        return made

    # writes

    async def create(
        self, request: Request, served: Served, namespace: str, obj: Object, *, track: bool = True
    ) -> Written:
        """Create an object. ``track=False``: its managedFields are already right. Raises 400, 403, 404, 409, 422."""
        given = obj["metadata"]
        if given.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        base = given.get("generateName") if not given.get("name") else None
        track = track and self.api.tracks_fields
        if len(request.body) > LARGE_BODY_BYTES:
            await beside(pipeline.begin, request, served, namespace, obj, track)
        else:
            pipeline.begin(request, served, namespace, obj, track)
        for attempt in range(NAME_ATTEMPTS):
            if base:
                obj["metadata"]["name"] = meta.generate_name(str(base))
            try:
                return await self._create(request, served, namespace, obj)
            except StatusError as error:
                if error.reason != "AlreadyExists" or not base or attempt == NAME_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def create_instead(
        self, request: Request, served: Served, namespace: str, name: str, obj: Object, *, track: bool = True
    ) -> Written:
        """Create an object by an update or a patch: its sender must be allowed to create it too. Raises as ``create``."""
        at = replace(request.attributes, verb="create", name=name, verdict=None, learned=None)
        await permit(self.api.authorizer, at)
        return await self.create(request, served, namespace, obj, track=track)

    async def _create(self, request: Request, served: Served, namespace: str, obj: Object) -> Written:
        resource = served.resource
        name = str(obj["metadata"].get("name") or "")
        admission = self.admission(request, served, "CREATE", "", namespace, name, obj, None)
        key = served.key(namespace, name)
        written = False
        try:
            await self.api.chain.admit(admission)
            if self.api.chain.changes(admission):
                pipeline.default(served, obj)
            if len(request.body) > LARGE_BODY_BYTES:
                await beside(pipeline.judge, served, admission, "", obj, None)
            else:
                pipeline.judge(served, admission, "", obj, None)
            await self.api.chain.validate(admission)
            if self.api.store.get(key) is not None:
                raise already_exists(resource, name)
            if served.type is not None:
                served.type.fill(obj)
            value = await self.to_store(served, obj)
            if request.dry_run:
                return Written(self.served_bytes(served, value) if served.converts else dumps(obj), created=True)
            (record,) = await self.commit(Put(key, value, expected=0, ttl_seconds=self.ttl_seconds(served)))
            written = True
        except Conflict:
            raise already_exists(resource, name) from None
        finally:
            await self.api.chain.finish(admission, written)
        return Written(await self.served_value(served, record), created=True)

    async def replace(
        self,
        request: Request,
        served: Served,
        namespace: str,
        name: str,
        change: Change,
        *,
        subresource: str = "",
        retry: bool = True,
        track: bool = True,
        operation: str = "UPDATE",
        spares: bool = False,
    ) -> Written:
        """Let ``change`` make the new object of the stored one, and write it. Raises 404, 409 and what ``change`` and
        the pipeline raise. ``retry``: on a conflict read again and call ``change`` again. ``spares``: it leaves what it is
        given as it is, and returns nothing of it."""
        for _ in range(CONFLICT_ATTEMPTS):
            record = await self.current(served, namespace, name)
            old = self.decode(served, record.value)
            new = change(old) if len(request.body) <= LARGE_BODY_BYTES else await beside(change, old)
            if not isinstance(new.get("metadata"), dict):
                raise bad_request("metadata must be an object")
            try:
                return await self._replace(
                    request,
                    served,
                    namespace,
                    name,
                    record,
                    new,
                    old if spares else self.decode(served, record.value),
                    subresource=subresource,
                    track=track,
                    operation=operation,
                )
            except Conflict:
                if not retry:
                    break
        raise conflict(served.resource, name)

    async def change(
        self, request: Request, served: Served, namespace: str, name: str, change: Change, *, subresource: str = ""
    ) -> Object:
        """As ``replace``, for handlers of subresources: returns the new object."""
        written = await self.replace(request, served, namespace, name, change, subresource=subresource)
        obj: Object = orjson.loads(written.value)
        return obj

    async def _replace(
        self,
        request: Request,
        served: Served,
        namespace: str,
        name: str,
        record: Record,
        new: Object,
        old: Object,
        *,
        subresource: str,
        track: bool,
        operation: str,
    ) -> Written:
        resource = served.resource
        asked = new["metadata"].get("resourceVersion")
        if asked and asked != str(record.revision):
            raise conflict(resource, name)
        uid = new["metadata"].get("uid")
        if uid and uid != old["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old['metadata']['uid']}"
            raise conflict(resource, name, why)
        undo: zeros.Undo = []
        if served.type is not None:
            zeros.level(served.type, new, old, undo)
        versions = self.versions(served) if track and self.api.tracks_fields else None
        if len(request.body) > LARGE_BODY_BYTES:
            new = await beside(pipeline.renew, request, served, new, old, subresource, versions)
        else:
            new = pipeline.renew(request, served, new, old, subresource, versions)
        admission = self.admission(request, served, operation, subresource, namespace, name, new, old)
        written = False
        try:
            await self.api.chain.admit(admission)
            if self.api.chain.changes(admission):
                pipeline.default(served, new)
            counted = resource.generation and subresource != "binding"  # where a pod runs is not what it is
            if counted and old["metadata"].get("generation") and meta.spec_changed(new, old):
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            if len(request.body) > LARGE_BODY_BYTES:
                await beside(pipeline.judge, served, admission, subresource, new, old)
            else:
                pipeline.judge(served, admission, subresource, new, old)
            await self.api.chain.validate(admission)
            if served.type is not None:
                served.type.fill(new)
                zeros.restore(undo)
            result = await self._store(request, served, record, new, old)
            written = not request.dry_run
        finally:
            await self.api.chain.finish(admission, written)
        return result

    def versions(self, served: Served) -> Versions:
        """Return what finds the other versions of a kind: managers own fields of the version they wrote in."""

        def find(api_version: str) -> Version | None:
            group, version = split_api_version(api_version)
            resource, catalog, types = served.resource, self.api.catalog, self.api.types
            if resource.custom:
                return SAME  # where a webhook converts, the fields are taken to have the same names
            other = catalog.get(group, version, resource.plural)
            if other is None:  # not served, but known perhaps
                return SAME if types.definition_name(group, version, resource.kind) else None
            if other.key_prefix != served.key_prefix:
                return None
            if not (changes_shape(other) or changes_shape(served)):
                return SAME
            return Version(other.type, lambda obj: self.decode(other, self.stored_bytes(served, obj)))

        return find

    async def _store(self, request: Request, served: Served, record: Record, new: Object, old: Object) -> Written:
        released = self.released(served, new)
        unchanged = not released and same(new, old)
        if unchanged and served.view is None:
            return Written(self.served_bytes(served, record.value))
        value = await self.to_store(served, new)
        if unchanged and self._stored_so(record, value):
            return Written(record.value)
        if request.dry_run:
            return Written(with_resource_version(dumps(new), record.revision), deleted=released)
        put = Put(record.key, value, expected=record.revision, ttl_seconds=self.ttl_seconds(served))
        if released:
            put = Put(record.key, None, expected=record.revision, last=value)
        (after,) = await self.commit(put)
        return Written(await self.served_value(served, after), deleted=released)

    def _stored_so(self, record: Record, value: bytes) -> bool:
        """Whether the store has these very bytes: an object of an old version or schema is written anew (that is how
        storage migrates)."""
        stored = self.api.store.get(record.key)
        return stored is not None and stored.value == with_resource_version(value, stored.revision)

    def ttl_seconds(self, served: Served) -> int:
        """Return how long an object lives without another write; 0: for ever."""
        return self.api.event_ttl_seconds if served.resource.expires else 0

    def released(self, served: Served, obj: Object) -> bool:
        """Whether an object that is being deleted has nothing left that keeps it."""
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
            return False
        if metadata.get("deletionGracePeriodSeconds"):
            return False
        held = served.resource.held
        return held is None or not held(obj)

    async def commit(self, *puts: Put) -> list[Record]:
        """Write to the store. Raises ``Conflict``; 507 or 500 where the disk refuses; where the database is elsewhere,
        503 when it does not answer and 504 when nobody knows what became of the write."""
        begun = perf_counter()
        try:
            records = await self.api.store.commit(puts)
        except Conflict:
            raise
        except TooLarge as error:
            raise StatusError(413, "RequestEntityTooLarge", str(error)) from error
        except NoSpace as error:
            raise StatusError(507, "InternalError", f"Internal error occurred: {error}") from error
        except Unavailable as error:
            raise service_unavailable(str(error)) from error
        except Unknown as error:
            raise StatusError(504, "Timeout", f"Timeout: {error}") from error
        except StoreError as error:
            raise StatusError(500, "InternalError", f"Internal error occurred: {error}") from error
        first = puts[0]
        operation = "delete" if first.value is None else "create" if first.expected == 0 else "update"
        self.api.metrics.committed(operation, begun)
        return records

    async def admit_body(self, request: Request, served: Served, subresource: str, body: Object, kind: str) -> None:
        """Run the admission plugins over the body of a subresource that is created and not stored (Eviction,
        TokenRequest)."""
        at = request.attributes
        admission = self.admission(request, served, "CREATE", subresource, at.namespace, at.name, body, None)
        admission.body_kind = kind
        await self.api.chain.admit(admission)
        await self.api.chain.validate(admission)

    # the pipeline's parts

    def admission(
        self,
        request: Request,
        served: Served,
        operation: str,
        subresource: str,
        namespace: str,
        name: str,
        obj: Object | None,
        old: Object | None,
    ) -> Admission:
        return Admission(
            self.api,
            request.user,
            operation,
            served.resource,
            subresource,
            namespace,
            name,
            obj,
            old,
            request.dry_run,
            request.warnings,
            request.audit_annotations,
            request.query,
            request=request,
        )
