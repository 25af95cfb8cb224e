"""Pods that nobody would ever end, and zones in which nothing is evicted."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import NODES, PODS
from sampan.controllers import pod_garbage
from sampan.controllers.cluster_role_aggregation import CLUSTER_ROLES, aggregated_rules
from sampan.controllers.node_conditions import wanted_taints
from sampan.controllers.node_zones import FULL, NORMAL, PARTIAL, RATE, SECONDARY_RATE, Pace, Zones, state_of
from sampan.schema.objects import Object


def node(name: str, ready: str = "True", zone: str = "", **spec: Any) -> Object:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": status,
    }


def pod(name: str, on: str = "", **spec: Any) -> Object:
    body = {"containers": [{"name": "c", "image": "i"}], **spec, **({"nodeName": on} if on else {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": body}


@pytest.mark.parametrize(
    ("ready", "not_ready", "state"),
    [(3, 0, NORMAL), (0, 3, FULL), (1, 2, NORMAL), (2, 3, PARTIAL), (4, 3, NORMAL), (0, 0, NORMAL), (0, 1, FULL)],
)
def test_the_state_of_a_zone(ready: int, not_ready: int, state: str) -> None:
    assert state_of(ready, not_ready) == state


def test_zones_are_counted_node_by_node() -> None:
    zones = Zones()
    for number in range(3):
        zones.observe(node(f"a{number}", zone="a"))
        zones.observe(node(f"b{number}", zone="b"))
    assert zones.rate(":a") == RATE and not zones.all_disrupted
    assert not zones.observe(node("a0", "False", zone="a")), "one lost node changes nothing for the others"
    zones.observe(node("a1", "Unknown", zone="a"))
    assert zones.observe(node("a2", "Unknown", zone="a")) is False and zones.rate(":a") == RATE
    for number in range(3):
        zones.observe(node(f"b{number}", "False", zone="b"))
    assert zones.all_disrupted
    assert zones.forget("b0") is False
    assert zones.observe(node("new", zone="c")) and not zones.all_disrupted


def test_a_large_unhealthy_zone_goes_slowly_and_a_small_one_stops() -> None:
    small, large = Zones(), Zones()
    for number in range(5):
        small.observe(node(f"n{number}", "True" if number < 2 else "False"))
    for number in range(60):
        large.observe(node(f"n{number}", "True" if number < 10 else "False"))
    assert (small.rate(":"), large.rate(":")) == (0.0, SECONDARY_RATE)


def test_one_node_after_the_other() -> None:
    pace = Pace()
    assert pace.wait("z", 0.1, 100.0) == 0
    assert pace.wait("z", 0.1, 101.0) == 9.0
    assert pace.wait("other", 0.1, 101.0) == 0
    assert pace.wait("z", 0.1, 110.0) == 0
    assert pace.wait("z", 0.0, 200.0) is None


def test_conditions_taint_a_node() -> None:
    pressed = node("n")
    pressed["status"]["conditions"] += [
        {"type": "MemoryPressure", "status": "True"}, {"type": "DiskPressure", "status": "False"},
        {"type": "NetworkUnavailable", "status": "True"},
    ]  # fmt: skip
    assert [(t["key"], t["effect"]) for t in wanted_taints(pressed, "now")] == [
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/network-unavailable", "NoSchedule"),
    ]
    keys = [t["effect"] for t in wanted_taints(node("n", "False"), "now", evicts=False)]
    assert keys == ["NoSchedule"]


async def test_a_taint_evicts_and_the_pod_says_so(cluster: Any) -> None:
    await cluster.until(NODES, "sim", lambda n: (n.get("status") or {}).get("conditions"), None)
    taint = {"key": "example.org/down", "effect": "NoExecute"}
    for_ever = {"operator": "Exists", "effect": "NoSchedule"}
    await cluster.client.create(PODS, pod("there", on="sim", tolerations=[for_ever]))
    await cluster.client.create(PODS, pod("guest", on="sim", tolerations=[{"operator": "Exists"}]))
    made = await cluster.client.get(NODES, "sim")
    await cluster.client.patch(NODES, "sim", {"spec": {"taints": [*(made["spec"].get("taints") or ()), taint]}})
    leaves = await cluster.until(PODS, "there", lambda p: "deletionTimestamp" in p["metadata"])
    told = next(one for one in leaves["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert (told["reason"], told["status"]) == ("DeletionByTaintManager", "True")
    assert told["message"] == "Taint manager: deleting due to NoExecute taint"
    assert "deletionTimestamp" not in (await cluster.client.get(PODS, "guest", "default"))["metadata"]


async def test_a_pod_of_a_lost_node_says_what_became_of_it(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_garbage, "QUARANTINE_SECONDS", 0.05)
    body = pod("stray", on="nowhere")
    body["metadata"]["finalizers"] = ["example.org/look"]
    await cluster.client.create(PODS, body)
    gone = await cluster.until(PODS, "stray", lambda p: "deletionTimestamp" in p["metadata"])
    told = next(one for one in gone["status"]["conditions"] if one["type"] == "DisruptionTarget")
    assert (gone["status"]["phase"], told["reason"]) == ("Failed", "DeletionByPodGC")
    assert told["message"] == "PodGC: node no longer exists"


async def test_terminating_pods_of_a_node_out_of_service_are_ended(cluster: Any) -> None:
    taint = {"key": pod_garbage.OUT_OF_SERVICE, "effect": "NoExecute", "value": "nodeshutdown"}
    made = await cluster.client.create(NODES, node("down", "False", taints=[taint]))
    await cluster.client.update(NODES, {**made, "status": node("down", "False")["status"]}, subresource="status")
    await cluster.client.create(PODS, pod("held", on="down"))
    await cluster.gone(PODS, "held")


async def test_finished_pods_past_a_number_go(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_garbage, "TERMINATED_THRESHOLD", 2)
    for name in ("one", "two", "three"):
        made = await cluster.client.create(PODS, pod(name, schedulerName="nobody"))
        await cluster.client.update(PODS, {**made, "status": {"phase": "Succeeded"}}, subresource="status")
    await cluster.until_all(PODS, lambda found: len(found) == 2)


def test_which_finished_pods_go_first() -> None:
    def finished(name: str, second: int, reason: str = "") -> Object:
        metadata = {"name": name, "namespace": "ns", "creationTimestamp": f"2026-01-01T00:00:0{second}Z"}
        return {"metadata": metadata, "spec": {}, "status": {"phase": "Failed", "reason": reason}}

    pods = [finished("old", 1), finished("young", 9), finished("evicted", 5, "Evicted")]
    names = [one["metadata"]["name"] for one in pod_garbage.surplus(pods, 1)]
    assert names == ["evicted", "old"]
    assert pod_garbage.surplus(pods, 3) == [] == pod_garbage.surplus(pods, 0)


def role(name: str, verbs: list[str], selects: dict[str, str] | None = None, **labels: str) -> Object:
    made: Object = {"apiVersion": CLUSTER_ROLES.api_version, "kind": "ClusterRole"}
    made["metadata"] = {"name": name, "labels": labels}
    made["rules"] = [{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}] if verbs else []
    if selects is not None:
        made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": selects}]}
    return made


def test_rules_are_gathered_once_and_in_order() -> None:
    roles = [role("all", [], {"a": "y"}, a="y"), role("z", ["get"], a="y"), role("b", ["list"], a="y"),
             role("c", ["get"], a="y"), role("other", ["watch"])]  # fmt: skip
    assert [rule["verbs"] for rule in aggregated_rules(roles[0], roles)] == [["list"], ["get"]]


async def test_an_aggregated_role_shows_its_rules(cluster: Any) -> None:
    view = await cluster.until(CLUSTER_ROLES, "view", lambda r: r.get("rules"), None)
    assert any("pods" in rule["resources"] for rule in view["rules"])
    await cluster.client.create(CLUSTER_ROLES, role("all", [], {"collect": "yes"}))
    await cluster.client.create(CLUSTER_ROLES, role("part", ["get"], collect="yes"))
    await cluster.until(CLUSTER_ROLES, "all", lambda r: [rule["verbs"] for rule in r["rules"]] == [["get"]], None)
    await cluster.client.delete(CLUSTER_ROLES, "part")
    await cluster.until(CLUSTER_ROLES, "all", lambda r: not r.get("rules"), None)
