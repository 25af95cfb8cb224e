"""Gateway: ``Programmed`` follows its address and Envoy's acknowledgement, and carries Envoy's words when it refused."""

from __future__ import annotations

from sampan.gateway.infrastructure import addresses_given, generated_name
from sampan.gateway.model.gateways import GatewayModel
from sampan.gateway.model.listeners import Parent
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, condition, generation_of, judged, stamped
from sampan.gateway.status.listeners import listener_status, refusal_of
from sampan.schema.objects import Object


def status(world: World, key: str, moment: Moment) -> Object | None:
    obj, model = world.get("Gateway status", key), world.get("GatewayModel", key)
    if obj is None or model is None:
        return None
    generation, old = generation_of(obj), obj.get("status") or {}
    own = model.of(Parent("Gateway", key))
    before = old.get("listeners") or []
    listeners = [listener_status(world, model, listener, before, generation, moment) for listener in own]
    bad = [listener.id.name for listener in own if not listener.is_accepted]
    accepted = judged("Accepted", model.accepted, "Accepted", generation)
    if model.is_accepted and bad:
        text = f"listeners that are not valid: {', '.join(bad)}"
        accepted = condition("Accepted", len(bad) < len(own), "ListenersNotValid", text, generation)
    namespace = key.partition("/")[0]
    given = addresses_given(world.get("Service status", f"{namespace}/{generated_name(obj)}"))
    resolved = judged("ResolvedRefs", model.resolved, "ResolvedRefs", generation)
    conditions = [accepted, programmed(world, model, accepted, given, generation, moment), resolved]
    if any(listener.client_fallback and listener.client_authorities for listener in model.listeners):
        text = "clients without a valid certificate are let in"
        conditions.append(condition("InsecureFrontendValidationMode", True, "ConfigurationChanged", text, generation))
    attached = {
        listener.id.parent
        for listener in model.listeners
        if listener.id.parent.kind != "Gateway" and listener.is_accepted
    }
    result: Object = {
        "conditions": stamped(conditions, old.get("conditions") or [], moment.now),
        "listeners": listeners,
        "attachedListenerSets": len(attached),
    }
    if given:
        result["addresses"] = [{"type": "IPAddress", "value": address} for address in given]
    return result


def programmed(
    world: World, model: GatewayModel, accepted: Object, given: list[str], generation: int, moment: Moment
) -> Object:
    def no(reason: str, message: str) -> Object:
        return condition("Programmed", False, reason, message, generation)

    if accepted["status"] != "True":
        return no("Invalid", accepted["message"])
    if world.surroundings.on_host and not given:
        return no("AddressNotAssigned", "its listeners are being opened")
    if any(address not in given for address in model.addresses):
        missing = ", ".join(address for address in model.addresses if address not in given)
        return no("AddressNotUsable", f"{missing}: not free, or not one of this cluster's addresses, or more than one")
    if not given:
        return no("AddressNotAssigned", "no address has been assigned yet")
    if not any(listener.serves for listener in model.listeners):
        return no("Invalid", next((entry.resolved.message for entry in model.listeners), "no listener can be served"))
    refusals = [refusal_of(world, model.key, listener) for listener in model.listeners if listener.serves]
    for text in filter(None, refusals):
        return no("Invalid", f"Envoy refused it: {text}")
    if not moment.live:
        return no("Pending", "Envoy has not taken it yet")
    return condition("Programmed", True, "Programmed", "Envoy serves it", generation)
