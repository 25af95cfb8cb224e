"""What a Deployment tells of its rollout, condition by condition."""

from __future__ import annotations

import pytest

from sampan.controllers import deployment_progress as progress
from sampan.controllers.ownership import condition_of
from sampan.schema.objects import Object

LONG_AGO, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"
NEW = {"metadata": {"name": "web-new"}}


def deployment(
    reason: str = "", *, of: str = "True", paused: bool = False, deadline: int = 600, **status: int
) -> Object:
    before = {"type": "Progressing", "status": of, "reason": reason, "message": "", "lastUpdateTime": LONG_AGO,
              "lastTransitionTime": LONG_AGO}  # fmt: skip
    return {
        "metadata": {"name": "web"},
        "spec": {"replicas": 3, "paused": paused, "progressDeadlineSeconds": deadline},
        "status": {**status, "conditions": [before] if reason else []},
    }


def told(before: Object, told: Object | None = None, **status: int) -> Object | None:
    conditions = before["status"]["conditions"]
    found = progress.with_progress(before, NEW, {**status, "conditions": conditions}, NOW, told)
    return condition_of({"status": {"conditions": found}}, "Progressing")


def test_the_deadline_runs_from_the_last_progress() -> None:
    before = deployment("ReplicaSetUpdated", replicas=3, updatedReplicas=1)
    further = told(before, replicas=3, updatedReplicas=2)
    assert further is not None
    assert further["reason"] == "ReplicaSetUpdated"
    assert (further["lastUpdateTime"], further["lastTransitionTime"]) == (NOW, LONG_AGO)
    late = told(before, replicas=3, updatedReplicas=1)
    assert late is not None
    assert (late["status"], late["reason"]) == ("False", "ProgressDeadlineExceeded")


def test_one_that_is_rolled_out_is_not_late_when_it_loses_a_pod() -> None:
    before = deployment("NewReplicaSetAvailable", replicas=3, updatedReplicas=3, availableReplicas=3)
    still = told(before, replicas=3, updatedReplicas=3, availableReplicas=2)
    assert still == before["status"]["conditions"][0]


@pytest.mark.parametrize(
    ("before", "paused", "after"),
    [
        ("NewReplicaSetAvailable", True, ("Unknown", "DeploymentPaused")),
        ("ProgressDeadlineExceeded", True, ("True", "ProgressDeadlineExceeded")),
        ("DeploymentPaused", False, ("Unknown", "DeploymentResumed")),
    ],
)
def test_pauses(before: str, paused: bool, after: tuple[str, str]) -> None:
    found = told(deployment(before, paused=paused), replicas=3, updatedReplicas=1)
    assert found is not None
    assert (found["status"], found["reason"]) == after


def test_what_was_just_done_is_told_first() -> None:
    for made, reason in (
        (progress.created(NEW), "NewReplicaSetCreated"),
        (progress.not_created("no"), "ReplicaSetCreateError"),
    ):
        found = told(deployment("NewReplicaSetAvailable"), made, replicas=3, updatedReplicas=0)
        assert found is not None
        assert found["reason"] == reason
    found = told(deployment(), replicas=3)
    assert found is not None
    assert found["message"] == 'Found new replica set "web-new"'


def test_without_a_deadline_nothing_is_told() -> None:
    assert told(deployment("ReplicaSetUpdated", deadline=progress.NO_DEADLINE), replicas=3) is None


@pytest.mark.parametrize(
    ("reason", "again"),
    [("ReplicaSetUpdated", 1.0), ("NewReplicaSetAvailable", None), ("ProgressDeadlineExceeded", None)],
)
def test_only_a_rollout_under_way_has_a_deadline_to_look_at(reason: str, again: float | None) -> None:
    """A Deployment that had been rolled out and lost a pod later was looked at every second for ever."""
    late = "ProgressDeadlineExceeded"
    progressing = {"type": "Progressing", "status": str(reason != late), "reason": reason}
    status = {"conditions": [{**progressing, "lastUpdateTime": LONG_AGO}], "availableReplicas": 2}
    assert progress.seconds_left({"spec": {"replicas": 3}}, status) == again
