"""Preemption on the real API: victims are told, deleted gracefully, and the pod takes their place."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import EVENTS, PODS
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import Setting
from tests.unit.scheduler.made import node

CLASSES = ResourceType("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False)


async def classes(setting: Setting) -> None:
    for name, value, policy in (
        ("low", 1, "PreemptLowerPriority"),
        ("high", 10, "PreemptLowerPriority"),
        ("polite", 10, "Never"),
    ):
        made = {"metadata": {"name": name}, "value": value, "preemptionPolicy": policy}
        await setting.client.create(CLASSES, {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", **made})


def pod(name: str, importance: str, cpu: str, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    body = {"containers": [container], "priorityClassName": importance, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": body}


def condition(found: Object, type: str) -> Object:
    conditions = found.get("status", {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == type), {})


async def test_a_less_important_pod_makes_room(setting: Setting) -> None:
    await classes(setting)
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, pod("cheap", "low", "3"))
    await setting.until("cheap", lambda p: p["spec"].get("nodeName"))
    await setting.client.create(PODS, pod("polite", "polite", "3"))
    refused = await setting.until("polite", lambda p: condition(p, "PodScheduled").get("status") == "False")
    assert condition(refused, "PodScheduled")["message"] == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    )
    await setting.client.delete(PODS, "polite", "default", grace_period_seconds=0)
    await setting.client.create(PODS, pod("dear", "high", "3"))
    victim = await setting.until("cheap", lambda p: "deletionTimestamp" in p["metadata"])
    told = condition(victim, "DisruptionTarget")
    assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
    assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
    assert victim["metadata"]["deletionGracePeriodSeconds"] == 30
    waiting = await setting.until("dear", lambda p: p.get("status", {}).get("nominatedNodeName"))
    assert waiting["status"]["nominatedNodeName"] == "one"
    # what is less important does not take the room meanwhile
    await setting.client.create(PODS, pod("sneaky", "low", "2"))
    await setting.until("sneaky", lambda p: condition(p, "PodScheduled").get("status") == "False")
    await setting.client.delete(PODS, "cheap", "default", grace_period_seconds=0)
    bound = await setting.until("dear", lambda p: p["spec"].get("nodeName"))
    assert bound["spec"]["nodeName"] == "one" and "nominatedNodeName" not in bound["status"]
    assert not (setting.pods.get("default/sneaky") or {})["spec"].get("nodeName")
    async with asyncio.timeout(60):
        async for event in setting.client.watch(EVENTS, "default", resource_version="0"):
            if event.object["reason"] == "Preempted":
                assert event.object["message"] == f"Preempted by pod {bound['metadata']['uid']} on node one"
                break


async def test_the_metrics_tell_of_it(setting: Setting) -> None:
    await classes(setting)
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, pod("cheap", "low", "3"))
    await setting.until("cheap", lambda p: p["spec"].get("nodeName"))
    await setting.client.create(PODS, pod("dear", "high", "3"))
    await setting.until("dear", lambda p: p.get("status", {}).get("nominatedNodeName"))
    from sampan.api.metrics.exposition import lines

    page = list(lines(setting.scheduler.metrics.families()))
    assert 'scheduler_schedule_attempts_total{profile="default-scheduler",result="scheduled"} 1' in page
    assert 'scheduler_schedule_attempts_total{profile="default-scheduler",result="unschedulable"} 1' in page
    assert "scheduler_preemption_attempts_total 1" in page
    assert 'scheduler_preemption_victims_bucket{le="1"} 1' in page
    assert 'scheduler_pending_pods{queue="unschedulable"} 1' in page


class Refusing:
    """A client that may not delete pods."""

    def __init__(self, client: Any) -> None:
        self.client, self.asked = client, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    async def delete(self, *args: Any, **kwargs: Any) -> None:
        self.asked += 1
        raise ApiError(403, {"reason": "Forbidden", "message": "no"})


async def test_a_preemption_that_the_api_refuses_pauses(setting: Setting) -> None:
    await classes(setting)
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, pod("cheap", "low", "3"))
    await setting.until("cheap", lambda p: p["spec"].get("nodeName"))
    handle = setting.scheduler.profiles["default-scheduler"].plugins["DefaultPreemption"].handle
    own, handle.client = handle.client, Refusing(handle.client)
    pausing: Any = asyncio.Event()
    later = handle.later

    def noted(key: str) -> None:
        later(key)
        pausing.set()

    handle.later = noted
    await setting.client.create(PODS, pod("dear", "high", "3"))
    async with asyncio.timeout(60):
        await pausing.wait()
    queued = setting.scheduler.queue.get("default/dear")
    assert queued is not None and (queued.where, queued.errors) == ("backoff", 1)
    await setting.until("dear", lambda p: p["status"].get("nominatedNodeName"))
    assert handle.client.asked == 1
    # the API changes its mind: the next try gets the room
    handle.client = own
    await setting.until("cheap", lambda p: "deletionTimestamp" in p["metadata"])


async def test_room_of_a_pod_that_went_elsewhere_is_anybodys(setting: Setting) -> None:
    await classes(setting)
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, pod("cheap", "low", "3"))
    await setting.until("cheap", lambda p: p["spec"].get("nodeName"))
    await setting.client.create(PODS, pod("dear", "high", "3"))
    made = await setting.until("dear", lambda p: p.get("status", {}).get("nominatedNodeName"))
    await setting.client.create(PODS, pod("small", "low", "1"))
    await setting.until("small", lambda p: condition(p, "PodScheduled").get("status") == "False")
    # somebody binds the important one to another node: there is room for the small one beside the cheap one
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "dear", "uid": made["metadata"]["uid"]},
               "target": {"kind": "Node", "name": "elsewhere"}}  # fmt: skip
    await setting.client.create(PODS, binding, "default", name="dear", subresource="binding")
    await setting.until("small", lambda p: p["spec"].get("nodeName") == "one")
    assert "default/cheap" in setting.scheduler.cluster.placed
