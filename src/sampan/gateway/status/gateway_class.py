"""GatewayClass and XMesh: accepted when its parameters, if it names some, are ours and there."""

from __future__ import annotations

from sampan.gateway.kinds.resources import OWN_GROUP
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, condition, generation_of, stamped
from sampan.gateway.status.features import FEATURES, MESH_FEATURES
from sampan.schema.objects import Object


def status(world: World, key: str, moment: Moment) -> Object | None:
    return judged(world, world.get("GatewayClass status", key), FEATURES, moment)


def mesh_status(world: World, key: str, moment: Moment) -> Object | None:
    return judged(world, world.get("XMesh status", key), MESH_FEATURES, moment)


def judged(world: World, obj: Object | None, features: tuple[str, ...], moment: Moment) -> Object | None:
    if obj is None or obj["spec"]["controllerName"] != world.surroundings.controller:
        return None
    generation, old = generation_of(obj), obj.get("status") or {}
    problem = parameters_problem(world, obj)
    reason = "InvalidParameters" if problem else "Accepted"
    accepted = condition("Accepted", not problem, reason, problem or "served by sampan", generation)
    return {
        "conditions": stamped([accepted], old.get("conditions") or [], moment.now),
        "supportedFeatures": [{"name": name} for name in features],
    }


def parameters_problem(world: World, gateway_class: Object) -> str:
    reference = gateway_class["spec"].get("parametersRef")
    if not reference:
        return ""
    if reference["group"] != OWN_GROUP or reference["kind"] != "GatewayParameters":
        return f"parametersRef is to be a GatewayParameters of {OWN_GROUP}"
    key = f"{reference.get('namespace', '')}/{reference['name']}"
    return "" if world.get("GatewayParameters", key) is not None else f"GatewayParameters {key} does not exist"
