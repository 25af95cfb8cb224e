"""Validation of containers. Source: kubernetes pkg/apis/core/validation/validation.go (validateContainers …)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import label, non_negative, one_of, port_name_messages, port_number, port_or_name
from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported, required
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse

HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
PRINTABLE = re.compile(r"[ -<>-~]+")
ENV_NAME = "a valid environment variable name must consist only of printable ASCII characters other than '='"
ENV_SOURCES = ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
MAX_ID = 2**31 - 1


def container_list(spec: Object, field: str, volumes: set[str]) -> Iterator[Cause]:
    """Yield what is wrong with the containers of a PodSpec; ``volumes`` are the names that mounts may use."""
    if not items(spec, "containers"):
        yield required(f"{field}.containers")
    names: set[str] = set()
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for index, container in enumerate(items(spec, kind)):
            path = f"{field}.{kind}[{index}]"
            name = container.get("name")
            yield from label(f"{path}.name", name)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name or "")
            yield from one_container(container, path, volumes)
            if kind == "initContainers" and container.get("restartPolicy") != "Always":
                yield from init_container(container, path)


def init_container(container: Object, field: str) -> Iterator[Cause]:
    for key in ("lifecycle", *PROBES):
        if container.get(key) is not None:
            yield forbidden(f"{field}.{key}", "may not be set for init containers without restartPolicy=Always")


def one_container(container: Object, field: str, volumes: set[str]) -> Iterator[Cause]:
    image = container.get("image") or ""
    if not image:
        yield required(f"{field}.image")
    elif image.strip() != image:
        yield invalid(f"{field}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(
        f"{field}.terminationMessagePolicy",
        container.get("terminationMessagePolicy"),
        ("FallbackToLogsOnError", "File"),
    )
    yield from one_of(f"{field}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never"))
    yield from ports(container, f"{field}.ports")
    yield from environment(container, field)
    yield from mounts(container, f"{field}.volumeMounts", volumes)
    for name in PROBES:
        if container.get(name) is not None:
            yield from probe(container[name], f"{field}.{name}", liveness=name != "readinessProbe")
    for hook in ("postStart", "preStop"):
        action = dig(container, "lifecycle", hook)
        if action is not None:
            yield from handler(action, f"{field}.lifecycle.{hook}")
    yield from resources(mapping(container, "resources"), f"{field}.resources")
    yield from security(mapping(container, "securityContext"), f"{field}.securityContext")


def ports(container: Object, field: str) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(items(container, "ports")):
        path = f"{field}[{index}]"
        name = port.get("name")
        if name:
            for message in port_name_messages(name):
                yield invalid(f"{path}.name", name, message)
            if name in names:
                yield duplicate(f"{path}.name", name)
            names.add(name)
        if not port.get("containerPort"):
            yield required(f"{path}.containerPort")
        else:
            yield from port_number(f"{path}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            yield from port_number(f"{path}.hostPort", port["hostPort"])
        yield from one_of(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))


def environment(container: Object, field: str) -> Iterator[Cause]:
    for index, variable in enumerate(items(container, "env")):
        path = f"{field}.env[{index}]"
        name = variable.get("name")
        if not name:
            yield required(f"{path}.name")
        elif not PRINTABLE.fullmatch(name):
            yield invalid(f"{path}.name", name, ENV_NAME)
        source = variable.get("valueFrom")
        if source is not None:
            yield from value_from(source, f"{path}.valueFrom", bool(variable.get("value")))
    for index, origin in enumerate(items(container, "envFrom")):
        path = f"{field}.envFrom[{index}]"
        given = [key for key in ("configMapRef", "secretRef") if origin.get(key) is not None]
        if not given:
            yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield invalid(path, "", "may not have more than one field specified at a time")
        elif not origin[given[0]].get("name"):
            yield required(f"{path}.{given[0]}.name")


def value_from(source: Object, field: str, has_value: bool) -> Iterator[Cause]:
    given = [key for key in ENV_SOURCES if source.get(key) is not None]
    if not given:
        known = "`configMapKeyRef`, `fieldRef`, `fileKeyRef`, `resourceFieldRef` or `secretKeyRef`"
        yield invalid(field, "", f"must specify one of: {known}")
    elif has_value:
        yield invalid(field, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(field, "", "may not have more than one field specified at a time")
    for key in ("configMapKeyRef", "secretKeyRef"):
        if source.get(key) is not None:
            for needed in ("name", "key"):
                if not source[key].get(needed):
                    yield required(f"{field}.{key}.{needed}")
    if source.get("fieldRef") is not None and not source["fieldRef"].get("fieldPath"):
        yield required(f"{field}.fieldRef.fieldPath")
    if source.get("resourceFieldRef") is not None and not source["resourceFieldRef"].get("resource"):
        yield required(f"{field}.resourceFieldRef.resource")


def mounts(container: Object, field: str, volumes: set[str]) -> Iterator[Cause]:
    paths: set[str] = set()
    for index, mount in enumerate(items(container, "volumeMounts")):
        path = f"{field}[{index}]"
        name, target = mount.get("name"), mount.get("mountPath")
        if not name:
            yield required(f"{path}.name")
        elif name not in volumes:
            yield Cause(f"{path}.name", "FieldValueNotFound", f'Not found: "{name}"')
        if not target:
            yield required(f"{path}.mountPath")
        elif target in paths:
            yield invalid(f"{path}.mountPath", target, "must be unique")
        paths.add(target or "")
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield invalid(f"{path}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")
        for key in ("subPath", "subPathExpr"):
            below = mount.get(key) or ""
            if below.startswith("/"):
                yield invalid(f"{path}.{key}", below, "must be a relative path")
            elif ".." in below.split("/"):
                yield invalid(f"{path}.{key}", below, "must not contain '..'")


def handler(action: Object, field: str) -> Iterator[Cause]:
    given = [key for key in HANDLERS if action.get(key) is not None]
    if not given:
        yield required(field, "must specify a handler type")
    for extra in given[1:]:
        yield forbidden(f"{field}.{extra}", "may not specify more than 1 handler type")
    if "exec" in given and not items(action, "exec", "command"):
        yield required(f"{field}.exec.command")
    if "httpGet" in given:
        yield from port_or_name(f"{field}.httpGet.port", action["httpGet"].get("port"))
        yield from one_of(f"{field}.httpGet.scheme", action["httpGet"].get("scheme"), ("HTTP", "HTTPS"))
    if "tcpSocket" in given:
        yield from port_or_name(f"{field}.tcpSocket.port", action["tcpSocket"].get("port"))
    if "grpc" in given:
        yield from port_number(f"{field}.grpc.port", action["grpc"].get("port"))


def probe(probe: Object, field: str, *, liveness: bool) -> Iterator[Cause]:
    yield from handler(probe, field)
    for key in PROBE_NUMBERS:
        yield from non_negative(f"{field}.{key}", probe.get(key))
    if liveness and probe.get("successThreshold", 1) != 1:
        yield invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1")
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None:
        if not liveness:
            yield invalid(f"{field}.terminationGracePeriodSeconds", seconds, "must not be set for readinessProbes")
        elif seconds <= 0:
            yield invalid(f"{field}.terminationGracePeriodSeconds", seconds, "must be greater than 0")


def resources(resources: Object, field: str) -> Iterator[Cause]:
    limits = mapping(resources, "limits")
    for kind in ("limits", "requests"):
        for name, amount in mapping(resources, kind).items():
            path = f"{field}.{kind}.{name}"
            yield from resource_name(path, name)
            yield from resource_quantity(path, amount)
    for name, amount in mapping(resources, "requests").items():
        if name in limits and over(amount, limits[name]):
            message = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{field}.requests", str(amount), message)


def resource_name(field: str, name: str) -> Iterator[Cause]:
    for message in qualified_name(name):
        yield invalid(field, name, message)
    if "/" not in name and name not in ("cpu", "memory", "ephemeral-storage") and not name.startswith("hugepages-"):
        yield invalid(field, name, "must be a standard resource for containers")


def resource_quantity(field: str, amount: Any) -> Iterator[Cause]:
    try:
        if parse(amount).milli() < 0:
            yield invalid(field, str(amount), "must be greater than or equal to 0")
    except QuantityError as error:
        yield invalid(field, str(amount), str(error))


def over(request: Any, limit: Any) -> bool:
    try:
        return parse(limit) < parse(request)
    except QuantityError:
        return False


def security(context: Object, field: str) -> Iterator[Cause]:
    for key in ("runAsUser", "runAsGroup"):
        value = context.get(key)
        if value is not None and not 0 <= value <= MAX_ID:
            yield invalid(f"{field}.{key}", value, "must be between 0 and 2147483647, inclusive")
    if context.get("procMount") not in (None, "Default", "Unmasked"):
        yield not_supported(f"{field}.procMount", context["procMount"], ("Default", "Unmasked"))
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        message = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        yield invalid(field, context, message)
