"""What the proxy does with a change that the kernel refuses: it is tried again, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.client.informer import Informer
from sampan.client.resources import ENDPOINT_SLICES, NODES, SERVICES
from sampan.network import service_proxy
from sampan.network.nft import NftError
from sampan.network.proxy_metrics import ProxyMetrics
from sampan.network.service_proxy import ServiceProxy
from sampan.network.service_table import ProxyConfig
from sampan.network.services import NOTHING, ServiceRules

RANGE = IPv4Network("10.240.0.0/18")
CONFIG = ProxyConfig("node", (IPv4Address("10.240.255.2"),), (RANGE,), inside=(RANGE,))
ADDRESS = IPv4Address("10.240.64.7")


class Kernel:
    """Refuses every first attempt at a change."""

    def __init__(self, config: ProxyConfig) -> None:
        self.attempts = 0

    def adopt(self, table: Any) -> None:
        pass

    def apply(self, change: Any) -> None:
        self.attempts += 1
        if self.attempts % 2:
            raise NftError("the kernel has no memory")

    def close(self) -> None:
        pass


def service(name: str) -> dict[str, Any]:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}]
    spec = {"type": "ClusterIP", "clusterIP": str(ADDRESS), "clusterIPs": [str(ADDRESS)], "ports": ports}
    return {"metadata": {"namespace": "shop", "name": name}, "spec": spec, "status": {}}


def slice_of(name: str) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": name}
    return {
        "metadata": {"namespace": "shop", "name": name, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}],
        "endpoints": [{"addresses": ["10.240.0.2"], "conditions": {"ready": True}, "nodeName": "node"}],
    }


async def test_a_change_that_is_refused_once_is_told_and_forgotten_with_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Service that went in a refused change kept its health port, and its UDP clients the endpoint that went."""
    forgotten: list[Any] = []
    monkeypatch.setattr(service_proxy, "ServiceKernel", Kernel)
    monkeypatch.setattr(service_proxy, "FIRST_PAUSE_SECONDS", 0)
    monkeypatch.setattr(service_proxy, "_forget", lambda stale, config: forgotten.extend(stale))
    client: Any = SimpleNamespace(streams_lists=False)
    services, slices, nodes = (Informer(client, resource) for resource in (SERVICES, ENDPOINT_SLICES, NODES))
    told: asyncio.Queue[Mapping[str, ServiceRules]] = asyncio.Queue()
    proxy = ServiceProxy(CONFIG, services, slices, nodes, ProxyMetrics(), told.put_nowait)
    services.replace([service("names")])
    slices.replace([slice_of("names")])
    for informer in (services, slices, nodes):
        informer._synced.set()
    task = asyncio.create_task(proxy.run(lambda: None))
    try:
        async with asyncio.timeout(60):
            assert (await told.get())["shop/names"] != NOTHING
            forgotten.clear()
            services.forget(service("names"))
            assert await told.get() == {"shop/names": NOTHING}
            assert forgotten == [(ADDRESS, 53)]
    finally:
        task.cancel()
