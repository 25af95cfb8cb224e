"""What a DaemonSet wants on each node: pure functions from objects to pods, what to do next, and the status.

A pod for a node is bound to it by a required node affinity on ``metadata.name``, so that the scheduler still looks at ports
and resources. Source: apps/v1 DaemonSet, KEP-1591 (maxSurge), the default tolerations of daemon pods.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sampan.client.resources import DAEMON_SETS
from sampan.controllers.deployment_plan import resolve
from sampan.controllers.ownership import is_pod_ready
from sampan.controllers.pod_availability import ends, finished, ready_long_enough
from sampan.controllers.pod_control import pod_of
from sampan.controllers.revisions import REVISION_LABEL
from sampan.schema.node_selectors import may_be_on
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates

GENERATION = "deprecated.daemonset.template.generation"
GENERATION_LABEL = "pod-template-generation"
TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)


class Place(NamedTuple):
    """Whether a node should have a pod, and whether one that is there may stay."""

    wanted: bool
    stays: bool


@dataclass
class Plan:
    create: list[str] = field(default_factory=list)
    """Names of nodes."""
    delete: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)
    """Those of ``delete`` that had ended by themselves."""


def pod_for(daemon_set: Object, node: str, name: str, hash: str) -> Object:
    """Return the daemon pod of a node."""
    pod = pod_of(daemon_set, DAEMON_SETS, name)
    labels = {**(pod["metadata"].get("labels") or {}), REVISION_LABEL: hash}
    generation = (daemon_set["metadata"].get("annotations") or {}).get(GENERATION)
    if generation is not None:
        labels[GENERATION_LABEL] = generation
    pod["metadata"]["labels"] = labels
    pod["spec"] = {**pod["spec"], "affinity": bound_to(pod["spec"].get("affinity") or {}, node)}
    pod["spec"]["tolerations"] = tolerations(pod["spec"])
    return pod


def bound_to(affinity: Object, node: str) -> Object:
    """Return an affinity whose required node terms are replaced by one that chooses the node by its name."""
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {**affinity, "nodeAffinity": {**(affinity.get("nodeAffinity") or {}), **required}}


def tolerations(spec: Object) -> list[Object]:
    """Return a PodSpec's tolerations with those that every daemon pod has."""
    own = list(spec.get("tolerations") or ())
    keys = [*TOLERATED, *([("network-unavailable", "NoSchedule")] if spec.get("hostNetwork") else [])]
    every = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect} for key, effect in keys]
    return [*own, *(toleration for toleration in every if toleration not in own)]


def place(daemon_set: Object, node: Object) -> Place:
    """Return what a DaemonSet wants on a node."""
    spec = daemon_set["spec"]["template"]["spec"]
    name = node["metadata"]["name"]
    if spec.get("nodeName", name) != name or not may_be_on(spec, name, node["metadata"].get("labels") or {}):
        return Place(False, False)
    borne = tolerations(spec)
    taints = [t for t in node.get("spec", {}).get("taints") or () if t["effect"] in ("NoSchedule", "NoExecute")]
    repelling = [taint for taint in taints if not any(tolerates(toleration, taint) for toleration in borne)]
    return Place(not repelling, all(taint["effect"] != "NoExecute" for taint in repelling))


