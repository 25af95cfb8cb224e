"""Validation of probes and lifecycle hooks. Source: kubernetes pkg/apis/core/validation (validateHandler, validateProbe)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.api.resource import Cause
from sampan.api.resources.checking import non_negative, port_number, port_or_name
from sampan.api.resources.pod_rules import Scope
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.names import pattern
from sampan.schema.objects import Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
HEADER = re.compile(r"[-A-Za-z0-9]+", re.ASCII)
HEADER_MESSAGE = pattern(
    "a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name"
)


def probes(container: Object, field: str, scope: Scope) -> Iterator[Cause]:
    for name in PROBES:
        found = container.get(name)
        if found is not None:
            yield from probe(found, f"{field}.{name}", scope, readiness=name == "readinessProbe")


def probe(probe: Object, field: str, scope: Scope, *, readiness: bool) -> Iterator[Cause]:
    yield from handler(probe, field, scope)
    for key in NUMBERS:
        if probe.get(key, 0) < 0:
            yield from non_negative(f"{field}.{key}", probe[key])
    seconds = probe.get("terminationGracePeriodSeconds")
    if seconds is not None and seconds <= 0:
        yield invalid(f"{field}.terminationGracePeriodSeconds", seconds, "must be greater than 0")
    if readiness:
        if seconds is not None:
            yield invalid(f"{field}.terminationGracePeriodSeconds", seconds, "must not be set for readinessProbes")
    elif probe.get("successThreshold", 1) != 1:
        yield invalid(f"{field}.successThreshold", probe["successThreshold"], "must be 1")


def lifecycle(lifecycle: Object, field: str, scope: Scope) -> Iterator[Cause]:
    for hook in ("postStart", "preStop"):
        if lifecycle.get(hook) is not None:
            yield from handler(lifecycle[hook], f"{field}.{hook}", scope)


def handler(action: Object, field: str, scope: Scope) -> Iterator[Cause]:
    """One action, and one that makes sense."""
    first = ""
    for kind in HANDLERS:
        found = action.get(kind)
        if found is None:
            continue
        if first:
            yield forbidden(f"{field}.{kind}", "may not specify more than 1 handler type")
        else:
            first = kind
            yield from ACTIONS[kind](found, f"{field}.{kind}", scope)
    if not first:
        yield required(field, "must specify a handler type")


def run(action: Object, field: str, scope: Scope) -> Iterator[Cause]:
    if not action.get("command"):
        yield required(f"{field}.command")


def http(action: Object, field: str, scope: Scope) -> Iterator[Cause]:
    if not action.get("path"):
        yield required(f"{field}.path")
    yield from port_or_name(f"{field}.port", action.get("port", 0))
    if action.get("scheme") not in ("HTTP", "HTTPS"):
        yield not_supported(f"{field}.scheme", action.get("scheme") or "", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or ():
        if not HEADER.fullmatch(header.get("name") or ""):
            yield invalid(f"{field}.httpHeaders", header.get("name") or "", HEADER_MESSAGE)


def connect(action: Object, field: str, scope: Scope) -> Iterator[Cause]:
    return port_or_name(f"{field}.port", action.get("port", 0))


def call(action: Object, field: str, scope: Scope) -> Iterator[Cause]:
    return port_number(f"{field}.port", action.get("port", 0))


def sleep(action: Object, field: str, scope: Scope) -> Iterator[Cause]:
    seconds, most = action.get("seconds") or 0, scope.grace_seconds
    if most is None:
        return
    if scope.rules.sleep_zero:
        if seconds < 0 or seconds > most:
            why = f"must be non-negative and less than terminationGracePeriodSeconds ({most})"
            yield invalid(field, seconds, why)
    elif seconds <= 0 or seconds > most:
        why = f"must be greater than 0 and less than terminationGracePeriodSeconds ({most})"
        yield invalid(
            field, seconds, f"{why}. Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep."
        )


ACTIONS = {"exec": run, "httpGet": http, "tcpSocket": connect, "grpc": call, "sleep": sleep}
