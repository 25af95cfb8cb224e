"""Kubernetes' conformance behaviours of scheduling and of endpoints, on a whole cluster with a simulated node.

Source: conformance.yaml, [sig-scheduling] SchedulerPredicates and SchedulerPreemption, [sig-network] HostPort and Services.
"""

from __future__ import annotations

from typing import Any

from sampan.client.protocol import ResourceType
from sampan.client.resources import ENDPOINTS, NODES, PODS, REPLICA_SETS, SERVICES
from sampan.schema.objects import Object

CLASSES = ResourceType("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)
RARE = "example.com/fakecpu"


def pod(name: str, labels: dict[str, str] | None = None, ports: list[Object] | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "ports": ports or [], **spec.pop("container", {})}
    metadata = {"name": name, "namespace": "default", "labels": labels or {}}
    body = {"containers": [container], "terminationGracePeriodSeconds": 0, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": body}


def refusal(obj: Object) -> str:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next(
        (c.get("message", "") for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), ""
    )


async def with_rare(cluster: Any, amount: str) -> None:
    """Give the simulated node some of a resource that nothing else uses."""
    await cluster.until(NODES, "sim", lambda n: (n.get("status") or {}).get("allocatable"), None)
    sizes = {"capacity": {RARE: amount}, "allocatable": {RARE: amount}}
    await cluster.client.patch(NODES, "sim", {"status": sizes}, subresource="status")


def rare(amount: str) -> Object:
    return {"resources": {"requests": {RARE: amount}, "limits": {RARE: amount}}}


async def test_host_ports_conflict_by_address_and_protocol(cluster: Any) -> None:
    for name, port in (
        ("first", {"hostIP": "127.0.0.1", "protocol": "TCP"}),
        ("address", {"hostIP": "127.0.0.2", "protocol": "TCP"}),
        ("protocol", {"hostIP": "127.0.0.2", "protocol": "UDP"}),
    ):
        await cluster.client.create(PODS, pod(name, ports=[{"containerPort": 80, "hostPort": 54321, **port}]))
        await cluster.until(PODS, name, lambda p: p["spec"].get("nodeName"))
    await cluster.client.create(PODS, pod("all", ports=[{"containerPort": 80, "hostPort": 54321}]))
    refused = await cluster.until(PODS, "all", refusal)
    assert refusal(refused).startswith(
        "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
    )
    for name in ("first", "address"):
        await cluster.client.delete(PODS, name, "default")
    await cluster.until(PODS, "all", lambda p: p["spec"].get("nodeName"))


async def test_node_selectors_are_respected_and_a_label_is_enough(cluster: Any) -> None:
    await cluster.client.create(PODS, pod("picky", nodeSelector={"example.com/kind": "42"}))
    await cluster.until(PODS, "picky", lambda p: "didn't match Pod's node affinity/selector" in refusal(p))
    await cluster.client.patch(NODES, "sim", {"metadata": {"labels": {"example.com/kind": "42"}}})
    await cluster.until(PODS, "picky", lambda p: p["spec"].get("nodeName") == "sim")


async def test_resource_limits_of_pods_and_overhead_are_respected(cluster: Any) -> None:
    await with_rare(cluster, "10")
    await cluster.client.create(PODS, pod("fits", container=rare("7")))
    await cluster.until(PODS, "fits", lambda p: p["spec"].get("nodeName"))
    await cluster.client.create(PODS, pod("not", container=rare("4")))
    assert f"1 Insufficient {RARE}" in refusal(await cluster.until(PODS, "not", refusal))


async def test_replica_sets_preempt_one_another_by_priority(cluster: Any) -> None:
    await with_rare(cluster, "1000")
    for number in range(1, 5):
        made = {"metadata": {"name": f"p{number}"}, "value": number}
        await cluster.client.create(CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **made})
    for name, importance, replicas, each in (("rs1", "p1", 1, "450"), ("rs2", "p2", 1, "350"), ("rs3", "p3", 1, "200")):
        await replica_set(cluster, name, importance, replicas, each)
        await running(cluster, name, replicas)
    # 800 more can only come from the two that matter least
    await replica_set(cluster, "rs4", "p4", 1, "800")
    await running(cluster, "rs4", 1)
    await running(cluster, "rs3", 1)
    for name in ("rs1", "rs2"):
        found = await cluster.until_all(PODS, lambda pods, name=name: any(refusal(p) for p in pods if of(p) == name))
        assert not any(
            p["spec"].get("nodeName") and "deletionTimestamp" not in p["metadata"] for p in found if of(p) == name
        )
    await cluster.event("Preempted")


def of(obj: Object) -> str:
    return str((obj["metadata"].get("labels") or {}).get("name", ""))


async def replica_set(cluster: Any, name: str, importance: str, replicas: int, each: str) -> None:
    labels = {"name": name}
    spec = {**pod("x", container=rare(each))["spec"], "priorityClassName": importance}
    body = {"replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec}}  # fmt: skip
    made = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": body,
    }
    await cluster.client.create(REPLICA_SETS, made)


async def running(cluster: Any, name: str, replicas: int) -> None:
    await cluster.until(REPLICA_SETS, name, lambda r: (r.get("status") or {}).get("readyReplicas") == replicas)


async def test_critical_pods_preempt(cluster: Any) -> None:
    await with_rare(cluster, "5")
    made = {"metadata": {"name": "low"}, "value": 1}
    await cluster.client.create(CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **made})
    await cluster.client.create(PODS, pod("low", container=rare("5"), priorityClassName="low"))
    await cluster.until(PODS, "low", lambda p: p["spec"].get("nodeName"))
    critical = pod("critical", container=rare("5"), priorityClassName="system-cluster-critical")
    await cluster.client.create(PODS, critical)
    await cluster.until(PODS, "critical", lambda p: p["spec"].get("nodeName"))
    await cluster.gone(PODS, "low")


