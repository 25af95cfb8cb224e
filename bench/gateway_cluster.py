"""A gateway of a cluster, with 10,000 routes and 5,000 Services: the memory of Envoy and of the controller.

``sampan gateway run --kubeconfig`` before an API that is a process of its own, as other gateways are measured; in
``gateway_files`` the API is a part of the gateway. The objects are made while the gateway runs. Memory is PSS.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bench.gateway_files import objects, processes
from bench.processes import pss_kib, running
from bench.sampan import Cluster, cluster
from bench.table import Row

PATHS = {
    "GatewayParameters": "/apis/gateway.sampan.dev/v1alpha1/namespaces/default/gatewayparameters",
    "Gateway": "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways",
    "Service": "/api/v1/namespaces/default/services",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes",
}
AT_A_TIME = 8
KINDS_SECONDS = 60
MOMENTS_SECONDS = (30, 60, 120)
"""How long after the last object is measured: Envoy gives back what it took for the changes by and by."""


def rows() -> Iterator[Row]:
    with cluster(f"bench-{uuid.uuid4().hex[:6]}", pods="none") as there:
        words = ("gateway", "run", "--kubeconfig", there.kubeconfig, "--advertise", "127.0.0.1")
        with running([sys.executable, "-m", "sampan.cli.main", *words]) as gateway:
            begun = time.perf_counter()
            asyncio.run(filled(there))
            yield Row("until the API has all objects", time.perf_counter() - begun, "s")
            ended = time.perf_counter()
            for moment in MOMENTS_SECONDS:
                time.sleep(max(0.0, ended + moment - time.perf_counter()))
                found = {name: pss_kib(pid) / 1024 for pid, name in processes(gateway.pid).items()}
                yield Row(f"memory after {moment} s", sum(found.values()), "MB", aim="<= 350 MB")
                for name, size in found.items():
                    yield Row(f"memory after {moment} s of {name}", size, "MB")


async def filled(there: Cluster) -> None:
    """Make the objects, with those of which it matters that they come first at the front."""
    async with session_to(there) as session:
        await kinds(session)
        waiting = iter(objects()["items"])

        async def make() -> None:
            for one in waiting:
                if one["kind"] == "EndpointSlice":  # an API takes no addresses of loopback
                    one["endpoints"] = [{"addresses": ["192.0.2.1"]}]
                async with session.post(PATHS[one["kind"]], json=one) as answer:
                    answer.raise_for_status()

        await asyncio.gather(*(make() for _ in range(AT_A_TIME)))


async def kinds(session: aiohttp.ClientSession) -> None:
    """Return when the gateway has made its kinds. Raises ``TimeoutError``."""
    async with asyncio.timeout(KINDS_SECONDS):
        for path in PATHS.values():
            while True:
                async with session.get(path, params={"limit": "1"}) as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.1)


@asynccontextmanager
async def session_to(there: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    connector: Any = aiohttp.TCPConnector(ssl=False)  # its own, on loopback
    headers = {"authorization": f"Bearer {there.token}"}
    async with aiohttp.ClientSession(there.url, connector=connector, headers=headers) as session:
        yield session
