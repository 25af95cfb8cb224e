"""Policies of backends: an entry for each Gateway of ours that leads to one of their targets. Source: GEP-713."""

from __future__ import annotations

from collections.abc import Callable

from sampan.gateway.kinds.resources import GROUP
from sampan.gateway.model.indexes import targets
from sampan.gateway.model.policies import conflicted, judged, traffic_policy, validation_of
from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World, key_of
from sampan.gateway.status import conditions as c
from sampan.gateway.status.conditions import Moment
from sampan.schema.objects import Object

MOST = 16
ACCEPTED = Verdict("Accepted", "the policy is accepted")


def tls_status(world: World, key: str, moment: Moment) -> Object | None:
    policy = world.get("BackendTLSPolicy status", key)
    if policy is None:
        return None
    model, generation = judged(world, policy), c.generation_of(policy)
    accepted = model.accepted
    if conflicted(world, policy):
        accepted = Verdict("Conflicted", "an older BackendTLSPolicy has the same target")
    return ancestors(
        world,
        policy,
        moment,
        [
            c.judged("Accepted", accepted, "Accepted", generation),
            c.judged("ResolvedRefs", model.resolved, "ResolvedRefs", generation),
        ],
    )


def traffic_status(world: World, key: str, moment: Moment) -> Object | None:
    policy = world.get("XBackendTrafficPolicy status", key)
    if policy is None:
        return None
    winners = [traffic_policy(world, target) for target in targets(policy)]
    uid = policy["metadata"].get("uid")
    accepted = ACCEPTED
    if not any(found is not None and found["metadata"].get("uid") == uid for found in winners):
        accepted = Verdict("Conflicted", "an older XBackendTrafficPolicy has the same target")
    generation = c.generation_of(policy)
    return ancestors(world, policy, moment, [c.judged("Accepted", accepted, "Accepted", generation)])


def ancestors(world: World, policy: Object, moment: Moment, conditions: list[Object]) -> Object | None:
    """Return the status with our ancestors in it, other controllers' kept; None when there is nothing to say."""
    found: set[str] = set()
    for target in targets(policy):
        found |= world.get("Users", target) or frozenset()
    old = (policy.get("status") or {}).get("ancestors") or []
    return entries_of(world, old, "ancestorRef", "ancestors", found, moment, lambda: conditions)


def entries_of(
    world: World,
    old: list[Object],
    name: str,
    listing: str,
    gateways: set[str],
    moment: Moment,
    conditions: Callable[[], list[Object]],
) -> Object | None:
    controller = world.surroundings.controller
    others = [entry for entry in old if entry["controllerName"] != controller]
    mine = []
    for gateway in sorted(gateways)[: MOST - len(others)]:
        namespace, _, gateway_name = gateway.partition("/")
        reference = {"group": GROUP, "kind": "Gateway", "namespace": namespace, "name": gateway_name}
        before: list[Object] = next(
            (e.get("conditions") or [] for e in old if e["controllerName"] == controller and e[name] == reference), []
        )
        stamped = c.stamped(conditions(), before, moment.now)
        mine.append({name: reference, "controllerName": controller, "conditions": stamped})
    if not mine and len(others) == len(old):
        return None
    return {listing: [*others, *mine]}


def backend_status(world: World, key: str, moment: Moment) -> Object | None:
    """Return the status of an XBackend."""
    backend = world.get("XBackend status", key)
    if backend is None:
        return None
    generation, tls = c.generation_of(backend), backend["spec"].get("tls") or {}
    accepted = ACCEPTED
    if tls.get("mode", "None") != "None":
        namespace = key_of(backend).partition("/")[0]
        accepted = validation_of(world, "XBackend", namespace, tls["validation"]).accepted
    condition = c.judged("Accepted", accepted, "Accepted", generation)
    old = (backend.get("status") or {}).get("parents") or []
    users = set(world.get("Users", f"XBackend {key}") or ())
    return entries_of(world, old, "parentRef", "parents", users, moment, lambda: [condition])
