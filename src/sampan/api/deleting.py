"""Deletion: grace periods, finalizers, propagation, preconditions.

An object goes at once, or is marked (``metadata.deletionTimestamp``) and goes when its grace period, its finalizers and
what else holds it are done. Source: API conventions; k8s.io/apiserver ``rest.BeforeDelete`` and
``registry.Store.Delete``.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from sampan.api import metadata as meta
from sampan.api.catalog import Served
from sampan.api.errors import bad_request, conflict
from sampan.api.negotiation import JSON, YAML, media_type
from sampan.api.options import decode_body
from sampan.api.registry import Registry, Written
from sampan.api.request import Request
from sampan.api.routing import is_true
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Put, Record

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
POLICIES = ("Background", "Foreground", "Orphan")
ATTEMPTS = 50
MAX_INT64 = (1 << 63) - 1
END_OF_TIME = 253402300799.0
"""9999-12-31T23:59:59Z, the last moment that RFC 3339 can say."""


class DeleteOptions(NamedTuple):
    """``meta/v1 DeleteOptions`` from a body or from the query."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    uid: str | None = None
    resource_version: str | None = None

    def as_object(self) -> Object:
        """Return the options as ``DeleteOptions`` has them."""
        given = {"uid": self.uid, "resourceVersion": self.resource_version}
        preconditions = {key: value for key, value in given.items() if value}
        made: Object = {} if self.grace_period_seconds is None else {"gracePeriodSeconds": self.grace_period_seconds}
        if preconditions:
            made["preconditions"] = preconditions
        if self.propagation_policy is not None:
            made["propagationPolicy"] = self.propagation_policy
        return made


def delete_options(request: Request) -> DeleteOptions:
    """Return the options of a DELETE. Raises 400."""
    options: Object = {}
    if request.body:
        media = media_type(request.headers.get("content-type", "")) or JSON
        decoded, _ = decode_body(request, media if media in (JSON, YAML) else JSON)
        if not isinstance(decoded, dict):
            raise bad_request("the body of the request is not DeleteOptions")
        options = decoded
    query = request.query
    grace = options.get("gracePeriodSeconds", _integer(query.get("gracePeriodSeconds")))
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int) or abs(grace) > MAX_INT64):
        raise bad_request("gracePeriodSeconds must be an integer")
    policy = options.get("propagationPolicy") or query.get("propagationPolicy")
    orphan = options.get(
        "orphanDependents", is_true(query["orphanDependents"]) if "orphanDependents" in query else None
    )
    if policy is None and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    if policy is not None and policy not in POLICIES:
        values = ", ".join(f'"{value}"' for value in POLICIES)
        raise bad_request(f'propagationPolicy: Unsupported value: "{policy}": supported values: {values}')
    preconditions = options.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise bad_request("preconditions must be an object")
    dry_run = options.get("dryRun")
    if dry_run == ["All"]:
        request.query = {**query, "dryRun": "All"}
    return DeleteOptions(grace, policy, preconditions.get("uid"), preconditions.get("resourceVersion"))


def _integer(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise bad_request(f'gracePeriodSeconds: Invalid value: "{text}": must be an integer') from None


async def delete(
    registry: Registry,
    request: Request,
    served: Served,
    namespace: str,
    name: str,
    options: DeleteOptions,
    *,
    admission: bool = True,
) -> Written:
    """Delete an object, or begin to. Raises 404, 409 and what admission raises; ``admission=False``: nobody is asked."""
    for _ in range(ATTEMPTS):
        record = await registry.current(served, namespace, name)
        old = registry.decode(served, record.value)
        _check_preconditions(served, old, record, options)
        try:
            if not admission:
                return await _delete_once(registry, request, served, record, old, options)
            return await _admitted(registry, request, served, record, old, options)
        except Conflict:
            if options.resource_version:
                break
    raise conflict(served.resource, name)


async def _admitted(
    registry: Registry, request: Request, served: Served, record: Record, old: Object, options: DeleteOptions
) -> Written:
    namespace, name = old["metadata"].get("namespace", ""), old["metadata"]["name"]
    admission = registry.admission(request, served, "DELETE", "", namespace, name, None, old)
    admission.options = options.as_object()
    await registry.api.chain.admit(admission)
    await registry.api.chain.validate(admission)
    written = False
    try:
        result = await _delete_once(registry, request, served, record, old, options)
        written = not request.dry_run
        return result
    finally:
        await registry.api.chain.finish(admission, written)


def _check_preconditions(served: Served, old: Object, record: Record, options: DeleteOptions) -> None:
    name, uid = old["metadata"]["name"], old["metadata"]["uid"]
    if options.uid and options.uid != uid:
        why = f"the UID in the precondition ({options.uid}) does not match the UID in record ({uid})."
        raise conflict(served.resource, name, why + " The object might have been deleted and then recreated")
    if options.resource_version and options.resource_version != str(record.revision):
        why = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the ResourceVersion"
            f" in record ({record.revision}). The object might have been modified"
        )
        raise conflict(served.resource, name, why)


