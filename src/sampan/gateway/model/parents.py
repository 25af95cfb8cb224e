"""Which route hangs on which listener, and why not. Source: Gateway API v1, ParentReference and AllowedRoutes."""

from __future__ import annotations

from dataclasses import dataclass

from sampan.gateway.copies import shared
from sampan.gateway.kinds.resources import GROUP
from sampan.gateway.model.gateways import GatewayModel
from sampan.gateway.model.hostnames import shared_hostnames
from sampan.gateway.model.listeners import Listener, Parent
from sampan.gateway.model.mesh import frontends, mesh_key
from sampan.gateway.model.selectors import lets_in
from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

ACCEPTED = Verdict("Accepted", "the route is attached")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A route on a listener, for these host names."""

    gateway: str
    listener: Listener
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParentVerdict:
    """What became of one parentRef."""

    reference: Object
    """``shared``: the routes of a Gateway have one."""
    gateway: str
    verdict: Verdict
    attachments: tuple[Attachment, ...] = ()


def parent_of(reference: Object, namespace: str) -> Parent | None:
    """Return the Gateway or ListenerSet a parentRef names, None for other kinds."""
    kind = reference.get("kind", "Gateway")
    if reference.get("group", GROUP) != GROUP or kind not in ("Gateway", "ListenerSet"):
        return None
    return Parent(kind, f"{reference.get('namespace') or namespace}/{reference['name']}")


def gateway_of(world: World, parent: Parent) -> GatewayModel | None:
    """Return the Gateway of ours behind a parent, None when there is none."""
    if parent.kind == "Gateway":
        model: GatewayModel | None = world.get("GatewayModel", parent.key)
        return model
    listener_set = world.get("ListenerSet", parent.key)
    if listener_set is None:
        return None
    reference = listener_set["spec"].get("parentRef") or {}
    above = parent_of(reference, parent.namespace)
    return world.get("GatewayModel", above.key) if above is not None and above.kind == "Gateway" else None


def attached_route(world: World, kind: str, key: str) -> tuple[Object, list[ParentVerdict]] | None:
    """Return a route with its kind and what became of its parentRefs, None when it is gone or has no parent of ours."""
    route = world.get(kind, key)
    if route is None:
        return None
    route = {**route, "kind": kind}
    parents = attach(world, route)
    return (route, parents) if parents else None


def attach(world: World, route: Object) -> list[ParentVerdict]:
    """Return what became of each parentRef that is ours."""
    namespace = route["metadata"]["namespace"]
    result = []
    for reference in route["spec"].get("parentRefs") or ():
        parent = parent_of(reference, namespace)
        gateway = gateway_of(world, parent) if parent is not None else None
        if parent is not None and gateway is not None:
            result.append(_attach_one(world, gateway, parent, route, reference))
        elif (
            world.surroundings.has_mesh
            and reference.get("group", GROUP) in ("", "core")
            and reference.get("kind") == "Service"
        ):
            result.append(_attach_to_service(world, route, reference))
    return result


def _attach_to_service(world: World, route: Object, reference: Object) -> ParentVerdict:
    """Return what became of a parentRef to a Service; host names do not count there."""
    namespace = route["metadata"]["namespace"]
    key = f"{reference.get('namespace') or namespace}/{reference['name']}"
    found, verdict = frontends(world, key, route["kind"], reference.get("port"))
    attachments = tuple(Attachment(mesh_key(key), listener, ("*",)) for listener in found)
    return ParentVerdict(shared(reference), mesh_key(key), verdict, attachments)


def _attach_one(world: World, gateway: GatewayModel, parent: Parent, route: Object, reference: Object) -> ParentVerdict:
    def refused(reason: str, message: str) -> ParentVerdict:
        return ParentVerdict(shared(reference), gateway.key, Verdict(reason, message))

    section, port = reference.get("sectionName"), reference.get("port")
    candidates = [
        listener
        for listener in gateway.of(parent)
        if section in (None, "", listener.id.name) and port in (None, listener.port)
    ]
    if not candidates:
        return refused("NoMatchingParent", f"no listener of the {parent.kind} has that section name and port")
    namespace = route["metadata"]["namespace"]
    takers = [listener for listener in candidates if route["kind"] in listener.kinds]
    allowing = [
        listener
        for listener in takers
        if lets_in(world, listener.namespaces_from, listener.namespace_selector, parent.namespace, namespace)
    ]
    if not allowing:
        return refused("NotAllowedByListeners", "no listener allows routes of this kind and namespace")
    attachments = []
    for listener in allowing:
        hostnames = shared_hostnames(listener.hostname, route["spec"].get("hostnames") or ())
        if hostnames:
            attachments.append(Attachment(gateway.key, listener, hostnames))
    if not attachments:
        return refused("NoMatchingListenerHostname", "no host name is shared with a listener")
    if not any(attachment.listener.is_accepted for attachment in attachments):
        verdict = attachments[0].listener.accepted
        return refused("NotAllowedByListeners" if verdict.reason != "Accepted" else "Accepted", verdict.message)
    good = tuple(attachment for attachment in attachments if attachment.listener.is_accepted)
    return ParentVerdict(shared(reference), gateway.key, ACCEPTED, good)
