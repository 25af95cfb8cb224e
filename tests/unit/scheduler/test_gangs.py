"""Pods of a PodGroup are scheduled together, or none of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.flags import Flags
from sampan.api.server import ApiConfig, open_api
from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.client.resources import PODS
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import Setting, Start
from tests.unit.scheduler.made import node
from tests.unit.scheduler.test_binding_cycle import pod, told

GROUPS = ResourceType("scheduling.k8s.io", "v1beta1", "podgroups", "PodGroup")
CONDITION = "PodGroupInitiallyScheduled"


@pytest.fixture
async def local_api(throwaway_pki: Path) -> AsyncIterator[Api]:
    flags = Flags(runtime_config=("scheduling.k8s.io/v1beta1=true",), feature_gates=("GenericWorkload=true",))
    api = await open_api(ApiConfig(pki_dir=throwaway_pki, flags=flags))
    yield api
    await api.close()


def group(name: str, count: int) -> Object:
    metadata = {"name": name, "namespace": "default"}
    spec = {"schedulingPolicy": {"gang": {"minCount": count}}}
    return {"apiVersion": GROUPS.api_version, "kind": "PodGroup", "metadata": metadata, "spec": spec}


def member(name: str, of: str, cpu: str = "3", **spec: Any) -> Object:
    made = pod(name, cpu=cpu)
    return {**made, "spec": {**made["spec"], "schedulingGroup": {"podGroupName": of}, **spec}}


async def condition(setting: Setting, name: str, status: str) -> Object:
    """Return the group's condition as soon as it has a status."""
    informer, seen = Informer(setting.client, GROUPS), asyncio.Event()
    informer.add_handler(lambda *_: seen.set())
    task = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(60):
            while True:
                found = informer.get(f"default/{name}") or {}
                for one in (found.get("status") or {}).get("conditions") or ():
                    if (one["type"], one["status"]) == (CONDITION, status):
                        return dict(one)
                seen.clear()
                await seen.wait()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_bound(found: Object) -> bool:
    return bool(found["spec"].get("nodeName"))


async def test_all_of_them_or_none(start: Start) -> None:
    setting = start()
    await setting.client.create(GROUPS, group("train", 3))
    for name in ("one", "two"):
        await setting.add_node(node(name))
    for name in ("a", "b"):
        await setting.client.create(PODS, member(name, "train"))
    await setting.client.create(PODS, pod("alone", cpu="1"))
    await setting.until("alone", is_bound)
    held = setting.scheduler.queue.get("default/a")
    assert held is not None and held.where == "gated", "there are too few of them"
    await setting.client.create(PODS, member("c", "train"))
    for name in ("a", "b", "c"):
        refused = await setting.until(name, lambda p: told(p)[0] == "Unschedulable")
        assert 'pod group "train" needs 3 more pods scheduled together: 2 of 3 found a node' in told(refused)[1]
    assert "Insufficient cpu" in " ".join(told(p)[1] for p in setting.pods)
    assert "2 of 3" in (await condition(setting, "train", "False"))["message"]
    assert not setting.scheduler.cluster.assumed, "nothing is held by halves"
    await setting.add_node(node("three"))
    bound = {(await setting.until(name, is_bound))["spec"]["nodeName"] for name in ("a", "b", "c")}
    assert bound == {"one", "two", "three"}
    assert (await condition(setting, "train", "True"))["reason"] == "Scheduled"


async def test_two_groups_do_not_hold_each_other_up(start: Start) -> None:
    setting = start()
    for name in ("one", "two", "three"):
        await setting.add_node(node(name))
    for name in ("red", "blue"):
        await setting.client.create(GROUPS, group(name, 2))
    # interleaved, and room for one and a half of them
    for number in range(2):
        for name in ("red", "blue"):
            await setting.client.create(PODS, member(f"{name}-{number}", name))
    for number in range(2):
        await setting.until(f"red-{number}", is_bound)
    await setting.until("blue-0", lambda p: "1 of 2 found a node" in told(p)[1])
    for number in range(2):
        await setting.client.delete(PODS, f"red-{number}", "default", grace_period_seconds=0)
    for number in range(2):
        await setting.until(f"blue-{number}", is_bound)


async def test_a_group_that_comes_later_and_pods_beyond_it(start: Start) -> None:
    setting = start()
    await setting.add_node(node("one", cpu="64"))
    for number in range(3):
        await setting.client.create(PODS, member(f"p{number}", "late"))
    await setting.client.create(PODS, pod("alone", cpu="1"))
    await setting.until("alone", is_bound)
    assert not any(is_bound(p) for p in setting.pods if p["metadata"]["name"] != "alone")
    await setting.client.create(GROUPS, group("late", 2))
    for number in range(3):
        await setting.until(f"p{number}", is_bound)
    # it has what it needs: what is added or replaced later comes by itself
    await setting.client.create(PODS, member("p3", "late"))
    await setting.until("p3", is_bound)


async def test_a_member_that_is_gated_holds_the_others_back(start: Start) -> None:
    setting = start()
    await setting.add_node(node("one", cpu="64"))
    await setting.client.create(GROUPS, group("shy", 2))
    await setting.client.create(PODS, member("gated", "shy", schedulingGates=[{"name": "example.org/wait"}]))
    await setting.client.create(PODS, member("ready", "shy"))
    await setting.until("ready", lambda p: "1 of 1 found a node" in told(p)[1])
    await setting.client.patch(PODS, "gated", {"spec": {"schedulingGates": None}}, "default")
    for name in ("gated", "ready"):
        await setting.until(name, is_bound)
