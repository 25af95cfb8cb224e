"""Two hundred pods that crash again and again: none is doubled, the API answers, status tells the truth, nothing is left."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.resources import (
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    PODS,
    REPLICA_SETS,
    SERVICES,
)
from sampan.schema.objects import Object
from sampan.simulation.kinds import STAGES

MANY, HEALTHY = 200, 5
WAITING = ".status.containerStatuses[0].state.waiting.reason"
CRASH = {"restarts": 1, "exitCode": 1, "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}


def stage(name: str, then: Object, path: str, value: str, delay: str) -> Object:
    when = [{"path": path, "operator": "In", "values": [value]}]
    spec = {"selector": {"matchLabels": {"app": "broken"}}, "when": when, "delay": delay, "then": then}
    return {"apiVersion": "sim.sampan.dev/v1alpha1", "kind": "Stage", "metadata": {"name": name}, "spec": spec}


def restarts(pod: Object) -> int:
    return sum(one.get("restartCount", 0) for one in pod.get("status", {}).get("containerStatuses") or ())


async def everyone_crashed(cluster: Any, times: int) -> None:
    """Return when all pods have crashed so often; they are not listed anew for each event."""
    found = await cluster.client.list(PODS, "default")
    seen: dict[str, int] = {pod["metadata"]["uid"]: restarts(pod) for pod in found.items}
    async with asyncio.timeout(240):
        async for event in cluster.client.watch(PODS, "default", resource_version=found.resource_version):
            if event.type == "BOOKMARK":
                continue
            seen[event.object["metadata"]["uid"]] = restarts(event.object)
            if len(seen) == MANY and min(seen.values()) >= times:
                return
    raise AssertionError("the watch ended")


async def test_two_hundred_pods_that_crash(cluster: Any) -> None:
    client = cluster.client
    await cluster.until(CUSTOM_RESOURCE_DEFINITIONS, "stages.sim.sampan.dev", is_established, None)
    await client.create(STAGES, stage("crash", CRASH, ".status.phase", "Running", "200ms"))
    await client.create(STAGES, stage("again", {"phase": "Running"}, WAITING, "CrashLoopBackOff", "3s"))
    for name in ("broken", "sound"):
        spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
        metadata = {"name": name, "namespace": "default"}
        await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})
    await cluster.deploy("broken", MANY)
    await everyone_crashed(cluster, 2)
    # beside them others are deployed, scaled and served as ever
    await cluster.deploy("sound", HEALTHY)
    await cluster.rolled_out("sound")
    slices = await cluster.until_all(ENDPOINT_SLICES, lambda found: ready(found, "sound") == HEALTHY)
    assert ready(slices, "broken") < MANY
    crashed = await cluster.pods("broken")
    assert len(crashed) == MANY, "a pod that crashes is restarted where it is, not replaced"
    assert len({pod["metadata"]["uid"] for pod in crashed}) == MANY and len(await cluster.replica_sets("broken")) == 1
    told = await client.get(DEPLOYMENTS, "broken", "default")
    available = next(one for one in told["status"]["conditions"] if one["type"] == "Available")
    assert available["status"] == "False" and told["status"]["replicas"] == MANY
    await client.delete(DEPLOYMENTS, "broken", "default")
    await cluster.until_all(REPLICA_SETS, lambda found: len(found) == 1)
    async with asyncio.timeout(240):
        while left := await cluster.pods("broken"):
            await cluster.gone(PODS, left[0]["metadata"]["name"])
    await cluster.until_all(ENDPOINT_SLICES, lambda found: count(found, "broken") == 0)


def is_established(definition: Object) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def of(slices: list[Object], name: str) -> list[Object]:
    found = [one for one in slices if (one["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name]
    return [endpoint for one in found for endpoint in one.get("endpoints") or ()]


def ready(slices: list[Object], name: str) -> int:
    return sum(1 for endpoint in of(slices, name) if endpoint["conditions"]["ready"])


def count(slices: list[Object], name: str) -> int:
    return len(of(slices, name))
