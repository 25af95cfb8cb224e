"""From the choice of a node to the binding: what plugins may wait for, refuse and take back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sampan.client.resources import PODS
from sampan.scheduler.configuration import Configuration, PluginSet, ProfileSpec
from sampan.scheduler.framework import CycleState, Handle, Plugin, Status, failure, unschedulable
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import Start
from tests.unit.scheduler.made import node


class Asked(list[str]):
    """The points that were met; ``until`` waits for one."""

    def __init__(self) -> None:
        super().__init__()
        self.changed = asyncio.Event()

    def note(self, point: str) -> None:
        self.append(point)
        self.changed.set()

    async def until(self, point: str) -> None:
        async with asyncio.timeout(60):
            while point not in self:
                self.changed.clear()
                await self.changed.wait()


class Watchful(Plugin):
    """Notes what it is asked, and does what a test wants."""

    name = "Watchful"

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        super().__init__(args, handle)
        self.asked, self.gate = Asked(), asyncio.Event()
        self.answers: dict[str, list[Status]] = {}
        self.meanwhile: list[Callable[[PodInfo], None]] = []
        """What happens after the choice of a node and before the binding begins."""
        self.gate.set()

    def _answer(self, point: str) -> Status | None:
        self.asked.note(point)
        left = self.answers.get(point)
        return left.pop() if left else None

    def reserve(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        if self.meanwhile:
            asyncio.get_running_loop().call_soon(self.meanwhile.pop(), pod)
        if "explode" in self.answers:
            del self.answers["explode"]
            raise RuntimeError("reserve exploded")
        return self._answer("reserve")

    def unreserve(self, state: CycleState, pod: PodInfo, node: str) -> None:
        self.asked.note("unreserve")

    async def permit(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        status = self._answer("permit")
        await self.gate.wait()
        return status

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        return self._answer("pre_bind")

    def post_bind(self, state: CycleState, pod: PodInfo, node: str) -> None:
        self.asked.note("post_bind")


WATCHED = Configuration(
    profiles=(ProfileSpec(plugins={"multiPoint": PluginSet([(f"{__name__}:Watchful", 0)])}),), pauses=(0.01, 0.02),
    directory=Path(),
)  # fmt: skip
WHOLE = ["reserve", "permit", "pre_bind", "post_bind"]


def pod(name: str, cpu: str = "3") -> Object:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}
    metadata = {"name": name, "namespace": "default"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def watched(start: Start) -> tuple[Any, Any]:
    setting = start(WATCHED)
    return setting, setting.scheduler.profiles["default-scheduler"].plugins["Watchful"]


def told(found: Object) -> tuple[str, str]:
    conditions = found.get("status", {}).get("conditions") or ()
    found = next((c for c in conditions if c["type"] == "PodScheduled"), {})
    return found.get("reason", ""), found.get("message", "")


async def test_the_points_are_met_in_order(start: Start) -> None:
    setting, plugin = watched(start)
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    await setting.until("web", lambda p: p["spec"].get("nodeName"))
    await plugin.asked.until("post_bind")
    assert plugin.asked == WHOLE


async def test_what_fails_is_taken_back_told_and_tried_again(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.answers["pre_bind"] = [failure("the disk is on fire")]
    await setting.client.create(PODS, pod("web"))
    await setting.add_node(node("one"))
    await setting.until("web", lambda p: told(p) == ("SchedulerError", "the disk is on fire"))
    await setting.until("web", lambda p: p["spec"].get("nodeName"))
    first = plugin.asked.index("unreserve")
    assert (
        plugin.asked[:first] == ["reserve", "permit", "pre_bind"] and plugin.asked[first + 1 : first + 4] == WHOLE[:3]
    )


async def test_a_refusal_while_it_waits_is_one_node_fewer(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.answers["permit"] = [unschedulable("not today")]
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    await setting.until("web", lambda p: told(p) == ("Unschedulable", "0/1 nodes are available: 1 not today."))
    await setting.until("web", lambda p: p["spec"].get("nodeName"))


async def test_a_reservation_that_is_refused_leaves_nothing(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.answers["reserve"] = [unschedulable("taken")]
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    refused = await setting.until("web", lambda p: told(p)[0] == "Unschedulable")
    assert told(refused)[1].startswith("0/1 nodes are available: 1 taken.")
    assert plugin.asked == ["reserve", "unreserve"]
    assert not setting.scheduler.cluster.assumed and not setting.scheduler.cluster.nodes["one"].pods
    # the plugin has not said what it waits for: a change of the node is worth a try
    await setting.add_node(node("two"))
    await setting.until("web", lambda p: p["spec"].get("nodeName"))


async def test_a_pod_that_waits_holds_its_room_and_gives_it_back_when_it_is_deleted(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.gate.clear()
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, pod("first"))
    await plugin.asked.until("permit")
    await setting.client.create(PODS, pod("second"))
    refused = await setting.until("second", lambda p: told(p)[0] == "Unschedulable")
    assert "1 Insufficient cpu" in told(refused)[1]
    await setting.client.delete(PODS, "first", "default")
    plugin.gate.set()
    await setting.until("second", lambda p: p["spec"].get("nodeName"))
    assert "unreserve" in plugin.asked


async def test_a_binding_that_the_api_refuses_is_tried_anew(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.gate.clear()
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    await plugin.asked.until("permit")
    # somebody else was quicker
    made = await setting.client.get(PODS, "web", "default")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web", "uid": made["metadata"]["uid"]},
               "target": {"kind": "Node", "name": "elsewhere"}}  # fmt: skip
    await setting.client.create(PODS, binding, "default", name="web", subresource="binding")
    plugin.gate.set()
    await plugin.asked.until("unreserve")
    cluster = setting.scheduler.cluster
    assert cluster.placed["default/web"].node == "elsewhere" and not cluster.assumed
    assert not cluster.nodes["one"].pods
    assert setting.scheduler.queue.get("default/web") is None


async def test_a_pod_that_is_bound_by_somebody_else_before_its_binding_begins_ends_nothing(start: Start) -> None:
    setting, plugin = watched(start)

    def bound(info: PodInfo) -> None:
        metadata = {**info.metadata, "resourceVersion": "999999"}
        setting.pods.take({**info.object, "metadata": metadata, "spec": {**info.spec, "nodeName": "elsewhere"}})

    plugin.meanwhile.append(bound)
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    await plugin.asked.until("unreserve")
    cluster = setting.scheduler.cluster
    assert cluster.placed["default/web"].node == "elsewhere" and not cluster.nodes["one"].pods
    assert plugin.asked == ["reserve", "unreserve"], "nothing more was done for it"
    await setting.client.create(PODS, pod("other"))
    await setting.until("other", lambda p: p["spec"].get("nodeName"))


async def test_a_pod_that_is_deleted_before_its_binding_begins_leaves_nothing(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.meanwhile.append(lambda info: setting.pods.forget(info.object))
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web"))
    await plugin.asked.until("unreserve")
    assert plugin.asked == ["reserve", "unreserve"]
    assert not setting.scheduler.cluster.placed and not setting.scheduler.cluster.nodes["one"].requested.get("cpu")


async def test_a_reserve_that_explodes_counts_the_pod_nowhere(start: Start) -> None:
    setting, plugin = watched(start)
    plugin.answers["explode"] = []
    # so large that it does not fit beside itself
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, pod("web", cpu="3"))
    await setting.until("web", lambda p: "reserve exploded" in told(p)[1])
    await setting.until("web", lambda p: p["spec"].get("nodeName"))
    assert plugin.asked[0] == "unreserve" and setting.scheduler.cluster.nodes["one"].requested["cpu"] == 3000


async def test_a_pod_is_counted_once_and_not_again_when_the_api_shows_it(start: Start) -> None:
    setting = start()
    await setting.add_node(node("one", cpu="64"))
    await setting.client.create(PODS, pod("first", cpu="1"))
    await setting.until("first", lambda p: p["spec"].get("nodeName"))
    info = setting.scheduler.cluster.nodes["one"]
    before, confirmed = info.generation, setting.scheduler.cluster.placed["default/first"]
    assert confirmed.object["spec"]["nodeName"] == "one" and "first" not in setting.scheduler.cluster.assumed
    for number in range(20):
        await setting.client.create(PODS, pod(f"p{number}", cpu="1"))
        await setting.until(f"p{number}", lambda p: p["spec"].get("nodeName"))
    assert info.generation == before + 20, "what is known of the node is asked anew for each change of it"
    assert info.requested["cpu"] == 21_000
