"""What a write makes of an object, and why it is refused: the part of the pipeline that waits for nobody. Pure.

``begin`` (of what was sent to create) and ``renew`` (of what shall be in the place of another) set defaults, what only the
server sets, and who owns which field; ``judge`` validates after admission. The registry calls them in between what waits,
beside the loop where the object is large.
"""

from __future__ import annotations

from sampan.api import metadata as meta
from sampan.api.catalog import Served
from sampan.api.errors import invalid
from sampan.api.options import field_manager
from sampan.api.request import Admission, Request
from sampan.schema.apply import Versions, track_update
from sampan.schema.names import validate_metadata
from sampan.schema.objects import Object

OPTIONAL_IN_TRUTH = {
    ("EndpointSlice", "endpoints"),
    ("ClusterRole", "rules"),
    ("Role", "rules"),
    ("StatefulSet", "spec.serviceName"),
    ("StorageVersionMigration", "spec.resource.group"),
    ("CSINode", "spec"),
    ("CSINode", "spec.drivers"),
}
"""Fields that the OpenAPI definitions call required and Kubernetes' validation does not."""


def begin(request: Request, served: Served, namespace: str, obj: Object, track: bool) -> None:
    """Make a new object of what was sent: what only the server sets, defaults, owners, strategy."""
    resource, at = served.resource, meta.now()
    meta.on_create(obj, namespace if resource.namespaced else "", resource.generation, at)
    if resource.status and not resource.status_on_create:
        obj.pop("status", None)
    default(served, obj)
    if track:
        # before strategy and admission, as kube-apiserver does: what those add has no owner
        manager = field_manager(request)
        track_update(None, obj, type=served.type, manager=manager, api_version=resource.api_version, now=at)
    if resource.prepare is not None:
        resource.prepare(obj, None)
        default(served, obj)


def renew(
    request: Request, served: Served, new: Object, old: Object, subresource: str, versions: Versions | None
) -> Object:
    """Return what a write makes of an object: it keeps what the path may not touch; defaults, owners, strategy.
    ``versions`` finds the other versions of the kind; None: its managedFields are already right."""
    resource = served.resource
    meta.on_update(new, old)
    if subresource == "status":
        new = meta.merge_status(new, old, resource.custom)
    elif resource.status and not subresource:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    default(served, new)
    if versions is not None:
        track_update(
            old,
            new,
            type=served.type,
            manager=field_manager(request),
            api_version=resource.api_version,
            now=meta.now(),
            subresource=subresource,
            versions=versions,
        )
    prepare = resource.prepares.get(subresource) if subresource else resource.prepare
    if prepare is not None:
        prepare(new, old)
        default(served, new)
    return new


def judge(served: Served, admission: Admission, subresource: str, new: Object, old: Object | None) -> None:
    """Validate an object, and warn of it (``request.warnings`` are those of the admission). Raises 422."""
    validate(served, new, old, subresource, admission.warnings)
    warn = served.resource.warn
    if warn is not None and not subresource:
        admission.warnings += warn(new, old)


def default(served: Served, obj: Object) -> None:
    if served.type is not None:
        served.type.default(obj)
    if served.resource.default is not None:
        served.resource.default(obj)


def validate(
    served: Served,
    new: Object,
    old: Object | None,
    subresource: str = "",
    warnings: list[str] | None = None,
) -> None:
    """Raises 422 with every cause found."""
    resource = served.resource
    causes = validate_metadata(new, resource.name_is, resource.namespaced)
    if old is not None:
        causes += meta.forbidden_finalizers(new, old)
    if new["metadata"].get("finalizers") and not resource.custom:
        causes += meta.unknown_finalizers(resource.group, new)
    if served.type is not None and resource.trusts_definition:
        found = {cause.field for cause in causes}
        for cause in served.type.required_missing(new):
            field = cause.field
            if field not in found and not field.startswith("status") and not optional(resource.kind, field):
                causes.append(cause)
    if served.type is not None:
        causes += served.type.validate(new, old, warnings)
    validate = resource.validates.get(subresource, resource.validate)
    if validate is not None:
        found = {cause.field for cause in causes}
        causes += [cause for cause in validate(new, old) if cause.field not in found]
    if causes:
        raise invalid(resource, str(new["metadata"].get("name") or ""), causes)


def optional(kind: str, field: str) -> bool:
    return (kind, field) in OPTIONAL_IN_TRUTH
