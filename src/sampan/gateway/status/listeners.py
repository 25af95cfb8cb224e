"""The status of a listener, of a Gateway or of a ListenerSet."""

from __future__ import annotations

from sampan.gateway.kinds.resources import GROUP
from sampan.gateway.model.gateways import GatewayModel
from sampan.gateway.model.listeners import Listener
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, condition, judged, stamped
from sampan.gateway.xds.listeners import listener_name
from sampan.gateway.xds.types import LISTENER, SECRET
from sampan.schema.objects import Object


def refusal_of(world: World, gateway: str, listener: Listener) -> str:
    """Return Envoy's words against a listener: its port's, or its certificates'."""
    name = listener_name(gateway, listener.port, listener.transport)
    quic = listener_name(gateway, listener.port, "QUIC") if listener.may_speak_quic else name
    names = [*listener.certificates, *([listener.client_authorities] if listener.client_authorities else [])]
    ports = dict.fromkeys((name, quic))
    texts = [
        *(world.get("Refusal", (LISTENER, entry)) for entry in ports),
        *(world.get("Refusal", (SECRET, entry)) for entry in names),
    ]
    return next((str(text) for text in texts if text), "")


def listener_status(
    world: World, gateway: GatewayModel, listener: Listener, old: list[Object], generation: int, moment: Moment
) -> Object:
    refusal = refusal_of(world, gateway.key, listener)
    accepted = judged("Accepted", listener.accepted, "Accepted", generation)
    resolved = judged("ResolvedRefs", listener.resolved, "ResolvedRefs", generation)
    conflict = listener.conflicted
    conflicted = condition(
        "Conflicted", conflict.reason != "NoConflicts", conflict.reason, conflict.message, generation
    )
    if conflict.reason != "NoConflicts":
        programmed = condition("Programmed", False, conflict.reason, conflict.message, generation)
    elif not listener.is_accepted or not listener.serves:
        why = listener.accepted if not listener.is_accepted else listener.resolved
        programmed = condition("Programmed", False, "Invalid", why.message, generation)
    elif not gateway.is_accepted:
        programmed = condition("Programmed", False, "Invalid", gateway.accepted.message, generation)
    elif refusal:
        programmed = condition("Programmed", False, "Invalid", f"Envoy refused it: {refusal}", generation)
    elif not moment.live:
        programmed = condition("Programmed", False, "Pending", "Envoy has not taken it yet", generation)
    else:
        left_out = gateway.http3 and listener.protocol == "HTTPS" and not listener.may_speak_quic
        text = "Envoy serves it" + ("; not over HTTP/3, which asks no client for a certificate" if left_out else "")
        programmed = condition("Programmed", True, "Programmed", text, generation)
    before: list[Object] = next((e["conditions"] for e in old if e["name"] == listener.id.name), [])
    return {
        "name": listener.id.name,
        "attachedRoutes": world.get("Attached", listener.id) or 0,
        "supportedKinds": [{"group": GROUP, "kind": kind} for kind in listener.kinds],
        "conditions": stamped([accepted, resolved, programmed, conflicted], before, moment.now),
    }
