"""A namespace of a test's own in a real cluster, kubectl in it, and pods as short as tests want to write them."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from .up_down_cluster import Cluster

SAMPAN = str(Path(sys.executable).parent / "sampan")


class Space:
    """A namespace of a test's own, and kubectl in it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.name = f"node-{uuid.uuid4().hex[:6]}"
        cluster.kubectl("create", "namespace", self.name)

    def command(self, *words: str) -> list[str]:
        return [SAMPAN, "kubectl", "--name", self.cluster.name, "-n", self.name, *words]

    def run(self, *words: str, stdin: str | None = None, timeout: float = 150) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), input=stdin, capture_output=True, text=True, timeout=timeout)

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        done = self.run(*words, stdin=stdin)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def ready(self, name: str) -> None:
        self("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=60s")

    def pod(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self("get", "pod", name, "-o", "json")))


def pod(name: str, script: str, spec: dict[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    main = {"name": "main", "image": "busybox:1", "command": ["sh", "-c", script], **container}
    whole = {"terminationGracePeriodSeconds": 1, "containers": [main], **(spec or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}


def state(space: Space, name: str) -> dict[str, Any]:
    statuses = space.pod(name).get("status", {}).get("containerStatuses") or [{"state": {}}]
    return dict(statuses[0])
