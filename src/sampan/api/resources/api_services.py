"""APIServices as objects: defaults and validation. What they do is in ``api/aggregation``.

Source: kube-aggregator pkg/apis/apiregistration (v1/defaults.go, validation/validation.go), pkg/registry/apiservice.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import PORT_RANGE, collect
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import invalid, not_supported, required
from sampan.schema.names import dns1035_label, dns1123_subdomain
from sampan.schema.objects import Object

MAX_GROUP_PRIORITY, MAX_VERSION_PRIORITY = 20000, 1000
STATUSES = ("True", "False", "Unknown")


def default_api_service(api_service: Object) -> None:
    service = dig(api_service, "spec", "service")
    if isinstance(service, dict):
        service.setdefault("port", 443)


def validate_api_service(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    group, version, name = spec.get("group") or "", spec.get("version") or "", text(new, "metadata", "name")
    wanted = f"{version}.{group}"
    if name != wanted:
        shown = json.dumps(wanted, ensure_ascii=False)
        yield invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: {shown}')
    if not group and version != "v1":
        yield required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    for message in dns1123_subdomain(group) if group else ():
        yield invalid("spec.group", group, message)
    for message in dns1035_label(version):
        yield invalid("spec.version", version, message)
    for key, limit in (("groupPriorityMinimum", MAX_GROUP_PRIORITY), ("versionPriority", MAX_VERSION_PRIORITY)):
        value = spec.get(key) or 0
        if not 0 < value <= limit:
            yield invalid(f"spec.{key}", value, f"must be positive and less than {limit}")
    if spec.get("service") is None:
        yield from check_local(spec)
    else:
        yield from check_remote(spec)
    for index, condition in enumerate(items(new, "status", "conditions")):
        if condition.get("status") not in STATUSES:
            yield not_supported(f"status.conditions[{index}].status", condition.get("status"), STATUSES)


def check_local(spec: Object) -> Iterator[Cause]:
    if spec.get("caBundle"):
        size = len(base64.b64decode(spec["caBundle"]))
        yield invalid("spec.caBundle", f"{size} bytes", "local APIServices may not have a caBundle")
    if spec.get("insecureSkipTLSVerify"):
        why = "local APIServices may not have insecureSkipTLSVerify"
        yield invalid("spec.insecureSkipTLSVerify", True, why)


def check_remote(spec: Object) -> Iterator[Cause]:
    service = mapping(spec, "service")
    for key in ("namespace", "name"):
        if not service.get(key):
            yield required(f"spec.service.{key}")
    port = service.get("port", 443)
    if not isinstance(port, int) or not 0 < port < 65536:
        yield invalid("spec.service.port", port, f"port is not valid: {PORT_RANGE}")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        yield invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present")


def availability(api_service: Object) -> str:
    for condition in items(api_service, "status", "conditions"):
        if condition.get("type") == "Available":
            if condition.get("status") == "True":
                return "True"
            return f"{condition.get('status')} ({condition.get('reason')})"
    return "Unknown"


def service_cell(api_service: Object) -> str:
    service = mapping(api_service, "spec", "service")
    return f"{service.get('namespace')}/{service.get('name')}" if service else "Local"


API_SERVICE = Resource(
    group="apiregistration.k8s.io",
    version="v1",
    kind="APIService",
    plural="apiservices",
    namespaced=False,
    categories=("api-extensions",),
    status=True,
    generation=False,
    name_is="path",
    trusts_definition=False,
    default=default_api_service,
    validate=collect(validate_api_service),
    columns=(NAME, Column("Service", service_cell), Column("Available", availability), AGE),
)
