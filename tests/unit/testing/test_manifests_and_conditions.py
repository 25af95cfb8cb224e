"""What a test writes, read: manifests of every form, conditions of every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.client.readiness import why_not_ready
from sampan.testing.conditions import missing
from sampan.testing.manifests import load
from sampan.testing.spec import ClusterError

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}


def test_manifests_of_every_form(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text("---\nkind: Pod\napiVersion: v1\nmetadata: {name: b}\n--- # two\n\n---\n")
    (tmp_path / "a.json").write_text(
        '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion":"v1","kind":"Pod"}]}'
    )
    (tmp_path / "README").write_text("no manifest")
    assert [obj.get("metadata") for obj in load(tmp_path)] == [None, {"name": "b"}]
    assert load(str(tmp_path / "b.yaml"))[0]["metadata"] == {"name": "b"}
    assert load([POD, "kind: Pod\napiVersion: v1", [POD]]) == [POD, {"kind": "Pod", "apiVersion": "v1"}, POD]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("missing.yaml", "missing.yaml: No such file"),
        ("kind: Pod\n", "no apiVersion and kind"),
        ("a: [", "manifests in the text"),
        ("kind: Pod\nkind: Pod\napiVersion: v1", "already set in map"),
        ({"kind": "Pod"}, "no apiVersion and kind"),
    ],
)
def test_bad_manifests_say_where_and_why(given: Any, said: str) -> None:
    with pytest.raises(ClusterError, match=said):
        load(given)


def with_status(**status: Any) -> dict[str, Any]:
    return {**POD, "status": status}


READY = {"type": "Ready", "status": "True"}
WAITS = {"type": "Ready", "status": "False", "reason": "Nope", "message": "not yet"}


@pytest.mark.parametrize(
    ("condition", "obj", "reason"),
    [
        ("exists", None, "it does not exist"),
        ("exists", POD, ""),
        ("deleted", POD, "it is still there"),
        ("deleted", None, ""),
        ("Ready", with_status(conditions=[READY]), ""),
        ("Ready", with_status(conditions=[WAITS]), "Ready=False (Nope): not yet"),
        ("Ready=False", with_status(conditions=[WAITS]), ""),
        ("Ready", POD, "it has no condition Ready"),
        ("{.status.phase}=Running", with_status(phase="Running"), ""),
        ("jsonpath={.status.phase}=Running", with_status(phase="Failed"), "{.status.phase} is Failed"),
        ("{.status.phase}", POD, "{.status.phase} is not there"),
        ("{.status.ok}=true", with_status(ok=True), ""),
        (lambda obj: obj["status"]["phase"] == "Running", with_status(phase="Running"), ""),
    ],
)
def test_conditions(condition: Any, obj: Any, reason: str) -> None:
    assert missing(condition)(obj) == reason


def test_a_function_may_look_at_what_is_not_there_yet() -> None:
    def has_an_address(obj: Any) -> bool:
        return bool(obj["status"]["podIP"])

    assert missing(has_an_address)(POD) == "has_an_address does not hold (KeyError: 'status')"


def test_no_condition() -> None:
    with pytest.raises(ValueError, match="is no condition"):
        missing("== nonsense")


def kind(api_version: str, kind: str, spec: Any = None, generation: int = 1, **status: Any) -> dict[str, Any]:
    metadata = {"name": "x", "generation": generation}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


WAITING = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
FULL = {"observedGeneration": 1, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2}


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (kind("apps/v1", "Deployment", {"replicas": 2}, **FULL), ""),
        (kind("apps/v1", "Deployment", {"replicas": 2}), "its controller has not seen it yet"),
        (kind("apps/v1", "Deployment", {"replicas": 2}, 2, **FULL), "generation 2 has not been observed yet"),
        (kind("apps/v1", "Deployment", {"replicas": 3}, **FULL), "2 of 3 replicas are updated"),
        (kind("apps/v1", "Deployment", {"replicas": 2}, **{**FULL, "replicas": 3}), "1 old replicas are still there"),
        (kind("apps/v1", "StatefulSet", {"replicas": 1}, observedGeneration=1), "0 of 1 replicas are ready"),
        (
            kind("apps/v1", "DaemonSet", observedGeneration=1, desiredNumberScheduled=2, updatedNumberScheduled=2),
            "0 of 2 pods are ready",
        ),
        (kind("batch/v1", "Job", conditions=[{"type": "Complete", "status": "True"}]), ""),
        (
            kind(
                "batch/v1", "Job", conditions=[{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
            ),
            "Failed=True (BackoffLimitExceeded)",
        ),
        (kind("v1", "Pod", phase="Succeeded"), ""),
        (
            kind("v1", "Pod", phase="Pending", containerStatuses=[WAITING]),
            "Pending: container main ImagePullBackOff: no such image",
        ),
        (kind("v1", "Service", {"type": "LoadBalancer"}), "it has no LoadBalancer address"),
        (kind("v1", "ConfigMap"), ""),
        (kind("sea.example.com/v1", "Boat", conditions=[WAITS]), "Ready=False (Nope): not yet"),
        (kind("sea.example.com/v1", "Boat", conditions=[{"type": "Stalled", "status": "True"}]), "Stalled=True"),
        (None, "it does not exist"),
    ],
)
def test_what_ready_means(obj: Any, reason: str) -> None:
    assert why_not_ready(obj) == reason
