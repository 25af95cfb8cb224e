"""Admission of a connection (CONNECT): the options that exec, attach, port-forward and proxy are opened with.

Only plugins that say so (``connects = True``: webhooks and policies) see them, so this costs nothing where there are none.
Source: k8s.io/apiserver pkg/endpoints/handlers/rest.go (ConnectResource).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sampan.api.request import Admission, Request
from sampan.api.routing import is_true
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Routed

Reader = Callable[[list[str]], Any]


def last(values: list[str]) -> str:
    return values[-1]


def flag(values: list[str]) -> bool:
    return is_true(values[-1])


def numbers(values: list[str]) -> list[int]:
    return [int(value) for value in values if value.isascii() and value.isdigit() and len(value) < 10]


OPTIONS: Mapping[str, Mapping[str, Reader]] = {
    "PodExecOptions": {"stdin": flag, "stdout": flag, "stderr": flag, "tty": flag, "container": last, "command": list},
    "PodAttachOptions": {"stdin": flag, "stdout": flag, "stderr": flag, "tty": flag, "container": last},
    "PodPortForwardOptions": {"ports": numbers},
    "PodProxyOptions": {"path": last},
    "ServiceProxyOptions": {"path": last},
    "NodeProxyOptions": {"path": last},
}
"""The fields of each kind of options, read from the query."""


async def admit(routed: Routed) -> None:
    """Let the plugins judge a connection, if any wants to. Raises ``StatusError``."""
    subresource, served, request = routed.subresource, routed.served, routed.request
    if subresource is None or served is None or subresource.kind not in OPTIONS:
        return
    at = request.attributes
    admission = Admission(
        request.api,
        request.user,
        "CONNECT",
        served.resource,
        subresource.name,
        at.namespace,
        at.name,
        None,
        None,
        request.dry_run,
        request.warnings,
        request.audit_annotations,
        body_kind=subresource.kind,
    )
    chain = request.api.chain
    if chain.wants(admission):
        admission.object = options_of(subresource.kind, request)
        await chain.admit(admission)
        await chain.validate(admission)


def options_of(kind: str, request: Request) -> Object:
    """Return the options object of a connection."""
    made: Object = {"kind": kind, "apiVersion": "v1"}
    for name, read in OPTIONS[kind].items():
        values = request.query_lists.get(name)
        if values:
            made[name] = read(values)
    if "path" in OPTIONS[kind] and request.attributes.rest:
        made["path"] = "/" + request.attributes.rest
    return made
