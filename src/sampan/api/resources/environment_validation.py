"""Validation of a container's environment. Source: kubernetes pkg/apis/core/validation (ValidateEnv, ValidateEnvFrom)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import config_key, good_subdomain, label, qualified, subdomain, unreserved_path
from sampan.api.resources.pod_rules import Rules, Scope
from sampan.api.resources.quantities import amount
from sampan.schema.causes import invalid, not_found, not_supported, required
from sampan.schema.names import dns1123_subdomain, pattern
from sampan.schema.objects import Object

PRINTABLE = re.compile(r"[ -<>-~]+")
RELAXED_NAME = "a valid environment variable name must consist only of printable ASCII characters other than '='"
STRICT = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*", re.ASCII)
STRICT_NAME = pattern(
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not "
    "start with a digit",
    "[-._a-zA-Z][-._a-zA-Z0-9]*",
    "my.env-name",
    "MY_ENV.NAME",
    "MyEnvName1",
)
SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
KNOWN_FIELDS = frozenset((
    *ENV_FIELDS, *VOLUME_FIELDS, "spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase",
))  # fmt: skip
"""What ``ConvertDownwardAPIFieldLabel`` knows."""
RESOURCE_FIELDS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip
HUGE_PREFIXES = ("limits.hugepages-", "requests.hugepages-")
SUBSCRIPTED = re.compile(r"(.*)\['(.*)'\]", re.DOTALL)
BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
DIVISORS = {
    "cpu": (("1m", "1"), "the cpu"),
    "memory": (BYTE_DIVISORS, "the memory"),
    "ephemeral-storage": (BYTE_DIVISORS, "the local ephemeral storage"),
    "hugepages": (BYTE_DIVISORS, "the hugepages"),
}


def variables(listed: list[Object], field: str, scope: Scope) -> Iterator[Cause]:
    """Yield what is wrong with ``env``."""
    for index, variable in enumerate(listed):
        name = variable.get("name")
        if not name:
            yield required(f"{field}[{index}].name")
        else:
            yield from variable_name(f"{field}[{index}].name", name, scope.rules)
        source = variable.get("valueFrom")
        if source is not None:
            yield from value_from(source, f"{field}[{index}].valueFrom", bool(variable.get("value")), scope)


def variable_name(field: str, name: str, rules: Rules) -> Iterator[Cause]:
    if rules.relaxed_env:
        if not PRINTABLE.fullmatch(name):
            yield invalid(field, name, RELAXED_NAME)
        return
    if not STRICT.fullmatch(name):
        yield invalid(field, name, STRICT_NAME)
    if name == "." or name == "..":
        yield invalid(field, name, f"must not be '{name}'")
    elif name.startswith(".."):
        yield invalid(field, name, "must not start with '..'")


def value_from(source: Object, field: str, has_value: bool, scope: Scope) -> Iterator[Cause]:
    given = [key for key in SOURCES if source.get(key) is not None]
    for key in given:
        yield from CHECKS[key](source[key], f"{field}.{key}", scope)
    if not given:
        known = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        if scope.rules.env_files:
            known = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield invalid(field, "", f"must specify one of: {known}")
    elif has_value:
        yield invalid(field, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(field, "", "may not have more than one field specified at a time")


def key_reference(reference: Object, field: str, scope: Scope) -> Iterator[Cause]:
    name, key = reference.get("name") or "", reference.get("key")
    if not (name and good_subdomain(name)):
        for message in dns1123_subdomain(name):
            yield invalid(f"{field}.name", name, message)
    if not key:
        yield required(f"{field}.key")
    else:
        yield from config_key(f"{field}.key", key)


def file_reference(reference: Object, field: str, scope: Scope) -> Iterator[Cause]:
    volume = reference.get("volumeName") or ""
    yield from label(f"{field}.volumeName", volume)
    if volume and volume not in scope.volumes:
        yield not_found(f"{field}.volumeName", volume)
    elif volume and scope.volumes[volume].get("emptyDir") is None:
        yield invalid(f"{field}.volumeName", volume, "must be an emptyDir volume")
    if not reference.get("path"):
        yield required(f"{field}.path")
    else:
        yield from unreserved_path(f"{field}.path", reference["path"])
    if not reference.get("key"):
        yield required(f"{field}.key")
    else:
        yield from variable_name(f"{field}.key", reference["key"], scope.rules)


def env_field(reference: Object, field: str, scope: Scope) -> Iterator[Cause]:
    return object_field(reference, field, ENV_FIELDS)


def env_resource(reference: Object, field: str, scope: Scope) -> Iterator[Cause]:
    return container_resource(reference, field, in_volume=False)


CHECKS = {
    "fieldRef": env_field,
    "resourceFieldRef": env_resource,
    "configMapKeyRef": key_reference,
    "secretKeyRef": key_reference,
    "fileKeyRef": file_reference,
}


def object_field(reference: Object, field: str, known: Collection[str]) -> Iterator[Cause]:
    """The field of its own that a pod is shown (``validateObjectFieldSelector``)."""
    version, path = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version:
        yield required(f"{field}.apiVersion")
    elif not path:
        yield required(f"{field}.fieldPath")
    elif path in known and version == "v1":
        return
    else:
        yield from strange_field(field, version, path, known)


def strange_field(field: str, version: str, path: str, known: Collection[str]) -> Iterator[Cause]:
    found = SUBSCRIPTED.fullmatch(path)
    base = found[1] if found else path
    if version != "v1" or base not in KNOWN_FIELDS:
        why = f"unsupported pod version: {version}" if version != "v1" else f"field label not supported: {path}"
        yield invalid(f"{field}.fieldPath", path, f"error converting fieldPath: {why}")
    elif found and base == "metadata.annotations":
        yield from qualified(field, found[2].lower())
    elif found and base == "metadata.labels":
        yield from qualified(field, found[2])
    elif found:
        yield invalid(field, base, "does not support subscript")
    elif base not in known:
        yield not_supported(f"{field}.fieldPath", base, sorted(known))


def container_resource(reference: Object, field: str, *, in_volume: bool) -> Iterator[Cause]:
    """The amount of a container that a pod is shown (``validateContainerResourceFieldSelector``)."""
    name = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        yield required(f"{field}.containerName")
    elif not name:
        yield required(f"{field}.resource")
    elif name not in RESOURCE_FIELDS and not name.startswith(HUGE_PREFIXES):
        yield not_supported(f"{field}.resource", name, RESOURCE_FIELDS)
    divisor = str(reference.get("divisor") or "0")
    found = amount(divisor)
    kind = name.partition(".")[2]
    kind = "hugepages" if kind.startswith("hugepages-") else kind
    if found is not None and found.nano and kind in DIVISORS and divisor not in DIVISORS[kind][0]:
        allowed, what = DIVISORS[kind]
        shown = "1m and 1" if kind == "cpu" else ", ".join(allowed)
        yield invalid(f"{field}.divisor", name, f"only divisor's values {shown} are supported with {what} resource")


def origins(listed: list[Object], field: str, scope: Scope) -> Iterator[Cause]:
    """Yield what is wrong with ``envFrom``."""
    for index, origin in enumerate(listed):
        path = f"{field}[{index}]"
        if origin.get("prefix"):
            yield from variable_name(f"{path}.prefix", origin["prefix"], scope.rules)
        given: list[Any] = [key for key in ("configMapRef", "secretRef") if origin.get(key) is not None]
        for key in given:
            yield from subdomain(f"{path}.{key}.name", origin[key].get("name"))
        if not given:
            yield invalid(field, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield invalid(field, "", "may not have more than one field specified at a time")
