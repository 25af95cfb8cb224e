"""Which route hangs on which listener, and why not. Pure. Source: Gateway API v1, ParentReference and AllowedRoutes."""

from __future__ import annotations

from typing import NamedTuple

from sampan.gateway.kinds import GROUP
from sampan.gateway.world import World, age_key
from sampan.schema.objects import Object


class Attached(NamedTuple):
    """A route on a listener, for these host names (``*``: all)."""

    route: Object
    hostnames: tuple[str, ...]


class Verdict(NamedTuple):
    """What became of one parentRef: attached to how many listeners, or the reason and message why to none."""

    parent_ref: Object
    attached: int
    reason: str
    message: str


def hostname_matches(listener: str, route: str) -> str:
    """Return the more specific of two host names that have something in common, else ``""``; ``""`` means all."""
    if not listener or listener == route:
        return route or "*"
    if not route or route == "*":
        return listener
    if listener.startswith("*."):
        suffix = listener[1:]
        if route.startswith("*."):
            longer, shorter = (route, suffix) if len(route) > len(listener) else (listener, route[1:])
            return longer if longer[1:].endswith(shorter) else ""
        return route if route.endswith(suffix) and len(route) > len(suffix) else ""
    if route.startswith("*."):
        return listener if listener.endswith(route[1:]) and len(listener) > len(route) - 1 else ""
    return ""


def shared_hostnames(listener: Object, route: Object) -> tuple[str, ...]:
    """Return the host names a listener and a route have in common."""
    wanted = route["spec"].get("hostnames") or [""]
    found = [hostname_matches(listener.get("hostname", ""), name) for name in wanted]
    return tuple(dict.fromkeys(name for name in found if name))


def allows(world: World, gateway: Object, listener: Object, route: Object) -> bool:
    """Whether a listener takes routes of this kind and namespace."""
    rules = listener.get("allowedRoutes") or {}
    kinds = rules.get("kinds") or []
    if kinds and not any(k["kind"] == route["kind"] and k.get("group", GROUP) == GROUP for k in kinds):
        return False
    namespaces = rules.get("namespaces") or {}
    source = namespaces.get("from", "Same")
    namespace = route["metadata"]["namespace"]
    if source == "All":
        return True
    if source == "Same":
        return bool(namespace == gateway["metadata"]["namespace"])
    if source == "Selector":
        return world.namespace_matches(namespaces.get("selector"), namespace)
    return False


def serves_http(listener: Object) -> bool:
    return listener["protocol"] in ("HTTP", "HTTPS")


def refers_to(reference: Object, route: Object, gateway: Object) -> bool:
    if reference.get("group", GROUP) != GROUP or reference.get("kind", "Gateway") != "Gateway":
        return False
    namespace = reference.get("namespace") or route["metadata"]["namespace"]
    metadata = gateway["metadata"]
    return bool(namespace == metadata["namespace"] and reference["name"] == metadata["name"])


class Attachments(NamedTuple):
    """``listeners``: (gateway key, listener name) -> routes; ``verdicts``: route key -> verdicts of our parents."""

    listeners: dict[tuple[str, str], list[Attached]]
    verdicts: dict[str, list[Verdict]]


def attach(world: World) -> Attachments:
    """Return all attachments, routes oldest first."""
    listeners: dict[tuple[str, str], list[Attached]] = {}
    verdicts: dict[str, list[Verdict]] = {}
    gateways = world.our_gateways()
    for key, route in sorted(world.routes.items(), key=lambda entry: age_key(entry[1])):
        for reference in route["spec"].get("parentRefs") or ():
            for gateway_key, gateway in gateways:
                if refers_to(reference, route, gateway):
                    verdict = _attach_one(world, gateway_key, gateway, route, reference, listeners)
                    verdicts.setdefault(key, []).append(verdict)
    return Attachments(listeners, verdicts)


def _attach_one(
    world: World,
    gateway_key: str,
    gateway: Object,
    route: Object,
    reference: Object,
    listeners: dict[tuple[str, str], list[Attached]],
) -> Verdict:
    candidates = [
        listener
        for listener in gateway["spec"]["listeners"]
        if reference.get("sectionName") in (None, "", listener["name"])
        and reference.get("port") in (None, listener["port"])
        and serves_http(listener)
    ]
    if not candidates:
        return Verdict(reference, 0, "NoMatchingParent", "no listener of the Gateway has that section name and port")
    allowed = [listener for listener in candidates if allows(world, gateway, listener, route)]
    if not allowed:
        return Verdict(reference, 0, "NotAllowedByListeners", "no listener allows routes of this kind and namespace")
    attached = 0
    for listener in allowed:
        hostnames = shared_hostnames(listener, route)
        if hostnames:
            attached += 1
            listeners.setdefault((gateway_key, listener["name"]), []).append(Attached(route, hostnames))
    if not attached:
        return Verdict(reference, 0, "NoMatchingListenerHostname", "no host name is shared with a listener")
    return Verdict(reference, attached, "Accepted", "the route is attached")
