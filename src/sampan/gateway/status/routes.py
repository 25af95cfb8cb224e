"""Routes: a condition set for each parentRef that is ours. Other controllers' entries stay."""

from __future__ import annotations

from functools import partial
from typing import Any

from sampan.gateway.model.parents import ParentVerdict
from sampan.gateway.model.routes import RouteId, RouteModel
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, Status, condition, generation_of, judged, stamped
from sampan.gateway.status.listeners import refusal_of as listener_refusal
from sampan.gateway.xds.types import CLUSTER
from sampan.schema.objects import Object


def status_function(kind: str) -> Status:
    return partial(status, kind)


def status(kind: str, world: World, key: str, moment: Moment) -> Object | None:
    obj = world.get(f"{kind} status", key)
    if obj is None:
        return None
    model: RouteModel | None = world.get("RouteModel", RouteId(kind, key))
    generation = generation_of(obj)
    old = (obj.get("status") or {}).get("parents") or []
    controller = world.surroundings.controller
    others = [parent for parent in old if parent["controllerName"] != controller]
    mine: list[dict[str, Any]] = []
    for parent in model.parents if model is not None else ():
        before: list[Object] = next(
            (
                p.get("conditions") or []
                for p in old
                if p["controllerName"] == controller and p["parentRef"] == parent.reference
            ),
            [],
        )
        assert model is not None
        conditions = stamped(conditions_of(world, model, parent, generation), before, moment.now)
        mine.append({"parentRef": parent.reference, "controllerName": controller, "conditions": conditions})
    if not mine and len(others) == len(old):
        return None
    return {"parents": [*others, *mine]}


def conditions_of(world: World, model: RouteModel, parent: ParentVerdict, generation: int) -> list[Object]:
    accepted = judged("Accepted", parent.verdict, "Accepted", generation)
    well = parent.verdict.reason == "Accepted"
    partial_: list[Object] = []
    refusal = refusal_of(world, model)
    if well and refusal:
        accepted = condition("Accepted", False, "UnsupportedValue", f"Envoy refused it: {refusal}", generation)
    elif well and (waits := waiting_for(world, model, parent)):
        accepted = condition("Accepted", False, "ListenerRefused", waits, generation)
    elif well and model.dropped and len(model.dropped) == model.rules:
        accepted = condition("Accepted", False, "UnsupportedValue", "; ".join(model.dropped), generation)
    elif well and model.dropped:
        text = f"Dropped Rule: {'; '.join(model.dropped)}"
        partial_ = [condition("PartiallyInvalid", True, "UnsupportedValue", text, generation)]
    resolved = condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved", generation)
    if model.problems:
        text = "; ".join(dict.fromkeys(problem.message for problem in model.problems))
        resolved = condition("ResolvedRefs", False, model.problems[0].reason, text, generation)
    return [accepted, resolved, *partial_]


def waiting_for(world: World, model: RouteModel, parent: ParentVerdict) -> str:
    """Return why a route waits for a listener of a parent, and what becomes of its requests until then; "" where it does
    not."""
    held = world.get("RouteHeld", model.id) or {}
    for attachment in parent.attachments:
        closed = held.get(attachment.listener.table(parent.gateway))
        if closed is not None:
            until = "is answered 503" if closed else "serves as before"
            words = listener_refusal(world, parent.gateway, attachment.listener).strip()
            return f"it needs a filter of a listener that Envoy refused, and {until} until that is mended: {words}"
    return ""


def refusal_of(world: World, model: RouteModel) -> str:
    """Return Envoy's words against the route, or against a cluster that it leads to."""
    texts = [world.get("RouteRefusal", model.id), *(world.get("Refusal", (CLUSTER, c.name)) for c in model.clusters)]
    return next((str(text) for text in texts if text), "")
