"""What a Deployment wants of its ReplicaSets: pure functions from objects to numbers, names and statuses.

Source: the Deployment API (apps/v1), the rolling update arithmetic of Kubernetes (surge rounds up, unavailable rounds down,
both zero counts as one unavailable), proportional scaling of a rollout under way.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import orjson

from sampan.controllers.ownership import condition_of, with_condition
from sampan.schema.objects import Object

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
REVISION_HISTORY_CHARACTERS = 2000
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
HASH_LABEL = "pod-template-hash"
NOT_COPIED = {
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
}
SAFE = "bcdfghjklmnpqrstvwxz2456789"
LONGEST_NAME = 253


def template_hash(template: Object, collisions: int) -> str:
    """Return the name suffix of a template: stable for equal templates, other with every collision."""
    text = orjson.dumps(template, option=orjson.OPT_SORT_KEYS) + (b"%d" % collisions if collisions else b"")
    number = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
    return "".join(SAFE[int(digit) + 10] for digit in str(number))


def same_template(deployment: Object, replica_set: Object) -> bool:
    """Whether a ReplicaSet was made from the Deployment's present template."""
    theirs = dict(replica_set["spec"]["template"])
    metadata = dict(theirs.get("metadata") or {})
    metadata["labels"] = {k: v for k, v in (metadata.get("labels") or {}).items() if k != HASH_LABEL}
    ours = deployment["spec"]["template"]
    return _bare(ours.get("metadata")) == _bare(metadata) and ours.get("spec") == theirs.get("spec")


def split(deployment: Object, sets: list[Object]) -> tuple[Object | None, list[Object]]:
    """Return the ReplicaSet of the present template (the oldest of several), where there is one, and the others."""
    same = [rs for rs in by_age(sets) if same_template(deployment, rs)]
    new = same[0] if same else None
    return new, [rs for rs in sets if rs is not new]


def by_age(sets: list[Object]) -> list[Object]:
    return sorted(sets, key=lambda rs: (rs["metadata"].get("creationTimestamp", ""), rs["metadata"]["name"]))


def _bare(metadata: Any) -> dict[str, Any]:
    return {key: value for key, value in (metadata or {}).items() if value not in (None, {}, [])}


def revision_of(replica_set: Object) -> int:
    try:
        return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))
    except ValueError:
        return 0


def replicas(obj: Object) -> int:
    return int(obj["spec"].get("replicas", 1))


def resolve(value: int | str, total: int, *, up: bool) -> int:
    """Return an absolute number for a number or a percentage of ``total``."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total / 100
    return math.ceil(share) if up else math.floor(share)


def recreates(deployment: Object) -> bool:
    return bool((deployment["spec"].get("strategy") or {}).get("type") == "Recreate")


def is_idle(replica_set: Object) -> bool:
    """Whether a ReplicaSet has no pods and is to have none, and has seen that."""
    status = replica_set.get("status", {})
    is_seen = replica_set["metadata"].get("generation", 0) <= status.get("observedGeneration", 0)
    return is_seen and not replicas(replica_set) and not status.get("replicas")


def limits(deployment: Object) -> tuple[int, int]:
    """Return ``(maxSurge, maxUnavailable)`` in pods."""
    if recreates(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    wanted = replicas(deployment)
    surge = resolve(rolling.get("maxSurge", "25%"), wanted, up=True)
    unavailable = resolve(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, wanted) if wanted else unavailable


def new_replica_set(deployment: Object, revision: int, owner: Object, collisions: int) -> Object:
    """Return the ReplicaSet of the present template, with no replicas yet."""
    template = deployment["spec"]["template"]
    suffix = template_hash(template, collisions)
    labels = {**(template.get("metadata", {}).get("labels") or {}), HASH_LABEL: suffix}
    selector = dict(deployment["spec"]["selector"])
    selector["matchLabels"] = {**(selector.get("matchLabels") or {}), HASH_LABEL: suffix}
    metadata = deployment["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name'][: LONGEST_NAME - 1 - len(suffix)]}-{suffix}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations_for(deployment, revision),
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": 0,
            "selector": selector,
            "template": {**template, "metadata": {**(template.get("metadata") or {}), "labels": labels}},
            **({"minReadySeconds": s} if (s := deployment["spec"].get("minReadySeconds", 0)) else {}),
        },
    }


def annotations_for(deployment: Object, revision: int) -> dict[str, str]:
    """Return the annotations of the ReplicaSet that is current."""
    copied = {k: v for k, v in (deployment["metadata"].get("annotations") or {}).items() if k not in NOT_COPIED}
    surge, _ = limits(deployment)
    wanted = replicas(deployment)
    return {**copied, REVISION: str(revision), DESIRED: str(wanted), MAX: str(wanted + surge)}


def history_of(replica_set: Object) -> str:
    """Return the revisions that a ReplicaSet had before the next one, the oldest first, as a rollback to it leaves them; the
    oldest go where there are too many. Empty: it had none."""
    annotations = replica_set["metadata"].get("annotations") or {}
    if REVISION not in annotations:
        return ""
    revisions = [*filter(None, annotations.get(REVISION_HISTORY, "").split(",")), annotations[REVISION]]
    while len(",".join(revisions)) > REVISION_HISTORY_CHARACTERS:
        revisions.pop(0)
    return ",".join(revisions)


def rolling(deployment: Object, new: Object, old: list[Object]) -> dict[str, int]:
    """Return the next sizes (by ReplicaSet name) of a rolling update: first up within the surge, then down within what
    may be unavailable, unhealthy old pods first."""
    wanted = replicas(deployment)
    surge, unavailable = limits(deployment)
    total = replicas(new) + sum(replicas(rs) for rs in old)
    sizes: dict[str, int] = {}
    room = wanted + surge - total
    if replicas(new) > wanted:
        sizes[new["metadata"]["name"]] = wanted
    elif replicas(new) < wanted and room > 0:
        sizes[new["metadata"]["name"]] = min(wanted, replicas(new) + room)
    sizes |= scale_down(new, old, wanted - unavailable)
    return sizes


def scale_down(new: Object, old: list[Object], least_available: int) -> dict[str, int]:
    """Return smaller sizes of old ReplicaSets, so that ``least_available`` pods stay available."""
    everyone = sum(replicas(rs) for rs in [new, *old])
    unready_new = replicas(new) - available(new)
    may_go = everyone - least_available - max(unready_new, 0)
    sizes: dict[str, int] = {}
    if may_go <= 0:
        return sizes
    oldest_first = by_age(old)
    for rs in oldest_first:  # those that never became available cost nothing
        broken = min(replicas(rs) - available(rs), may_go)
        if broken > 0:
            sizes[rs["metadata"]["name"]] = replicas(rs) - broken
            may_go -= broken
    spare = sum(available(rs) for rs in [new, *old]) - least_available
    may_go = min(may_go, spare)
    for rs in oldest_first:
        have = sizes.get(rs["metadata"]["name"], replicas(rs))
        gone = min(have, may_go)
        if gone > 0:
            sizes[rs["metadata"]["name"]] = have - gone
            may_go -= gone
    return sizes


def available(replica_set: Object) -> int:
    return int(replica_set.get("status", {}).get("availableReplicas", 0))


def proportional(deployment: Object, sets: list[Object]) -> dict[str, int]:
    """Return the sizes when a Deployment is scaled while several ReplicaSets have pods: the change is shared out by size. Of
    equal ones the newer grow first, and the older shrink first."""
    surge, _ = limits(deployment)
    wanted = replicas(deployment)
    active = [rs for rs in by_age(sets) if replicas(rs) > 0]
    allowed = wanted + surge if wanted else 0
    change = allowed - sum(replicas(rs) for rs in active)
    if change > 0:
        active.reverse()
    sizes: dict[str, int] = {}
    left = change
    for rs in sorted(active, key=replicas, reverse=True):
        share = _share(deployment, rs, wanted + surge)
        share = min(share, left) if change > 0 else max(share, left)
        sizes[rs["metadata"]["name"]] = replicas(rs) + (share if left else 0)
        left -= share if left else 0
    for name, size in sizes.items():  # what rounding left over falls on the largest, as far as it goes
        sizes[name] = max(size + left, 0)
        left -= sizes[name] - size
    return sizes


def _share(deployment: Object, replica_set: Object, most: int) -> int:
    """Return by how much a ReplicaSet grows or shrinks with its Deployment; a half is rounded up, as Kubernetes does."""
    if not replicas(deployment):
        return -replicas(replica_set)
    before = _number((replica_set["metadata"].get("annotations") or {}).get(MAX))
    before = before or deployment.get("status", {}).get("replicas", 0)
    return math.floor(replicas(replica_set) * most / before + 0.5) - replicas(replica_set) if before else 0


def _number(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def is_rescaled(deployment: Object, sets: list[Object]) -> bool:
    """Whether ``spec.replicas`` is another than the ReplicaSets were sized for: they follow it before a rollout goes on."""
    active = [rs for rs in sets if replicas(rs) > 0]
    if recreates(deployment) and len(active) > 1:
        return False  # there is nothing to share out: the old ones go
    meant = [(rs["metadata"].get("annotations") or {}).get(DESIRED) for rs in active]
    return any(desired not in (None, str(replicas(deployment))) for desired in meant)


def scaled(deployment: Object, new: Object | None, old: list[Object]) -> dict[str, int]:
    """Return the sizes that a new ``spec.replicas`` asks of a rollout under way or paused, without going on with it."""
    everyone = [*old, *([new] if new else [])]
    active = [rs for rs in everyone if replicas(rs) > 0]
    if len(active) <= 1:
        latest = active[0] if active else new or next(reversed(by_age(old)), None)
        return {latest["metadata"]["name"]: replicas(deployment)} if latest else {}
    if new is not None and is_saturated(deployment, new):
        return {rs["metadata"]["name"]: 0 for rs in active if rs is not new}
    return {} if recreates(deployment) else proportional(deployment, active)


def is_saturated(deployment: Object, replica_set: Object) -> bool:
    """Whether a ReplicaSet has, and was meant to have, all pods of its Deployment, and all are available."""
    desired = (replica_set["metadata"].get("annotations") or {}).get(DESIRED)
    wanted = replicas(deployment)
    return desired == str(wanted) and replicas(replica_set) == wanted == available(replica_set)


def status_of(deployment: Object, new: Object | None, sets: list[Object], now: str) -> Object:
    """Return the status that the ReplicaSets amount to, conditions included."""
    total = sum(rs.get("status", {}).get("replicas", 0) for rs in sets)
    ready = sum(rs.get("status", {}).get("readyReplicas", 0) for rs in sets)
    usable = sum(available(rs) for rs in sets)
    updated = new.get("status", {}).get("replicas", 0) if new else 0
    old = deployment.get("status", {})
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    counts = {
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": usable,
        "unavailableReplicas": max(sum(replicas(rs) for rs in sets) - usable, 0),
    }
    status |= {name: count for name, count in counts.items() if count}
    going = [rs["status"]["terminatingReplicas"] for rs in sets if "terminatingReplicas" in rs.get("status", {})]
    if going:
        status["terminatingReplicas"] = sum(going)
    if old.get("collisionCount"):
        status["collisionCount"] = old["collisionCount"]
    _, unavailable = limits(deployment)
    enough = usable >= replicas(deployment) - unavailable
    condition = {
        "type": "Available",
        "status": "True" if enough else "False",
        "lastUpdateTime": now,
        "reason": "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        "message": f"Deployment {'has' if enough else 'does not have'} minimum availability.",
    }
    conditions = set_condition(list(old.get("conditions") or ()), condition, now)
    failures = [found for rs in ([new] if new else []) + sets if (found := condition_of(rs, "ReplicaFailure"))]
    failure = failures[0] if failures else None
    conditions = [c for c in conditions if c["type"] != "ReplicaFailure"]
    if failure is not None:
        since = failure.get("lastTransitionTime", now)
        conditions = set_condition(conditions, {**failure, "lastUpdateTime": since}, now)
    status["conditions"] = conditions
    return status


def set_condition(conditions: list[Object], new: Object, now: str) -> list[Object]:
    """Set a condition unless it says the same already: its status for its reason, whatever its words and times."""
    for old in conditions:
        if old["type"] == new["type"] and all(old.get(key) == new.get(key) for key in ("status", "reason")):
            return conditions
    return with_condition(conditions, new, now)


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether every pod is of the new template and available."""
    wanted = replicas(deployment)
    counts = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return counts == [wanted] * 3


def made_progress(old: Object, new: Object) -> bool:
    """Whether a status is further than the one before."""
    grew = any(new.get(n, 0) > old.get(n, 0) for n in ("updatedReplicas", "readyReplicas", "availableReplicas"))
    old_ones = old.get("replicas", 0) - old.get("updatedReplicas", 0)
    return grew or new.get("replicas", 0) - new.get("updatedReplicas", 0) < old_ones
