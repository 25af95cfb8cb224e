"""ListenerSet. Source: GEP-1713."""

from __future__ import annotations

from sampan.gateway.model.listeners import Parent
from sampan.gateway.model.parents import parent_of
from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, condition, generation_of, stamped
from sampan.gateway.status.listeners import listener_status
from sampan.schema.objects import Object


def status(world: World, key: str, moment: Moment) -> Object | None:
    obj = world.get("ListenerSet status", key)
    above = parent_of(obj["spec"].get("parentRef") or {}, obj["metadata"]["namespace"]) if obj is not None else None
    model = world.get("GatewayModel", above.key) if above is not None else None
    if obj is None or model is None:
        return None
    generation, old = generation_of(obj), obj.get("status") or {}
    verdict = dict(model.listener_sets).get(key, Verdict("NotAllowed", "the Gateway does not know it"))
    own = model.of(Parent("ListenerSet", key))
    before = old.get("listeners") or []
    listeners = [listener_status(world, model, listener, before, generation, moment) for listener in own]
    bad = [listener.id.name for listener in own if not listener.serves]
    if verdict.reason == "Accepted" and not model.is_accepted:
        verdict = Verdict("ParentNotAccepted", f"Gateway {model.key} is not accepted: {model.accepted.message}")
    elif verdict.reason == "Accepted" and bad:
        verdict = Verdict("ListenersNotValid", f"listeners that are not valid: {', '.join(bad)}")
    well = verdict.reason == "Accepted" or (verdict.reason == "ListenersNotValid" and len(bad) < len(own))
    accepted = condition("Accepted", well, verdict.reason, verdict.message, generation)
    serving = any(
        entry["type"] == "Programmed" and entry["status"] == "True"
        for listener in listeners
        for entry in listener["conditions"]
    )
    if not well:
        programmed = condition("Programmed", False, verdict.reason, verdict.message, generation)
    elif serving:
        programmed = condition("Programmed", True, "Programmed", "Envoy serves it", generation)
    else:
        programmed = condition("Programmed", False, "Pending", "no listener of it is served yet", generation)
    return {
        "conditions": stamped([accepted, programmed], old.get("conditions") or [], moment.now),
        "listeners": listeners,
    }
