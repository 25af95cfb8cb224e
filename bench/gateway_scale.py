"""A gateway with many routes: how long until a change is live after the API has answered, and what it costs.

The API, the gateway's agent and a client are in this process, Envoy beside it; each route has a host name of its own and
redirects, so nothing but the gateway is measured. Asked is with a connection kept open, until the answer has the new mark.
The peer at 10,000 hosts is Traefik with as many IngressRoutes, on our API (``peers/traefik_crds.py``).
The CPU of a change is what tells on a machine that has other work.
Published figures of other gateways at 3,000 routes (16 cores, howardjohn/gateway-api-bench): 30 to 600 ms.
"""

from __future__ import annotations

import asyncio
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.peers import traefik_crds
from bench.peers.etcd_apiserver import PeerMissing
from bench.processes import cpu_seconds
from bench.table import Row
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api
from sampan.client.resources import NAMESPACES
from sampan.gateway.agent import Agent
from sampan.gateway.configuration import GatewayConfig
from sampan.gateway.install import install
from sampan.gateway.kinds.resources import CLASS, GATEWAYS, HTTP_ROUTES, OWN_GROUP, PARAMETERS

Object = dict[str, Any]
SIZES = ((1000, False), (10_000, False), (10_000, True))
"""How many hosts, and whether ``manyHosts`` is set."""
CHANGES = 100
NAMESPACE = "scale"


THEIR_HOSTS, THEIR_CHANGES = 10_000, 5
"""It takes a second or more for each."""
THEIR_PORT = 18_503
THEIRS = "Traefik's CRDs, no throttle"


def rows() -> Iterator[Row]:
    peer = theirs()
    for count, many in SIZES:
        with tempfile.TemporaryDirectory() as directory:
            found = asyncio.run(measured(Path(directory), count, many))
        name = f"{count} hosts" + (", in parts" if many else "")
        they = peer if count == THEIR_HOSTS else {}
        by = THEIRS if they else ""
        yield Row(
            f"{name}: change until live, median", found["median"] * 1000, "ms", they.get("median"), by, "<= 10 ms"
        )
        yield Row(f"{name}: change until live, p99", found["p99"] * 1000, "ms", they.get("longest"), by, "<= 50 ms")
        yield Row(f"{name}: answers that were neither old nor new", found["wrong"], "", aim="0")
        yield Row(f"{name}: Envoy's CPU for a change", found["envoy"] * 1000, "ms", they.get("cpu"), by)
        yield Row(f"{name}: API's, gateway's and client's CPU for a change", found["python"] * 1000, "ms")
        yield Row(f"{name}: from nothing until all is live", found["start"], "s", they.get("start"), by)
        yield Row(f"{name}: memory of Envoy", found["memory"], "MB", they.get("memory"), by)


def theirs(hosts: int = THEIR_HOSTS, changes: int = THEIR_CHANGES) -> dict[str, float]:
    """Return Traefik's figures (ms, s, MB), none where there is no Traefik."""
    try:
        with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
            found = traefik_crds.measured(Path(directory), THEIR_PORT, hosts, changes)
    except PeerMissing as missing:
        print(f"without Traefik: {missing}", file=sys.stderr)
        return {}
    return {
        "median": statistics.median(found.seconds) * 1000,
        "longest": max(found.seconds) * 1000,
        "cpu": found.cpu_seconds * 1000,
        "start": found.start_seconds,
        "memory": found.memory_mb,
    }


async def measured(directory: Path, count: int, many: bool) -> dict[str, float]:
    from tests.conftest import Authority

    api = await open_api(ApiConfig(pki_dir=Authority(directory / "pki").directory))
    client = LocalClient(api, User("admin", ("system:masters", "system:authenticated")))
    config = GatewayConfig("127.0.0.1", directory / "run", directory / "state", directory / "log")
    config.make_folders()
    # an address of loopback serves here, and no EndpointSlice may name one: the Gateway's Service is not what is measured
    logging.getLogger("sampan.gateway").setLevel(logging.ERROR)
    result: dict[str, float] = {}
    try:
        await install(client)
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for number in range(count):
            await client.create(HTTP_ROUTES, route(number, "first"))
        listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
        gateway = {
            "apiVersion": GATEWAYS.api_version,
            "kind": GATEWAYS.kind,
            "metadata": {"name": "front", "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": listeners,
                "infrastructure": {"parametersRef": {"group": OWN_GROUP, "kind": PARAMETERS.kind, "name": "scale"}},
            },
        }
        parameters = {"apiVersion": PARAMETERS.api_version, "kind": PARAMETERS.kind, "spec": {"manyHosts": many}}
        await client.create(PARAMETERS, {**parameters, "metadata": {"name": "scale", "namespace": NAMESPACE}})
        await client.create(GATEWAYS, gateway)
        async with asyncio.TaskGroup() as group:
            agent = Agent(config, client, group)
            begun = time.perf_counter()
            await agent.run(lambda: None)
            result = await changes(agent, client, count, begun)
            raise Done
    except* Done:
        pass
    finally:
        await api.close()
    return result


class Done(Exception):
    """Ends the agent's tasks."""


async def changes(agent: Agent, client: LocalClient, count: int, begun: float) -> dict[str, float]:
    """Change one route after the other; return the times."""
    while not agent.pipeline.ports.known or agent.ads.acknowledged < agent.ads.sequence:
        await agent.ads.answered()
    port = next(iter(agent.pipeline.ports.known.values()))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    start = time.perf_counter() - begun
    await agent.telling.told.wait()  # the statuses of all routes are written in this process too
    pid = int((agent.config.run_dir / "envoy.pid").read_text())
    cpu, python, times, wrong = cpu_seconds(pid), time.process_time(), [], 0
    for turn in range(CHANGES):
        number, mark = turn * 7919 % count, f"mark-{turn}"
        wanted = route(number, mark)
        await client.patch(HTTP_ROUTES, f"r{number}", {"spec": wanted["spec"]}, NAMESPACE, type="merge")
        answered = time.perf_counter()
        while True:
            writer.write(f"GET / HTTP/1.1\r\nHost: h{number}.example.com\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if mark.encode() in head:
                break
            wrong += b"first" not in head
        times.append(time.perf_counter() - answered)
    writer.close()
    return {
        "median": statistics.median(times),
        "p99": sorted(times)[len(times) * 99 // 100 - 1],
        "wrong": float(wrong),
        "envoy": (cpu_seconds(pid) - cpu) / CHANGES,
        "python": (time.process_time() - python) / CHANGES,
        "start": start,
        "memory": memory_mb(pid),
    }


def route(number: int, mark: str) -> Object:
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": f"{mark}.example.org"}}
    spec = {
        "parentRefs": [{"name": "front"}],
        "hostnames": [f"h{number}.example.com"],
        "rules": [{"filters": [redirect]}],
    }
    return {
        "apiVersion": HTTP_ROUTES.api_version,
        "kind": HTTP_ROUTES.kind,
        "metadata": {"name": f"r{number}", "namespace": NAMESPACE},
        "spec": spec,
    }


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
