"""Real pods that burn CPU: what kubectl top says of them, and how an autoscaler follows."""

from __future__ import annotations

import json
import time
from typing import Any

from .eventually import eventually
from .space import Space

SCRIPT = "while true; do if [ -e /tmp/stop ]; then sleep 1000; fi; done"
PATIENCE_SECONDS = 120.0


def deployment() -> dict[str, Any]:
    container = {
        "name": "burn",
        "image": "busybox:1",
        "command": ["sh", "-c", SCRIPT],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "150m"}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    template = {"metadata": {"labels": {"app": "burn"}}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "burn"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burn"}, "spec": spec}


def autoscaler() -> dict[str, Any]:
    at_once = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 10, "periodSeconds": 15}]}
    target = {"type": "Utilization", "averageUtilization": 10}  # far below what it takes even where others want the CPU
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "burn"},
        "minReplicas": 1,
        "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleUp": at_once, "scaleDown": at_once},
    }
    metadata = {"name": "burn"}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def scaled(space: Space, replicas: int) -> None:
    """Return when the autoscaler has made it so many; it is asked to look again, for its own time is 15 s."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        space("annotate", "hpa", "burn", f"tick={time.monotonic()}", "--overwrite")
        if json.loads(space("get", "deployment", "burn", "-o", "json"))["spec"]["replicas"] == replicas:
            space("rollout", "status", "deployment/burn", "--timeout=60s")
            return
        time.sleep(1)
    raise AssertionError(space("describe", "hpa", "burn"))


def used_cpu(space: Space) -> dict[str, int]:
    """Return the millicores by pod that ``kubectl top`` knows of."""
    rows = [line.split() for line in space("top", "pod", "--containers", "--no-headers").splitlines()]
    return {pod: int(cpu.removesuffix("m")) for pod, _, cpu, _ in rows}


def test_a_deployment_grows_with_its_load_and_shrinks_again(space: Space) -> None:
    space.apply(deployment())
    space("rollout", "status", "deployment/burn", "--timeout=60s")
    space.apply(autoscaler())
    scaled(space, 3)
    eventually("three are measured", lambda: len(used_cpu(space)) == 3)  # a rate needs two looks at a container
    used = used_cpu(space)
    assert max(used.values()) > 5
    why = "New size: 3; reason: cpu resource utilization (percentage of request) above target"
    eventually("why is told", lambda: why in space("get", "events", "-o", "jsonpath={.items[*].message}"))
    for pod in used:
        space("exec", pod, "--", "touch", "/tmp/stop")
    scaled(space, 1)
    shown = space("get", "hpa", "burn", "--no-headers").split()
    assert shown[1] == "Deployment/burn"
    eventually("why is told", lambda: "All metrics below target" in space("describe", "hpa", "burn"))
