"""Nodes that fall silent, nodes that are not there, the simulated node itself."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import EVENTS, LEASES, NODES, PODS
from sampan.controllers import node_lifecycle, pod_garbage
from sampan.controllers.node_conditions import silenced
from sampan.schema.objects import Object

UNREACHABLE = "node.kubernetes.io/unreachable"


def ready(obj: Object) -> str:
    conditions = obj.get("status", {}).get("conditions") or ()
    return str(next((c["status"] for c in conditions if c["type"] == "Ready"), ""))


def lost_node() -> Object:
    sizes = {"cpu": "4", "memory": "1Gi", "pods": "9"}
    condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "", "lastTransitionTime": None}
    status = {"capacity": sizes, "allocatable": sizes, "conditions": [condition]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "lost"}, "spec": {}, "status": status}


def pod_on(node: str, name: str, **spec: Any) -> Object:
    container = {"name": "c", "image": "i"}
    metadata = {"name": name, "namespace": "default"}
    body = {"nodeName": node, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


async def test_a_silent_node_is_unknown_tainted_and_its_pods_leave(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_lifecycle, "GRACE_SECONDS", 1.0)
    made = await cluster.client.create(NODES, lost_node())
    await cluster.client.update(NODES, {**made, "status": lost_node()["status"]}, subresource="status")
    await cluster.until(NODES, "lost", lambda n: ready(n) == "True", None)
    at_once = {"key": UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
    for_ever = {"operator": "Exists"}
    await cluster.client.create(PODS, pod_on("lost", "leaves", tolerations=[at_once]))
    stays = await cluster.client.create(PODS, pod_on("lost", "stays", tolerations=[for_ever]))
    condition = {"type": "Ready", "status": "True"}
    await cluster.client.update(PODS, {**stays, "status": {"phase": "Running", "conditions": [condition]}},
                                subresource="status")  # fmt: skip
    unknown = await cluster.until(NODES, "lost", lambda n: ready(n) == "Unknown" and n["spec"].get("taints"), None)
    assert {taint["key"] for taint in unknown["spec"]["taints"]} == {UNREACHABLE}
    await cluster.until(PODS, "leaves", lambda pod: "deletionTimestamp" in pod["metadata"])
    kept = await cluster.until(PODS, "stays", lambda pod: ready(pod) == "False")
    assert "deletionTimestamp" not in kept["metadata"]
    await cluster.event("TaintManagerEviction")
    await cluster.client.delete(NODES, "lost")
    for reason, message in (
        ("RegisteredNode", "Node lost event: Registered Node lost in Controller"),
        ("NodeNotReady", "Node lost status is now: NodeNotReady"),
        ("RemovingNode", "Node lost event: Removing Node lost from Controller"),
    ):
        await cluster.until_all(EVENTS, lambda all, what=(reason, message): what in told(all))


def told(events: list[Object]) -> list[tuple[str, str]]:
    return [(event["reason"], event["message"]) for event in events]


def test_what_a_silent_node_said_last_stays() -> None:
    beat = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "then"}
    node = {"metadata": {"creationTimestamp": "made"}, "status": {"conditions": [beat]}}
    ready, memory = silenced(node, "now")[:2]
    assert (ready["reason"], ready["lastHeartbeatTime"], ready["lastTransitionTime"]) == (
        "NodeStatusUnknown",
        "then",
        "now",
    )
    assert (memory["reason"], memory["lastHeartbeatTime"]) == ("NodeStatusNeverUpdated", "made")


async def test_pods_of_a_node_that_never_comes_are_deleted_after_a_while(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_garbage, "QUARANTINE_SECONDS", 0.3)
    await cluster.client.create(PODS, pod_on("nowhere", "stray"))
    await cluster.until(PODS, "stray", lambda pod: "deletionTimestamp" not in pod["metadata"])
    await cluster.gone(PODS, "stray")


async def test_the_simulated_node_registers_beats_and_walks_pods(cluster: Any) -> None:
    node = await cluster.until(NODES, "sim", lambda n: ready(n) == "True", None)
    assert node["status"]["allocatable"]["pods"] == "5k"
    lease = await cluster.until(LEASES, "sim", lambda _: True, "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "sim"
    slow = pod_on("sim", "slow", restartPolicy="Never")
    slow["metadata"]["annotations"] = {"sim.sampan.dev/start-seconds": "0.1", "sim.sampan.dev/run-seconds": "0.1",
                                       "sim.sampan.dev/exit-code": "7"}  # fmt: skip
    await cluster.client.create(PODS, slow)
    await cluster.until(PODS, "slow", lambda pod: pod["status"]["phase"] == "Running")
    failed = await cluster.until(PODS, "slow", lambda pod: pod["status"]["phase"] == "Failed")
    assert failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
    await cluster.client.delete(PODS, "slow", "default")
    await cluster.gone(PODS, "slow")
