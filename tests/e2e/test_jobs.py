"""Jobs in real containers: local restarts, indexes as pods see them, what exit codes decide, and pods that are deleted."""

from __future__ import annotations

import json
from typing import Any

from .eventually import eventually
from .space import Space


def job(name: str, script: str, restart: str = "Never", **spec: Any) -> dict[str, Any]:
    container = {
        "name": "c",
        "image": "busybox:1",
        "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
    }
    pod = {
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "kept", "emptyDir": {}}],
    }
    metadata = {"name": name}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {**spec, "template": {"spec": pod}}}


def status(space: Space, name: str) -> dict[str, Any]:
    return dict(json.loads(space("get", "job", name, "-o", "json"))["status"])


def test_tasks_that_fail_once_are_restarted_where_they_are(space: Space) -> None:
    once = "[ -e /kept/tried ] || { touch /kept/tried; exit 1; }"
    space.apply(job("again", once, "OnFailure", completions=2, parallelism=2))
    space("wait", "job/again", "--for=condition=Complete", "--timeout=60s")
    assert status(space, "again")["succeeded"] == 2
    pods = json.loads(space("get", "pods", "-l", "job-name=again", "-o", "json"))["items"]
    assert [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods] == [1, 1]


def test_indexes_are_known_inside_and_exit_codes_decide(space: Space) -> None:
    script = "echo index $JOB_COMPLETION_INDEX on $(hostname); [ $JOB_COMPLETION_INDEX != 1 ] || exit 7"
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [7]}}]
    indexed = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 3}
    space.apply(job("each", script, **indexed, podFailurePolicy={"rules": rules}))
    space("wait", "job/each", "--for=condition=Failed", "--timeout=60s")
    found = status(space, "each")
    assert (found["completedIndexes"], found["failedIndexes"], found["failed"]) == ("0,2", "1", 1)
    logs = space("logs", "-l", "job-name=each").splitlines()
    assert sorted(logs) == [f"index {number} on each-{number}" for number in range(3)]


def test_a_pod_that_is_deleted_is_counted_when_it_has_ended(space: Space) -> None:
    space.apply(job("patient", "sleep 600", podReplacementPolicy="Failed", backoffLimit=0))
    space("wait", "job/patient", "--for=jsonpath={.status.ready}=1", "--timeout=60s")
    space("delete", "pod", "-l", "job-name=patient", "--wait=false")
    space("wait", "job/patient", "--for=condition=Failed", "--timeout=60s")
    found = status(space, "patient")
    assert (found["failed"], found["conditions"][-1]["reason"]) == (1, "BackoffLimitExceeded")
    eventually("it is gone", lambda: space("get", "pods", "-l", "job-name=patient", "--no-headers") == "")