async def _delete_once(
    registry: Registry, request: Request, served: Served, record: Record, old: Object, options: DeleteOptions
) -> Written:
    new = registry.decode(served, record.value)
    new["metadata"].pop("resourceVersion", None)
    _set_propagation(new, options)
    grace = _grace(served, old, options)
    metadata = new["metadata"]
    held = metadata.get("finalizers") or (served.resource.held is not None and served.resource.held(new))
    before = old["metadata"].get("deletionGracePeriodSeconds")
    already = "deletionTimestamp" in old["metadata"]
    if not grace and not held:
        return await _remove(registry, request, served, record, new)
    if (
        already
        and (before is None or before <= grace)
        and metadata.get("finalizers") == old["metadata"].get("finalizers")
    ):
        return Written(registry.served_bytes(served, record.value))
    _mark(served, new, old, grace, already)
    value = await registry.to_store(served, new)
    if request.dry_run:
        return Written(dumps(new))
    (after,) = await registry.commit(Put(record.key, value, expected=record.revision))
    return Written(await registry.served_value(served, after))


def _mark(served: Served, new: Object, old: Object, grace: int, already: bool) -> None:
    metadata = new["metadata"]
    before = metadata.get("deletionGracePeriodSeconds") or 0
    if not already:
        metadata["deletionTimestamp"] = meta.timestamp(min(time.time() + grace, END_OF_TIME))
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
        if served.resource.mark_deleted is not None:
            served.resource.mark_deleted(new)
    elif grace < before:
        metadata["deletionTimestamp"] = meta.timestamp(min(time.time() + grace, END_OF_TIME))
        metadata["deletionGracePeriodSeconds"] = grace


def _set_propagation(new: Object, options: DeleteOptions) -> None:
    """Put the garbage collector's finalizer there, as the policy asks."""
    if options.propagation_policy is None:
        return
    finalizers = [item for item in new["metadata"].get("finalizers") or [] if item not in (FOREGROUND, ORPHAN)]
    if options.propagation_policy == "Foreground":
        finalizers.append(FOREGROUND)
    elif options.propagation_policy == "Orphan":
        finalizers.append(ORPHAN)
    if finalizers:
        new["metadata"]["finalizers"] = finalizers
    else:
        new["metadata"].pop("finalizers", None)


def _grace(served: Served, old: Object, options: DeleteOptions) -> int:
    if served.resource.graceful is None:
        return 0
    asked = options.grace_period_seconds
    return max(served.resource.graceful(old, asked), 0)


async def _remove(registry: Registry, request: Request, served: Served, record: Record, new: Object) -> Written:
    last = await registry.to_store(served, new)
    if request.dry_run:
        return Written(registry.served_bytes(served, record.value), deleted=True)
    (after,) = await registry.commit(Put(record.key, None, expected=record.revision, last=last))
    return Written(await registry.served_value(served, after), deleted=True)


def deleted_status(served: Served, obj: Object) -> dict[str, Any]:
    """Return the ``Status`` that answers a deletion."""
    details = {
        "name": obj["metadata"]["name"],
        "group": served.resource.group,
        "kind": served.resource.plural,
        "uid": obj["metadata"]["uid"],
    }
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }
