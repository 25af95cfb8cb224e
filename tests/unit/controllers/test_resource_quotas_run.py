"""Quotas on the real in-process API: limits taken over, counted, given back."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.resources import CONFIG_MAPS, PODS
from sampan.controllers.resource_quota import QUOTAS
from sampan.schema.objects import Object


def quota(name: str, **hard: str) -> Object:
    metadata = {"name": name, "namespace": "default"}
    spec = {"hard": {key.replace("__", "/"): value for key, value in hard.items()}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec}


def config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}


def uses(**used: str) -> Any:
    wanted = {key.replace("__", "/"): value for key, value in used.items()}
    return lambda found: (found.get("status") or {}).get("used") == wanted


async def test_a_quota_is_counted_and_kept_true(cluster: Any) -> None:
    there = len((await cluster.client.list(CONFIG_MAPS, "default")).items)
    await cluster.client.create(CONFIG_MAPS, config_map("before"))
    await cluster.client.create(QUOTAS, quota("q", configmaps=str(there + 3), count__secrets="5"))
    made = await cluster.until(QUOTAS, "q", uses(configmaps=str(there + 1), count__secrets="0"))
    assert made["status"]["hard"] == {"configmaps": str(there + 3), "count/secrets": "5"}
    await asyncio.gather(*(cluster.client.create(CONFIG_MAPS, config_map(f"m{n}")) for n in range(2)))
    try:
        await cluster.client.create(CONFIG_MAPS, config_map("more"))
        raise AssertionError("there was no room")
    except ApiError as error:
        assert "exceeded quota: q" in str(error)
    await cluster.client.delete(CONFIG_MAPS, "m0", "default")
    await cluster.until(QUOTAS, "q", uses(configmaps=str(there + 2), count__secrets="0"))
    await cluster.client.create(CONFIG_MAPS, config_map("more"))


async def test_limits_that_change_are_taken_over(cluster: Any) -> None:
    await cluster.client.create(QUOTAS, quota("q", pods="1"))
    await cluster.until(QUOTAS, "q", uses(pods="0"))
    await cluster.client.patch(QUOTAS, "q", {"spec": {"hard": {"pods": "2", "services": "7"}}}, "default")
    found = await cluster.until(QUOTAS, "q", lambda one: "services" in one["status"]["used"])
    assert found["status"]["hard"] == {"pods": "2", "services": "7"}


async def test_a_pod_that_ended_gives_back_its_cpu(cluster: Any) -> None:
    await cluster.client.create(QUOTAS, quota("q", **{"requests.cpu": "2", "count__pods": "9"}))
    await cluster.until(QUOTAS, "q", lambda one: "used" in one.get("status", {}))
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [container], "restartPolicy": "Never", "nodeName": "nowhere"},
    }
    await cluster.client.create(PODS, pod)
    found = await cluster.client.get(QUOTAS, "q", "default")
    assert found["status"]["used"] == {"requests.cpu": "1", "count/pods": "1"}
    await cluster.client.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, "default", subresource="status")
    await cluster.until(QUOTAS, "q", lambda one: one["status"]["used"] == {"requests.cpu": "0", "count/pods": "1"})
