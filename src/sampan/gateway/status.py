"""What the objects' status says: only what is true. Pure; times are stamped where a condition changes.

``Programmed`` follows Envoy's acknowledgement, and carries its words when it refused. Source: Gateway API v1 conditions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.gateway.attachment import serves_http
from sampan.gateway.kinds import CONTROLLER, GROUP
from sampan.gateway.resources import Translation
from sampan.gateway.world import World
from sampan.schema.objects import Object

FEATURES = (
    "Gateway",
    "HTTPRoute",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror",
    "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ReferenceGrant",
)


def condition(type: str, well: bool, reason: str, message: str, generation: int) -> Object:
    return {
        "type": type,
        "status": "True" if well else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def stamped(new: list[Object], old: list[Object], now: str) -> list[Object]:
    """Give conditions their transition times, kept where the status did not change."""
    before = {entry["type"]: entry for entry in old}
    result = []
    for entry in new:
        known = before.get(entry["type"])
        since = known["lastTransitionTime"] if known and known["status"] == entry["status"] else now
        result.append({**entry, "lastTransitionTime": since})
    return result


def class_status(obj: Object, now: str) -> Object:
    generation = obj["metadata"].get("generation", 0)
    old = obj.get("status", {})
    accepted = condition("Accepted", True, "Accepted", "served by sampan", generation)
    features = [{"name": name} for name in FEATURES]
    return {"conditions": stamped([accepted], old.get("conditions") or [], now), "supportedFeatures": features}


def gateway_status(
    world: World, translation: Translation, key: str, gateway: Object, address: str, live: bool, refusal: str, now: str
) -> Object:
    """Return a Gateway's status. ``live``: Envoy has taken the present configuration; ``refusal``: its words if not."""
    generation = gateway["metadata"].get("generation", 0)
    old = gateway.get("status", {})
    listeners = [
        listener_status(translation, key, listener, live, refusal, generation, old, now)
        for listener in gateway["spec"]["listeners"]
    ]
    bad = [
        entry["name"]
        for entry in listeners
        if any(c["type"] == "Accepted" and c["status"] == "False" for c in entry["conditions"])
    ]
    accepted = condition("Accepted", len(bad) < len(listeners), "Accepted", "the Gateway is accepted", generation)
    if bad:
        accepted |= {"reason": "ListenersNotValid", "message": f"listeners that are not valid: {', '.join(bad)}"}
    if not address:
        programmed = condition(
            "Programmed", False, "AddressNotAssigned", "no address has been assigned yet", generation
        )
    elif refusal:
        programmed = condition("Programmed", False, "Invalid", f"Envoy refused it: {refusal}", generation)
    elif not live:
        programmed = condition("Programmed", False, "Pending", "Envoy has not taken it yet", generation)
    else:
        programmed = condition("Programmed", True, "Programmed", "Envoy serves it", generation)
    status: Object = {
        "conditions": stamped([accepted, programmed], old.get("conditions") or [], now),
        "listeners": listeners,
    }
    if address:
        status["addresses"] = [{"type": "IPAddress", "value": address}]
    return status


def listener_status(
    translation: Translation,
    key: str,
    listener: Object,
    live: bool,
    refusal: str,
    generation: int,
    old: Object,
    now: str,
) -> Object:
    name = listener["name"]
    known = serves_http(listener)
    kinds = list((listener.get("allowedRoutes") or {}).get("kinds") or [{"kind": "HTTPRoute"}])
    wrong = [k["kind"] for k in kinds if k["kind"] != "HTTPRoute" or k.get("group", GROUP) != GROUP]
    problem = translation.listener_problems.get((key, name), "")
    resolved = condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved", generation)
    if wrong:
        resolved = condition("ResolvedRefs", False, "InvalidRouteKinds", f"not served: {', '.join(wrong)}", generation)
    elif problem:
        reason, _, message = problem.partition(": ")
        resolved = condition("ResolvedRefs", False, reason, message, generation)
    accepted = condition("Accepted", known, "Accepted", "the listener is accepted", generation)
    if not known:
        accepted |= {"reason": "UnsupportedProtocol", "message": f"protocol {listener['protocol']} is not served"}
    well = known and live and not problem and not refusal
    programmed = condition("Programmed", well, "Programmed" if well else "Pending", refusal or "", generation)
    if problem or not known:
        programmed["reason"] = "Invalid"
    conflicted = condition("Conflicted", False, "NoConflicts", "", generation)
    before: list[Object] = next((e["conditions"] for e in old.get("listeners") or () if e["name"] == name), [])
    attached = translation.attachments.listeners.get((key, name), ())
    return {
        "name": name,
        "attachedRoutes": len({(a.route["metadata"]["namespace"], a.route["metadata"]["name"]) for a in attached}),
        "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}] if known and len(wrong) < len(kinds) else [],
        "conditions": stamped([accepted, resolved, programmed, conflicted], before, now),
    }


