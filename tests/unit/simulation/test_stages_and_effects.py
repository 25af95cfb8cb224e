"""What comes next for an object, and what it is then: pure."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.simulation.effects import resized, status_after, with_conditions
from sampan.simulation.stages import StageError, compiled, share
from sampan.simulation.steps import next_step

NOW = "2026-11-30T00:00:00Z"


def pod(phase: str = "Pending", uid: str = "u1", **metadata: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "shop:1"}], "nodeName": "node-1"}
    labels = {"app": "web"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default", "uid": uid, "labels": labels, **metadata},
        "spec": spec,
        "status": {"phase": phase},
    }


def stage(name: str = "s", **spec: Any) -> Any:
    return compiled({"metadata": {"name": name}, "spec": {"then": {"phase": "Running"}, **spec}})


def annotated(phase: str, **annotations: str) -> dict[str, Any]:
    return pod(
        phase, annotations={f"sim.sampan.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    )


@pytest.mark.parametrize(
    ("obj", "name", "delay", "then"),
    [
        (pod(), "/start", 0, {"phase": "Running"}),
        (annotated("Pending", start_seconds="2.5"), "/start", 2.5, {"phase": "Running"}),
        (annotated("Pending", start_seconds="soon"), "/start", 0, {"phase": "Running"}),
        (pod("Running"), None, 0, None),
        (pod("Running", deletionTimestamp=NOW), "/delete", 0, {"delete": True}),
        (pod("Failed", deletionTimestamp=NOW, deletionGracePeriodSeconds=0), None, 0, None),
    ],
)
def test_what_a_node_does_by_itself(obj: Any, name: str | None, delay: float, then: Any) -> None:
    step = next_step(obj, [])
    assert (step and step.name, step.delay_seconds if step else 0, step and step.then) == (name, delay, then)


def test_pods_that_end() -> None:
    job = annotated("Running", run_seconds="1", exit_code="3")
    job["spec"]["restartPolicy"] = "Never"
    step = next_step(job, [])
    assert step and (step.delay_seconds, step.then) == (1, {"phase": "Failed", "exitCode": 3})


@pytest.mark.parametrize(
    ("spec", "matches"),
    [
        ({}, True),
        ({"selector": {"matchLabels": {"app": "web"}}}, True),
        ({"selector": {"matchLabels": {"app": "other"}}}, False),
        ({"namespaces": ["default"]}, True),
        ({"namespaces": ["kube-system"]}, False),
        ({"when": [{"path": ".status.phase", "operator": "In", "values": ["Pending"]}]}, True),
        ({"when": [{"path": ".status.phase", "operator": "NotIn", "values": ["Pending"]}]}, False),
        ({"when": [{"path": ".status.podIP", "operator": "Exists"}]}, False),
        ({"when": [{"path": ".status.podIP", "operator": "DoesNotExist"}]}, True),
        ({"when": [{"path": ".spec.containers[0].name", "operator": "In", "values": ["main"]}]}, True),
        ({"percent": 100}, True),
    ],
)
def test_which_objects_a_stage_is_about(spec: Any, matches: bool) -> None:
    assert stage(**spec).matches(pod()) is matches


def test_numbers_are_compared() -> None:
    obj = pod("Running")
    obj["status"]["containerStatuses"] = [{"name": "main", "restartCount": 2}]
    path = ".status.containerStatuses[*].restartCount"
    assert stage(when=[{"path": path, "operator": "Lt", "values": ["3"]}]).matches(obj)
    assert not stage(when=[{"path": path, "operator": "Gt", "values": ["2"]}]).matches(obj)


def test_a_share_of_the_objects_is_always_the_same() -> None:
    some = stage(percent=30)
    chosen = [uid for uid in map(str, range(2000)) if some.matches(pod(uid=uid))]
    assert 500 < len(chosen) < 700 and chosen == [u for u in map(str, range(2000)) if some.matches(pod(uid=u))]
    assert 0 <= share(pod(), "x") < 1
    delays = {stage(delay="1s", jitter="500ms").delay(pod(uid=str(n))) for n in range(50)}
    assert min(delays) >= 1 and max(delays) < 1.5 and len(delays) > 40


def test_priority_then_name_decides() -> None:
    stages = [stage("b"), stage("a"), stage("z", priority=1)]
    step = next_step(pod(), stages)
    assert step and step.name == "z"
    step = next_step(pod(), stages[:2])
    assert step and step.name == "a"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"delay": "soon"}, "invalid duration"),
        ({"when": [{"path": ".a[", "operator": "Exists"}]}, "stage s: "),
        ({"when": [{"path": ".a", "operator": "Gt", "values": []}]}, "takes one value"),
        ({"when": [{"path": ".a", "operator": "Exists", "values": ["x"]}]}, "takes no values"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, "stage s: "),
    ],
)
def test_a_stage_that_cannot_be_understood_says_why(spec: Any, said: str) -> None:
    with pytest.raises(StageError, match=said):
        stage(**spec)


def after(obj: Any, then: Any) -> Any:
    return status_after(obj, then, ip="10.244.0.1", host_ip="100.64.0.1", now=NOW)


def test_a_pod_that_starts_is_ready_and_has_an_address() -> None:
    status = after(pod(), {"phase": "Running"})
    assert (status["phase"], status["podIP"], status["hostIP"]) == ("Running", "10.244.0.1", "100.64.0.1")
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }
    [container] = status["containerStatuses"]
    assert (
        container["ready"] and container["state"] == {"running": {"startedAt": NOW}} and not container["restartCount"]
    )


def test_a_pod_that_waits_has_a_reason() -> None:
    status = after(pod(), {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    assert status["phase"] == "Pending"
    [container] = status["containerStatuses"]
    assert container["state"] == {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    ready = next(c for c in status["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")


def test_a_restart_is_counted_and_remembered() -> None:
    running = {**pod("Running"), "status": after(pod(), {"phase": "Running"})}
    status = after(running, {"restarts": 1, "exitCode": 137, "waiting": {"reason": "CrashLoopBackOff"}})
    [container] = status["containerStatuses"]
    assert (container["restartCount"], container["state"]) == (1, {"waiting": {"reason": "CrashLoopBackOff"}})
    assert container["lastState"]["terminated"]["exitCode"] == 137 and status["phase"] == "Running"
    again = after({**running, "status": status}, {"phase": "Running"})
    assert again["containerStatuses"][0]["restartCount"] == 1 and again["containerStatuses"][0]["ready"]


def test_a_pod_that_is_running_but_not_ready() -> None:
    status = after(pod(), {"phase": "Running", "ready": False})
    assert status["containerStatuses"][0]["started"] and not status["containerStatuses"][0]["ready"]


def test_any_status_is_merged() -> None:
    boat = {"kind": "Boat", "metadata": {"name": "b"}, "status": {"sails": 1, "old": True}}
    then = {
        "status": {"sails": 2, "old": None},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Afloat"}],
    }
    assert after(boat, then) == {
        "sails": 2,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Afloat", "lastTransitionTime": NOW}],
    }


def test_a_condition_that_is_so_already_does_not_change() -> None:
    have = [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]
    assert with_conditions(have, [{"type": "Ready", "status": "True"}], NOW) == have
    told = with_conditions(have, [{"type": "Ready", "status": "True", "reason": "New"}], NOW)
    assert told[0]["lastTransitionTime"] == "2020-01-01T00:00:00Z"


def test_a_resized_pod_is_given_what_it_asks_for() -> None:
    made = pod()
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
    made["status"] = status_after(made, {"phase": "Running"}, ip="10.0.0.1", host_ip="10.0.0.2", now=NOW)
    assert made["status"]["containerStatuses"][0]["allocatedResources"] == {"cpu": "1"}
    assert resized(made) is None
    made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    statuses = resized(made)
    assert statuses is not None and statuses[0]["resources"] == {"requests": {"cpu": "2"}}
