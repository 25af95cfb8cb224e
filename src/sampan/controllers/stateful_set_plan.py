"""What a StatefulSet wants of its pods: pure functions from objects to pods, claims, what to do next, and the status.

Pods have an ordinal, a name, a host name and claims of their own. With ``OrderedReady`` one thing is done at a time and only
when everything before it is running and ready; with ``Parallel`` pods come and go at once, and only updates keep the order.
Source: apps/v1 StatefulSet, KEP-961 (maxUnavailable), KEP-1847 (claim retention), KEP-3335 (start ordinal), KEP-2599.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.client.resources import STATEFUL_SETS
from sampan.controllers.deployment_plan import resolve
from sampan.controllers.ownership import is_pod_ready
from sampan.controllers.pod_availability import ends, finished, ready_long_enough
from sampan.controllers.pod_control import pod_of
from sampan.controllers.revisions import REVISION_LABEL, template_of
from sampan.schema.objects import Object

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"


@dataclass
class Plan:
    """What to do now: ordinals to make (with the revision each is made from), and pods to delete."""

    create: list[tuple[int, Object]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


def ordinals(stateful_set: Object) -> range:
    spec = stateful_set["spec"]
    start = (spec.get("ordinals") or {}).get("start", 0)
    return range(start, start + spec.get("replicas", 1))


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """Return the ordinal in a pod's name; None where the name is not one of the StatefulSet's."""
    prefix, _, number = pod["metadata"]["name"].rpartition("-")
    if prefix != stateful_set["metadata"]["name"] or not number.isdecimal() or (number[0] == "0" and number != "0"):
        return None
    return int(number)


def claim_name(stateful_set: Object, template: Object, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{stateful_set['metadata']['name']}-{ordinal}"


def claims(stateful_set: Object, ordinal: int) -> list[Object]:
    """Return the PersistentVolumeClaims of an ordinal."""
    labels = stateful_set["spec"]["selector"].get("matchLabels") or {}
    made = []
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        given = template["metadata"]
        metadata = {
            "name": claim_name(stateful_set, template, ordinal),
            "namespace": stateful_set["metadata"]["namespace"],
            "labels": {**(given.get("labels") or {}), **labels},
            **({"annotations": given["annotations"]} if given.get("annotations") else {}),
        }
        made.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
        )
    return made


def pod_for(stateful_set: Object, ordinal: int, revision: Object) -> Object:
    """Return the pod of an ordinal as a revision has it."""
    name = f"{stateful_set['metadata']['name']}-{ordinal}"
    pod = pod_of(template_of(stateful_set, revision), STATEFUL_SETS, name)
    labels = {POD_NAME: name, POD_INDEX: str(ordinal), REVISION_LABEL: revision["metadata"]["name"]}
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **labels}
    templates = stateful_set["spec"].get("volumeClaimTemplates") or ()
    claimed = {template["metadata"]["name"]: claim_name(stateful_set, template, ordinal) for template in templates}
    volumes = [v for v in pod["spec"].get("volumes") or () if v["name"] not in claimed]
    volumes += [{"name": name, "persistentVolumeClaim": {"claimName": claim}} for name, claim in claimed.items()]
    pod["spec"] = {
        **pod["spec"],
        "hostname": name,
        **({"subdomain": s} if (s := stateful_set["spec"].get("serviceName")) else {}),
        **({"volumes": volumes} if volumes else {}),
    }
    return pod


def identity(pod: Object) -> Object:
    """Return the labels by which a pod of a StatefulSet is found: its name and its ordinal."""
    name = pod["metadata"]["name"]
    return {POD_NAME: name, POD_INDEX: name.rpartition("-")[2]}


def healthy(pod: Object) -> bool:
    """Whether a pod is running, ready and not about to go."""
    return pod.get("status", {}).get("phase") == "Running" and is_pod_ready(pod) and not ends(pod)


def available(stateful_set: Object, pod: Object) -> bool:
    return healthy(pod) and ready_long_enough(stateful_set, pod)


def revision_for(stateful_set: Object, ordinal: int, current: Object, update: Object) -> Object:
    """Return the revision that a new pod of an ordinal is made from: below the partition it is the current one."""
    return current if ordinal < ordinals(stateful_set).start + partition(stateful_set) else update


def strategy(stateful_set: Object) -> str:
    return str((stateful_set["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate"))


def is_ordered(stateful_set: Object) -> bool:
    return bool(stateful_set["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady")


def partition(stateful_set: Object) -> int:
    rolling = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return int(rolling.get("partition", 0)) if strategy(stateful_set) == "RollingUpdate" else 0


def desired(stateful_set: Object, pods: dict[int, Object], current: Object, update: Object) -> Plan:
    """Return what is to be done now; ``pods`` by ordinal."""
    wanted = ordinals(stateful_set)
    ordered = is_ordered(stateful_set)
    plan = Plan()
    for ordinal in wanted:
        pod = pods.get(ordinal)
        if pod is None:
            plan.create.append((ordinal, revision_for(stateful_set, ordinal, current, update)))
        elif finished(pod) and not ends(pod):
            plan.delete.append(pod)
        elif available(stateful_set, pod):
            continue
        if ordered:
            return plan
    condemned = [pods[ordinal] for ordinal in sorted(pods, reverse=True) if ordinal not in wanted]
    if ordered and condemned:
        return _condemn_one(stateful_set, plan, pods, condemned)
    plan.delete += [pod for pod in condemned if not ends(pod)]
    if not plan.create and not plan.delete and strategy(stateful_set) == "RollingUpdate":
        plan.delete += outdated(stateful_set, pods, update)
    return plan


def _condemn_one(stateful_set: Object, plan: Plan, pods: dict[int, Object], condemned: list[Object]) -> Plan:
    """The highest goes first, and only while everything else is well; one that is not well may go itself."""
    last = condemned[0]
    unwell = [pod for _, pod in sorted(pods.items()) if not available(stateful_set, pod)]
    if not ends(last) and (not unwell or unwell[0] is last or available(stateful_set, last)):
        plan.delete.append(last)
    return plan


def outdated(stateful_set: Object, pods: dict[int, Object], update: Object) -> list[Object]:
    """Return the pods that are replaced next, from the highest ordinal down to the partition: as many as may be unavailable
    beside those that are. With ``Parallel`` those that are down already go first, all of them: that takes nothing away."""
    rolling = (stateful_set["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    wanted, name = ordinals(stateful_set), update["metadata"]["name"]
    most = max(resolve(rolling.get("maxUnavailable", 1), len(wanted), up=False), 1)
    down = sum(1 for ordinal in wanted if not available(stateful_set, pods[ordinal]))
    below = wanted.start + partition(stateful_set)
    old = [pods[ordinal] for ordinal in reversed(wanted) if ordinal >= below]
    old = [pod for pod in old if revision_name(pod) != name and not ends(pod)]
    if is_ordered(stateful_set):
        return old[: max(most - down, 0)]
    lame = [pod for pod in old if not available(stateful_set, pod)]
    return lame + [pod for pod in old if available(stateful_set, pod)][: max(most - down, 0)]


def revision_name(pod: Object) -> str:
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def status_of(stateful_set: Object, pods: list[Object], current: Object, update: Object, collisions: int) -> Object:
    """Return the status that the pods amount to; a rollout that is complete makes the update revision the current one."""
    old = stateful_set.get("status", {})
    ready = [pod for pod in pods if pod.get("status", {}).get("phase") == "Running" and is_pod_ready(pod)]
    names = (current["metadata"]["name"], update["metadata"]["name"])

    def made_from(name: str) -> int:
        return sum(1 for pod in pods if revision_name(pod) == name and not ends(pod))

    status: Object = {
        "observedGeneration": stateful_set["metadata"].get("generation", 0),
        "replicas": len(pods),
        "availableReplicas": sum(1 for pod in pods if available(stateful_set, pod)),
        "currentRevision": names[0],
        "updateRevision": names[1],
        "collisionCount": collisions,
    }
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": made_from(names[0]),
        "updatedReplicas": made_from(names[1]),
    }
    # of those who delete their pods themselves, too (kubernetes #136833)
    if counts["updatedReplicas"] == status["replicas"] == len(ready) == len(ordinals(stateful_set)):
        status["currentRevision"] = names[1]
        counts["currentReplicas"] = counts["updatedReplicas"]
    status |= {name: count for name, count in counts.items() if count}
    if old.get("conditions"):
        status["conditions"] = old["conditions"]
    return status
