"""Devices that were chosen for a pod that is being bound are nobody else's, until it is known what became of it."""

from __future__ import annotations

import asyncio

import pytest

from sampan.client.resources import DEVICE_CLASSES, RESOURCE_CLAIMS, RESOURCE_SLICES
from sampan.scheduler.cycle import Cycles, Refusal
from sampan.scheduler.framework import UPDATE, CycleState, NodeStatuses, unresolvable
from sampan.scheduler.plugins.dynamic_resources import matters
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from tests.unit.scheduler.made import node
from tests.unit.scheduler.world import World, reserved

TAKEN = "cannot allocate all claims"


def claim(name: str) -> Object:
    requests = [{"name": "gpu", "exactly": {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}}]
    metadata = {"name": name, "namespace": "ns", "uid": f"u-{name}"}
    return {"metadata": metadata, "spec": {"devices": {"requests": requests}}}


def pod(name: str, claim: str) -> Object:
    spec = {"containers": [{"name": "c"}], "resourceClaims": [{"name": "gpu", "resourceClaimName": claim}]}
    return {"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": spec}


def world() -> World:
    pool = {"name": "a", "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "gpu.example", "pool": pool, "nodeName": "a", "devices": [{"name": "gpu-0"}]}
    return World(
        [node("a")],
        objects={
            RESOURCE_CLAIMS: [claim("c"), claim("d")],
            RESOURCE_SLICES: [{"metadata": {"name": "a"}, "spec": spec}],
            DEVICE_CLASSES: [{"metadata": {"name": "gpu"}, "spec": {}}],
        },
    )


async def test_a_promise_that_is_given_back_before_it_was_written_wakes_who_waits_for_the_device() -> None:
    there = world()
    state, info = await reserved(there, pod("p", "c"))
    assert TAKEN in there.goes(pod("q", "d"))
    there.profile.unreserve(state, info, "a")
    assert there.goes(pod("q", "d")) == "a"
    ((resource, action, old, new),) = there.told
    assert (resource, action) == (RESOURCE_CLAIMS, UPDATE)
    assert matters(PodInfo(pod("q", "d")), old, new), "its hint sees that a device came free"


async def test_a_device_that_was_written_is_not_given_again_before_the_informer_shows_it() -> None:
    there = world()
    state, info = await reserved(there, pod("p", "c"))
    there.is_late = True
    assert await there.profile.pre_bind(state, info, "a") is None
    there.profile.unreserve(state, info, "a")  # the binding itself was refused
    assert TAKEN in there.goes(pod("q", "d")), "nobody knows yet what became of it"
    await asyncio.gather(*there.started)
    assert TAKEN in there.goes(pod("q", "d")), "the API has it as given"
    assert not (there.api[RESOURCE_CLAIMS, "ns/c"]["status"]["reservedFor"]), "the pod uses it no longer"
    there.is_late = False
    there.show(RESOURCE_CLAIMS, "ns/c")
    assert TAKEN in there.goes(pod("q", "d")) and not there.devices._promised


async def test_a_write_that_never_arrived_is_no_reason_to_keep_the_device() -> None:
    there = world()
    state, info = await reserved(there, pod("p", "c"))
    del there.api[RESOURCE_CLAIMS, "ns/c"]
    status = await there.profile.pre_bind(state, info, "a")
    assert status is not None and "writing ResourceClaim c" in status.message
    there.profile.unreserve(state, info, "a")
    await asyncio.gather(*there.started)
    assert there.goes(pod("q", "d")) == "a"


async def test_who_shares_a_claim_waits_until_it_has_its_devices() -> None:
    there = world()
    await reserved(there, pod("p", "c"))
    assert "resource claim ns/c is in the process of being allocated" in there.goes(pod("q", "c"))


async def test_devices_elsewhere_that_nobody_uses_are_taken_back() -> None:
    there = world()
    given = there.api[RESOURCE_CLAIMS, "ns/c"]
    device = {"request": "gpu", "driver": "gpu.example", "pool": "gone", "device": "gpu-9"}
    field = {"key": "metadata.name", "operator": "In", "values": ["gone"]}
    allocation = {
        "devices": {"results": [device]}, "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]},
    }  # fmt: skip
    other = {"resource": "pods", "name": "x", "uid": "x"}
    for users, told in (([other], "still not schedulable"), ([], "deallocation of ResourceClaim completed")):
        there.set(RESOURCE_CLAIMS, {**given, "status": {"allocation": allocation, "reservedFor": users}})
        state, info = CycleState(), PodInfo(pod("p", "c"))
        refused = Cycles(there.cluster).choose(there.profile, state, info)
        assert isinstance(refused, Refusal) and "1 resourceclaim not available on the node" in refused.message
        result = there.profile.post_filter(state, info, refused.statuses)
        assert result.status is not None and result.status.reasons[0] == told
        given = there.api[RESOURCE_CLAIMS, "ns/c"]
    await asyncio.gather(*there.started)
    assert not there.api[RESOURCE_CLAIMS, "ns/c"]["status"].get("allocation")
    assert there.goes(pod("p", "c")) == "a"


@pytest.mark.parametrize(("version", "told"), [((1, 33), False), ((1, 34), True), ((1, 35), True), ((1, 37), False)])
def test_who_has_no_claims_is_told_so_in_some_versions(version: tuple[int, int], told: bool) -> None:
    there = World([], version=version)
    plain = {"metadata": {"name": "p", "namespace": "ns", "uid": "p"}, "spec": {"containers": [{"name": "c"}]}}
    result = there.profile.post_filter(CycleState(), PodInfo(plain), NodeStatuses({}, unresolvable()))
    assert result.status is not None
    assert result.status.message.startswith("no new claims to deallocate, preemption: ") is told


async def test_devices_that_somebody_else_gave_meanwhile_are_not_overwritten() -> None:
    there = world()
    state, info = await reserved(there, pod("p", "c"))
    device = {"request": "gpu", "driver": "gpu.example", "pool": "b", "device": "gpu-7"}
    theirs = {"devices": {"results": [device]}}
    made = there.api[RESOURCE_CLAIMS, "ns/c"]
    there.api[RESOURCE_CLAIMS, "ns/c"] = {**made, "status": {"allocation": theirs}}
    status = await there.profile.pre_bind(state, info, "a")
    assert status is not None and status.message == "claim c got allocated elsewhere in the meantime"
    assert there.api[RESOURCE_CLAIMS, "ns/c"]["status"] == {"allocation": theirs}
