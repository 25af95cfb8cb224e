"""kubernetes-asyncio: the fixtures' calls are awaited, as the test is a coroutine."""

import asyncio
from typing import Any

import pytest_asyncio
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.leaderelection import electionconfig, leaderelection
from kubernetes_asyncio.leaderelection.resourcelock.leaselock import LeaseLock


@pytest_asyncio.fixture
async def api(cluster: Any) -> Any:
    configuration = client.Configuration()
    await config.load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        yield connection


async def test_objects_and_watches(api: Any, cluster: Any) -> None:
    core = client.CoreV1Api(api)
    labels = {"tier": "front"}
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c", labels=labels), data={"n": "1"})
    await core.create_namespaced_config_map("default", body)
    seen = []
    async with watch.Watch().stream(core.list_namespaced_config_map, "default", label_selector="tier=front") as stream:
        async for event in stream:
            seen.append((event["type"], (event["object"].data or {}).get("n")))
            if len(seen) == 1:
                await core.patch_namespaced_config_map("c", "default", {"data": {"n": "2"}})
            elif len(seen) == 2:
                await core.delete_namespaced_config_map("c", "default")
            else:
                break
    assert seen == [("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2")]
    assert await cluster.get("cm/c") is None


async def test_a_pod_becomes_ready(api: Any, wait_for: Any) -> None:
    spec = client.V1PodSpec(containers=[client.V1Container(name="main", image="shop:1")])
    pod = client.V1Pod(metadata=client.V1ObjectMeta(name="p"), spec=spec)
    await client.CoreV1Api(api).create_namespaced_pod("default", pod)
    ready = await wait_for("pod/p")
    assert ready["status"]["phase"] == "Running"


async def test_leader_election(api: Any) -> None:
    led = asyncio.Event()
    ended = asyncio.Event()

    async def lead() -> None:
        led.set()

    async def stop() -> None:
        ended.set()

    lock = LeaseLock("leader", "default", "one", api)
    settings = electionconfig.Config(lock, 3, 2, 1, onstarted_leading=lead, onstopped_leading=stop)
    election = asyncio.create_task(leaderelection.LeaderElection(settings).run())
    async with asyncio.timeout(10):
        await led.wait()
    lease = await client.CoordinationV1Api(api).read_namespaced_lease("leader", "default")
    assert lease.spec.holder_identity == "one"
    election.cancel()
    await asyncio.gather(election, return_exceptions=True)
