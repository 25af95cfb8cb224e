"""The simulation in a running cluster: stages, nodes by the hundred, logs and exec."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import sampan
from sampan.testing.spec import ClusterError
from tests.e2e.eventually import eventually

APP = {"app": "web"}


def pod(name: str = "p", annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": APP, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "main", "image": "shop:1", "env": [{"name": "A", "value": "1"}]}], **spec},
    }


def stage(name: str, then: dict[str, Any], **spec: Any) -> dict[str, Any]:
    metadata = {"name": name}
    return {
        "apiVersion": "sim.sampan.dev/v1alpha1",
        "kind": "Stage",
        "metadata": metadata,
        "spec": {"then": then, **spec},
    }


def phase(value: str) -> list[dict[str, Any]]:
    return [{"path": ".status.phase", "operator": "In", "values": [value]}]


def test_failures_are_declared_and_taken_back() -> None:
    with sampan.Cluster() as cluster:
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        event = {"event": {"type": "Warning", "reason": "Failed", "message": "Failed to pull image"}}
        cluster.apply(stage("no-image", waiting | event, selector={"matchLabels": APP}, when=phase("Pending")))
        cluster.apply(pod())
        cluster.wait_for("pod/p", "{.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff")
        told = "Warning Failed: Failed to pull image"
        eventually("its Event is there", lambda: told in cluster.not_ready())
        cluster.kubectl("delete", "stage", "no-image")
        assert cluster.wait_for("pod/p")["status"]["podIP"]


def test_a_chain_of_stages_crashes_and_recovers() -> None:
    count = ".status.containerStatuses[0].restartCount"
    crash = {"restarts": 1, "exitCode": 137, "waiting": {"reason": "CrashLoopBackOff"}, "log": "out of luck"}
    once = [*phase("Running"), {"path": count, "operator": "Lt", "values": ["1"]}]
    back = [
        {"path": ".status.containerStatuses[0].state.waiting.reason", "operator": "In", "values": ["CrashLoopBackOff"]}
    ]
    stages = [
        stage("crash", crash, when=once, delay="50ms"),
        stage("back", {"phase": "Running"}, when=back, delay="50ms"),
    ]
    with sampan.Cluster(manifests=[]) as cluster:
        cluster.apply([*stages, pod()])
        cluster.wait_for("pod/p", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1)
        found = cluster.wait_for("pod/p")["status"]["containerStatuses"][0]
        assert found["restartCount"] == 1 and found["lastState"]["terminated"]["exitCode"] == 137
        assert cluster.logs("p").splitlines()[1:] == ["out of luck"]


def test_nodes_by_the_hundred_take_pods_and_fall_silent() -> None:
    group = {
        "apiVersion": "sim.sampan.dev/v1alpha1",
        "kind": "NodeGroup",
        "metadata": {"name": "small"},
        "spec": {
            "replicas": 100,
            "template": {
                "capacity": {"cpu": 2, "pods": "10"},
                "zones": ["a", "b"],
                "metadata": {"labels": {"size": "s"}},
            },
        },
    }
    with sampan.Cluster(nodes=0) as cluster:
        cluster.apply(group)
        cluster.wait_for("nodegroup/small", "{.status.readyReplicas}=100", timeout=120)
        node = cluster.get("node/small-1") or {}
        assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "b"
        assert node["status"]["allocatable"]["cpu"] == "2" and node["status"]["capacity"]["memory"] == "256Gi"
        template = {"metadata": {"labels": APP}, "spec": pod()["spec"]}
        spec = {"replicas": 200, "selector": {"matchLabels": APP}, "template": template}
        cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
        cluster.wait_for("deployment/web", timeout=120)
        pods = cluster.list("pods")
        assert len({p["spec"]["nodeName"] for p in pods}) > 50 and len({p["status"]["podIP"] for p in pods}) == 200
        cluster.kubectl("scale", "nodegroup/small", "--replicas=98")
        cluster.wait_for("node/small-99", "deleted")
        cluster.wait_for("nodegroup/small", "{.status.replicas}=98")
        down = {"conditions": [{"type": "Ready", "status": "False", "reason": "PowerCut", "message": "dark"}]}
        resource = {"apiVersion": "v1", "kind": "Node"}
        name = {"matchLabels": {"kubernetes.io/hostname": "small-3"}}
        cluster.apply(stage("dark", down, resource=resource, selector=name))
        cluster.wait_for("node/small-3", "Ready=False")
        cluster.wait_for("node/small-3", lambda n: any("not-ready" in t["key"] for t in n["spec"].get("taints") or ()))
        cluster.kubectl("delete", "stage", "dark")
        cluster.wait_for("node/small-3", lambda n: not n["spec"].get("taints"))


def test_a_node_that_somebody_creates_is_taken_care_of() -> None:
    metadata = {"name": "bare", "annotations": {"sim.sampan.dev/simulated": "true"}}
    with sampan.Cluster(nodes=0) as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        node = cluster.wait_for("node/bare")
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.37.0-simulated"
        cluster.wait_for("lease/bare", "exists", namespace="kube-node-lease")
        cluster.apply(pod(nodeName="bare", hostNetwork=True))
        assert cluster.wait_for("pod/p")["status"]["podIP"] == node["status"]["addresses"][0]["address"]


CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "buckets.cloud.example.com"},
    "spec": {
        "group": "cloud.example.com",
        "scope": "Namespaced",
        "names": {"plural": "buckets", "kind": "Bucket", "singular": "bucket"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.mark.parametrize("subresources", [{}, {"status": {}}])
def test_other_kinds_have_stages_too(subresources: dict[str, Any]) -> None:
    made = {"status": {"url": "s3://b"}, "conditions": [{"type": "Ready", "status": "True"}]}
    version = {**CRD["spec"]["versions"][0], "subresources": subresources}  # type: ignore[index]
    crd = {**CRD, "spec": {**CRD["spec"], "versions": [version]}}  # type: ignore[dict-item]
    bucket = {"apiVersion": "cloud.example.com/v1", "kind": "Bucket", "metadata": {"name": "b"}}
    resource = {"apiVersion": "cloud.example.com/v1", "kind": "Bucket"}
    with sampan.Cluster() as cluster:
        cluster.apply(stage("bucket-is-made", made, resource=resource, delay="20ms"))
        cluster.apply([crd, bucket])  # after the stage: the kind is looked for again
        assert cluster.wait_for(bucket, "Ready")["status"]["url"] == "s3://b"


def test_logs_and_exec_are_answered() -> None:
    answers = json.dumps({"cat /etc/ready": {"stdout": "yes\n"}, "fail": {"stderr": "no\n", "exitCode": 3}})
    with sampan.Cluster() as cluster:
        cluster.apply(pod(annotations={"sim.sampan.dev/exec": answers}))
        cluster.wait_for("pod/p")
        kubectl = cluster.kubectl
        assert kubectl("logs", "p").out == "simulated container main of shop:1\n"
        stamped = kubectl("logs", "p", "--timestamps", "--tail=1").out
        assert stamped.split(" ", 1)[1].startswith("simulated")
        assert datetime.fromisoformat(stamped.split(" ", 1)[0])
        assert kubectl("logs", "p", "--limit-bytes=1").out == "s"
        assert kubectl("logs", "p", "--tail=0").out == ""
        assert kubectl("logs", "p", "--since=24h").out == "simulated container main of shop:1\n"
        assert kubectl("exec", "p", "--", "cat", "/etc/ready").out == "yes\n"
        failed = kubectl("exec", "p", "--", "fail", check=False)
        assert (failed.code, failed.err.splitlines()[0]) == (3, "no")
        assert kubectl("exec", "p", "--", "sh", "-c", "printenv A && hostname").out == "1\np\n"
        assert kubectl("exec", "-i", "p", "--", "cat", stdin="through").out == "through"
        missing = kubectl("exec", "p", "--", "python3", check=False)
        assert missing.code == 127 and "not found" in missing.err
        with pytest.raises(ClusterError, match="a simulated pod has no network"):
            kubectl("port-forward", "p", "0:80", timeout=60)


def test_logs_are_followed() -> None:
    with sampan.Cluster() as cluster:
        cluster.apply(pod())
        cluster.wait_for("pod/p")
        command = [str(Path(sys.executable).parent / "kubectl"), "logs", "-f", "p"]
        following = subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE, text=True)
        assert following.stdout is not None and following.stdout.readline().startswith("simulated")
        cluster.apply(stage("talks", {"log": "hello"}, when=phase("Running")))
        assert following.stdout.readline() == "hello\n"
        cluster.kubectl("delete", "pod", "p")
        assert following.wait(60) == 0