def node_of(pod: Object) -> str:
    """Return the node a daemon pod is on, or is bound for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            if entry["key"] == "metadata.name" and entry["operator"] == "In" and len(entry["values"]) == 1:
                return str(entry["values"][0])
    return ""


def by_node(pods: list[Object]) -> dict[str, list[Object]]:
    """Return the pods by node, those on it and the oldest first, without those that have ended and only wait to go."""
    found: dict[str, list[Object]] = {}
    for pod in sorted((pod for pod in pods if not (finished(pod) and ends(pod))), key=_first_come):
        found.setdefault(node_of(pod), []).append(pod)
    return found


def _first_come(pod: Object) -> tuple[bool, str, str]:
    return not pod["spec"].get("nodeName"), pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]


def available(daemon_set: Object, pod: Object) -> bool:
    return is_pod_ready(pod) and not ends(pod) and ready_long_enough(daemon_set, pod)


def is_new(pod: Object, hash: str) -> bool:
    return (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == hash


def limits(daemon_set: Object, wanted: int) -> tuple[int, int]:
    """Return ``(maxSurge, maxUnavailable)`` of a rolling update over ``wanted`` nodes."""
    rolling = (daemon_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    surge = resolve(rolling.get("maxSurge", 0), wanted, up=True)
    unavailable = resolve(rolling.get("maxUnavailable", 1), wanted, up=True)
    return surge, unavailable if surge or unavailable else 1


def desired(daemon_set: Object, nodes: list[Object], pods: list[Object], hash: str) -> Plan:
    """Return what is to be done now, the rolling update included."""
    plan, there = Plan(), by_node(pods)
    names = {node["metadata"]["name"] for node in nodes}
    surge = _surges(daemon_set)
    for node in nodes:
        _on_node(plan, place(daemon_set, node), node["metadata"]["name"], there, surge, hash, daemon_set)
    for name, strays in there.items():
        if name not in names:
            plan.delete += [pod for pod in strays if not ends(pod) and not pod["spec"].get("nodeName")]
    if (daemon_set["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate":
        wanted = [node["metadata"]["name"] for node in nodes if place(daemon_set, node).wanted]
        going = {pod["metadata"]["name"] for pod in plan.delete}
        left = {
            name: [p for p in there.get(name, ()) if p["metadata"]["name"] not in going and not ends(p)]
            for name in dict.fromkeys((*wanted, *there))  # pods may be left where no new one would come
        }
        (_roll_with_surge if surge else _roll)(plan, daemon_set, left, wanted, hash)
    return plan


def _surges(daemon_set: Object) -> bool:
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    return strategy.get("type", "RollingUpdate") == "RollingUpdate" and limits(daemon_set, 100)[0] > 0


def _on_node(
    plan: Plan,
    at: Place,
    name: str,
    there: dict[str, list[Object]],
    surge: bool,
    hash: str,
    daemon_set: Object,
) -> None:
    mine = there.get(name, [])
    if not at.stays:
        plan.delete += [pod for pod in mine if not ends(pod)]
        return
    ended = [pod for pod in mine if finished(pod) and not ends(pod)]
    plan.delete += ended
    plan.failed += ended
    living = [pod for pod in mine if not finished(pod) and not ends(pod)]
    if at.wanted and not (living if surge else mine):
        plan.create.append(name)
        return
    if surge:  # one of each template may stand side by side while the old one is ready and the new one not available
        old, new = [p for p in living if not is_new(p, hash)], [p for p in living if is_new(p, hash)]
        plan.delete += [*old[1:], *new[1:]]
        if old and new and (not is_pod_ready(old[0]) or available(daemon_set, new[0])):
            plan.delete.append(old[0])
    else:
        plan.delete += living[1:]


def _roll(plan: Plan, daemon_set: Object, left: dict[str, list[Object]], wanted: list[str], hash: str) -> None:
    """Replace old pods, as many at a time as may be unavailable; those that are unavailable anyway cost nothing."""
    unavailable = 0
    free: list[Object] = []
    candidates: list[Object] = []
    for pods in left.values():
        old = [pod for pod in pods if not is_new(pod, hash)]
        if len(pods) != 1 or not available(daemon_set, pods[0]):
            unavailable += 1
            free += old if len(pods) == 1 else []
        else:
            candidates += old
    _, most = limits(daemon_set, len(wanted))
    plan.delete += [*free, *candidates[: max(most - unavailable, 0)]]


def _roll_with_surge(
    plan: Plan, daemon_set: Object, left: dict[str, list[Object]], wanted: list[str], hash: str
) -> None:
    """Start new pods beside old ones, as many at a time as may surge; beside an unavailable old one at once. Where no new one
    may come, an old one that is available goes when there are more of these than wanted."""
    surging = there = 0
    free: list[str] = []
    candidates: list[str] = []
    sunset: list[Object] = []
    for name, pods in left.items():
        old, new = [p for p in pods if not is_new(p, hash)], [p for p in pods if is_new(p, hash)]
        if len(old) > 1 or len(new) > 1:
            surging += 1
            continue
        is_up = any(available(daemon_set, pod) for pod in (old or new))
        there += is_up
        if old and new:
            surging += 1
        elif old and name in wanted:
            (candidates if is_up else free).append(name)
        elif old:
            (sunset if is_up else plan.delete).append(old[0])
    most, _ = limits(daemon_set, len(wanted))
    plan.delete += sunset[: max(there - len(wanted), 0)]
    plan.create += [*free, *candidates[: max(most - surging, 0)]]


def status_of(
    daemon_set: Object, nodes: list[Object], pods: list[Object], hash: str, collisions: int, *, is_acted_on: bool = True
) -> Object:
    """Return the status that nodes and pods amount to: the oldest pod of a node stands for it. ``is_acted_on``: what is asked
    for now has been looked at, not only counted."""
    there = by_node(pods)
    counts = dict.fromkeys(
        ("desiredNumberScheduled", "currentNumberScheduled", "numberMisscheduled", "numberReady", "numberAvailable"), 0
    )
    updated = 0
    for node in nodes:
        mine = there.get(node["metadata"]["name"], [])
        if not place(daemon_set, node).wanted:
            counts["numberMisscheduled"] += bool(mine)
            continue
        counts["desiredNumberScheduled"] += 1
        if not mine:
            continue
        counts["currentNumberScheduled"] += 1
        is_ready = is_pod_ready(mine[0])
        counts["numberReady"] += is_ready
        counts["numberAvailable"] += is_ready and ready_long_enough(daemon_set, mine[0])
        updated += is_new(mine[0], hash)
    known = daemon_set.get("status", {})
    seen = daemon_set["metadata"].get("generation", 0) if is_acted_on else known.get("observedGeneration")
    status: Object = {**counts, **({"observedGeneration": seen} if seen is not None else {})}
    gone = counts["desiredNumberScheduled"] - counts["numberAvailable"]
    optional = {"updatedNumberScheduled": updated, "numberUnavailable": gone, "collisionCount": collisions}
    status |= {name: count for name, count in optional.items() if count}
    if conditions := known.get("conditions"):
        status["conditions"] = conditions
    return status
