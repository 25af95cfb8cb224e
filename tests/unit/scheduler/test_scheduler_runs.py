"""The scheduler on the real in-process API: bindings, refusals, second chances."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.resources import EVENTS, PODS, SERVICES
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import Setting


def node(name: str, cpu: str = "4") -> Object:
    sizes = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    status = {"capacity": sizes, "allocatable": sizes, "conditions": [{"type": "Ready", "status": "True"}]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def pod(name: str, cpu: str = "1", **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}


def scheduled(found: Object) -> Object:
    conditions = found.get("status", {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == "PodScheduled"), {"status": "", "message": ""})


async def test_a_pod_is_bound_and_told(setting: Setting) -> None:
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    bound = await setting.until("web", lambda p: p["spec"].get("nodeName"))
    assert bound["spec"]["nodeName"] == "one"
    assert scheduled(bound)["status"] == "True"
    async with asyncio.timeout(60):
        async for event in setting.client.watch(EVENTS, "default", resource_version="0"):
            assert event.object["message"] == "Successfully assigned default/web to one"
            break


async def test_a_refused_pod_gets_its_reason_and_a_second_chance(setting: Setting) -> None:
    await setting.client.create(PODS, pod("web", cpu="3"))
    waiting = await setting.until("web", lambda p: scheduled(p)["status"] == "False")
    assert scheduled(waiting)["message"] == "no nodes available to schedule pods"
    await setting.add_node(node("small", cpu="1"))
    short = (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
        "1 Preemption is not helpful for scheduling."
    )
    waiting = await setting.until("web", lambda p: scheduled(p)["message"] == short)
    assert scheduled(waiting)["reason"] == "Unschedulable"
    await setting.add_node(node("large", cpu="8"))
    bound = await setting.until("web", lambda p: p["spec"].get("nodeName"))
    assert bound["spec"]["nodeName"] == "large"


async def test_nothing_is_promised_twice_and_a_deleted_pod_makes_room(setting: Setting) -> None:
    await setting.add_node(node("one", cpu="4"))
    await asyncio.gather(*(setting.client.create(PODS, pod(f"p{n}")) for n in range(6)))
    async with asyncio.timeout(60):
        seen = asyncio.Event()
        setting.pods.add_handler(lambda *_: seen.set())
        while True:
            found = setting.pods.all()
            placed = [p for p in found if p["spec"].get("nodeName")]
            refused = [p for p in found if scheduled(p)["status"] == "False" and not p["spec"].get("nodeName")]
            if (len(placed), len(refused)) == (4, 2):
                break
            seen.clear()
            await seen.wait()
    assert len(placed) == 4
    gone = placed[0]["metadata"]["name"]
    await setting.client.delete(PODS, gone, "default", grace_period_seconds=0)
    names = [p["metadata"]["name"] for p in refused]
    await asyncio.wait(
        [asyncio.create_task(setting.until(name, lambda p: p["spec"].get("nodeName"))) for name in names],
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert sum(1 for p in setting.pods if p["spec"].get("nodeName")) == 4


async def test_gates_and_other_schedulers_are_respected(setting: Setting) -> None:
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("gated", schedulingGates=[{"name": "example.org/wait"}]))
    await setting.client.create(PODS, pod("foreign", schedulerName="other"))
    await setting.client.create(PODS, pod("ours"))
    await setting.until("ours", lambda p: p["spec"].get("nodeName"))
    assert not any((setting.pods.get(f"default/{n}") or {})["spec"].get("nodeName") for n in ("gated", "foreign"))
    await setting.client.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, "default")
    await setting.until("gated", lambda p: p["spec"].get("nodeName"))


def near(app: str) -> Object:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def labelled(obj: Object, **labels: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "labels": labels}}


async def test_a_pod_that_waits_for_another_comes_when_that_one_does(setting: Setting) -> None:
    there = node("one")
    there["metadata"]["labels"] = {"kubernetes.io/hostname": "one"}
    await setting.add_node(there)
    for name in ("web", "db"):
        await setting.client.create(PODS, pod(f"beside-{name}", affinity=near(name)))
        await setting.until(f"beside-{name}", lambda p: scheduled(p)["status"] == "False")
    await setting.client.create(PODS, labelled(pod("other"), app="web"))
    await setting.until("beside-web", lambda p: p["spec"].get("nodeName"))
    assert not (setting.pods.get("default/beside-db") or {})["spec"].get("nodeName")
    await setting.client.patch(PODS, "other", {"metadata": {"labels": {"app": "db"}}}, "default")
    await setting.until("beside-db", lambda p: p["spec"].get("nodeName"))


async def test_a_pod_that_would_make_a_spread_uneven_comes_when_it_no_longer_does(setting: Setting) -> None:
    for name in ("one", "two"):
        there = node(name)
        there["metadata"]["labels"] = {"kubernetes.io/hostname": name}
        await setting.add_node(there)
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    await setting.client.create(PODS, labelled(pod("first", nodeName="one"), app="web"))
    # the policy: with its own affinity honoured there would be one domain only, and no skew
    constraint = {**spread, "nodeAffinityPolicy": "Ignore"}
    on_one = {"kubernetes.io/hostname": "one"}
    waiting = pod("second", nodeSelector=on_one, topologySpreadConstraints=[constraint])
    await setting.client.create(PODS, labelled(waiting, app="web"))
    await setting.until("second", lambda p: scheduled(p)["status"] == "False")
    await setting.client.create(PODS, labelled(pod("third", nodeName="two"), app="web"))
    await setting.until("second", lambda p: p["spec"].get("nodeName"))


async def test_a_refusal_leaves_the_conditions_of_others(setting: Setting) -> None:
    theirs = {"type": "example.org/checked", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}
    await setting.client.create(PODS, pod("web", schedulingGates=[{"name": "example.org/wait"}]))
    stale = await setting.until("web", lambda p: True)
    patch = {"status": {"conditions": [theirs]}}
    await setting.client.patch(PODS, "web", patch, "default", type="strategic", subresource="status")
    await setting.scheduler.teller.refused(PodInfo(stale), "Unschedulable", "no nodes available to schedule pods")
    found = await setting.client.get(PODS, "web", "default")
    assert {c["type"]: c["status"] for c in found["status"]["conditions"]} == {
        "example.org/checked": "True",
        "PodScheduled": "False",
    }


async def test_fifty_pods_at_once(setting: Setting) -> None:
    await setting.add_node(node("one", cpu="64"))
    await asyncio.gather(*(setting.client.create(PODS, pod(f"p{n}", cpu="100m")) for n in range(50)))
    for number in range(50):
        await setting.until(f"p{number}", lambda p: p["spec"].get("nodeName"))


async def test_pods_of_a_service_spread_by_default(setting: Setting) -> None:
    for name in ("one", "two", "three"):
        there = node(name, cpu="64")
        there["metadata"]["labels"] = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": name}
        await setting.add_node(there)
    # what is there already would draw them to the emptier nodes: their own group is what counts more
    await setting.client.create(PODS, pod("heavy", cpu="32", nodeName="one"))
    ports = [{"port": 80}]
    metadata = {"name": "web", "namespace": "default"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    await setting.client.create(SERVICES, {**service, "spec": {"selector": {"app": "web"}, "ports": ports}})
    nodes = []
    for number in range(3):
        await setting.client.create(PODS, labelled(pod(f"web-{number}", cpu="100m"), app="web"))
        found = await setting.until(f"web-{number}", lambda p: p["spec"].get("nodeName"))
        nodes.append(found["spec"]["nodeName"])
    assert sorted(nodes) == ["one", "three", "two"]


async def test_pods_stand_alone_where_no_pod_groups_are_served(setting: Setting) -> None:
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web", schedulingGroup={"podGroupName": "nowhere"}))
    await setting.until("web", lambda p: p["spec"].get("nodeName"))
