"""Each replica of a ReplicaSet and of a ReplicationController runs its image, and answers for itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .eventually import eventually
from .space import Space, pod

SERVES = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www"


@pytest.mark.parametrize("kind", ["ReplicaSet", "ReplicationController"])
def test_each_replica_of_a_controller_answers(space: Space, kind: str) -> None:
    labels = {"app": "web"}
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    template = {"metadata": {"labels": labels}, "spec": pod("web", SERVES, readinessProbe=probe)["spec"]}
    of_apps = kind == "ReplicaSet"
    spec: dict[str, Any] = {"replicas": 2, "template": template}
    spec["selector"] = {"matchLabels": labels} if of_apps else labels
    space.apply({"apiVersion": "apps/v1" if of_apps else "v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec})
    where = f"{kind.lower()}/web"
    space("wait", where, "--for=jsonpath={.status.readyReplicas}=2", "--timeout=60s")
    found = json.loads(space("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert len(found) == 2
    asking = found[0]["metadata"]["name"]
    for one in found:
        answer = space("exec", asking, "--", "wget", "-qO-", f"http://{one['status']['podIP']}:8080/")
        assert answer.strip() == one["metadata"]["name"]
    space("scale", where, "--replicas=1")
    eventually("one is left", lambda: len(space("get", "pods", "-l", "app=web", "-o", "name").split()) == 1)