async def test_a_preempted_pod_is_told_and_kept_by_its_finalizer(cluster: Any) -> None:
    await with_rare(cluster, "5")
    made = {"metadata": {"name": "high"}, "value": 100}
    await cluster.client.create(CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **made})
    low = pod("low", container=rare("5"))
    low["metadata"]["finalizers"] = ["example.com/test"]
    await cluster.client.create(PODS, low)
    await cluster.until(PODS, "low", lambda p: p["spec"].get("nodeName"))
    await cluster.client.create(PODS, pod("high", container=rare("5"), priorityClassName="high"))
    victim = await cluster.until(PODS, "low", lambda p: "deletionTimestamp" in p["metadata"])
    (told,) = (one for one in victim["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
    await cluster.until(PODS, "high", lambda p: p["spec"].get("nodeName"))
    await cluster.client.patch(PODS, "low", {"metadata": {"finalizers": None}}, "default")
    await cluster.gone(PODS, "low")


def port_of(endpoints: Object) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for subset in endpoints.get("subsets") or ():
        for address in subset.get("addresses") or ():
            found.setdefault(address["targetRef"]["name"], []).extend(p["port"] for p in subset.get("ports") or ())
    return {name: sorted(ports) for name, ports in found.items()}


async def test_multiport_endpoints_follow_what_pods_name(cluster: Any) -> None:
    ports = [{"name": "one", "port": 80, "targetPort": "svc1"}, {"name": "two", "port": 81, "targetPort": "svc2"}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "multi", "namespace": "default"},
               "spec": {"selector": {"app": "multi"}, "ports": ports}}  # fmt: skip
    await cluster.client.create(SERVICES, service)
    await cluster.until(ENDPOINTS, "multi", lambda e: port_of(e) == {})
    await cluster.client.create(PODS, pod("pod1", {"app": "multi"}, [{"name": "svc1", "containerPort": 100}]))
    await cluster.until(ENDPOINTS, "multi", lambda e: port_of(e) == {"pod1": [100]})
    await cluster.client.create(PODS, pod("pod2", {"app": "multi"}, [{"name": "svc2", "containerPort": 101}]))
    await cluster.until(ENDPOINTS, "multi", lambda e: port_of(e) == {"pod1": [100], "pod2": [101]})
    await cluster.client.delete(PODS, "pod1", "default")
    await cluster.until(ENDPOINTS, "multi", lambda e: port_of(e) == {"pod2": [101]})
    await cluster.client.delete(PODS, "pod2", "default")
    await cluster.until(ENDPOINTS, "multi", lambda e: port_of(e) == {})