def route_status(
    world: World, translation: Translation, key: str, route: Object, now: str, refusals: Mapping[str, str]
) -> Object | None:
    """Return a route's status with our parents in it; None when it never had one of ours. ``refusals``: Gateway key →
    what Envoy says against its routes."""
    generation = route["metadata"].get("generation", 0)
    old_parents = (route.get("status") or {}).get("parents") or []
    others = [parent for parent in old_parents if parent["controllerName"] != CONTROLLER]
    mine: list[dict[str, Any]] = []
    problems = translation.route_problems.get(key)
    for verdict in translation.attachments.verdicts.get(key, ()):
        well = verdict.attached > 0
        accepted = condition("Accepted", well, verdict.reason, verdict.message, generation)
        reference = verdict.parent_ref
        parent = f"{reference.get('namespace') or route['metadata']['namespace']}/{reference['name']}"
        refusal = refusals.get(parent, "")
        dropped = problems.dropped if problems is not None else []
        partial: list[Object] = []
        if well and refusal:
            accepted = condition("Accepted", False, "UnsupportedValue", f"Envoy refused it: {refusal}", generation)
        elif well and dropped and len(dropped) == len(route["spec"].get("rules") or ()):
            accepted = condition("Accepted", False, "UnsupportedValue", "; ".join(dropped), generation)
        elif well and dropped:
            text = f"Dropped Rule: {'; '.join(dropped)}"
            partial = [condition("PartiallyInvalid", True, "UnsupportedValue", text, generation)]
        resolved = condition("ResolvedRefs", True, "ResolvedRefs", "all references are resolved", generation)
        if problems is not None and problems.messages:
            text = "; ".join(dict.fromkeys(problems.messages))
            resolved = condition("ResolvedRefs", False, problems.reason, text, generation)
        before: list[Object] = next(
            (
                p.get("conditions") or []
                for p in old_parents
                if p["controllerName"] == CONTROLLER and p["parentRef"] == verdict.parent_ref
            ),
            [],
        )
        conditions = stamped([accepted, resolved, *partial], before, now)
        mine.append({"parentRef": verdict.parent_ref, "controllerName": CONTROLLER, "conditions": conditions})
    if not mine and len(others) == len(old_parents):
        return None
    return {"parents": [*others, *mine]}


def plugin_status(world: World, key: str, plugin: Object, now: str, refusal: str = "") -> Object:
    """Return a Plugin's status: which version is live since when, and what a newer one lacks. ``refusal``: Envoy's words
    against the version that was pushed last; the one it had before serves on."""
    generation = plugin["metadata"].get("generation", 0)
    old = plugin.get("status", {})
    live, problem = world.live_plugins.get(key), world.plugin_problems.get(key, "")
    problem = problem or (refusal and f"Envoy refused it: {refusal}")
    version = live.version if live is not None else ""
    if refusal:
        version = old.get("liveVersion", "")
    accepted = condition("Accepted", not problem, "Accepted" if not problem else "Invalid", problem, generation)
    text = f"version {version} is live" if version else "no version is live"
    serving = condition("Live", bool(version), "Live" if version else "NotLive", text, generation)
    status: Object = {"conditions": stamped([accepted, serving], old.get("conditions") or [], now)}
    if version:
        status["liveVersion"] = version
        same = old.get("liveVersion") == version
        status["liveSince"] = old["liveSince"] if same and old.get("liveSince") else now
    return status
