"""Traefik with its provider of custom resources, beside a Sampan cluster without nodes: many hosts, and how long a change of
one takes from the API's answer until it is live.

Each IngressRoute has a host of its own and redirects by a Middleware; a change names another Middleware, which is there from
the beginning. Both throttles are off (``providersThrottleDuration`` and the provider's own), so Traefik takes each change as
it comes. What it watches is defined without schemas where it is not there: the API asks it for no work that a Sampan gateway
is not asked for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peers.gateways import binary, process
from bench.processes import cpu_seconds, pss_kib
from bench.sampan import cluster
from sampan.client.http import HttpClient
from sampan.client.kubeconfig import Connection, load
from sampan.client.protocol import ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES
from sampan.gateway.install import create_if_missing, until_served
from sampan.schema.objects import Object

GROUP, VERSION = "traefik.io", "v1alpha1"
KINDS = (
    "IngressRoute",
    "IngressRouteTCP",
    "IngressRouteUDP",
    "Middleware",
    "MiddlewareTCP",
    "ServersTransport",
    "ServersTransportTCP",
    "TLSOption",
    "TLSStore",
    "TraefikService",
)
NAMESPACE = "scale"
AT_A_TIME = 50
FIRST = "first"


@dataclass(frozen=True, slots=True)
class Figures:
    seconds: list[float]
    """Of each change, from the API's answer until it is live."""
    cpu_seconds: float
    """Traefik's, of a change."""
    start_seconds: float
    """From Traefik's start until the last host is live."""
    memory_mb: float


def resource(kind: str) -> ResourceType:
    return ResourceType(GROUP, VERSION, f"{kind.lower()}s", kind)


def measured(home: Path, port: int, hosts: int, changes: int) -> Figures:
    """Measure in a folder, with Traefik on a port of loopback. Raises ``PeerMissing``."""
    binary("traefik")
    with cluster("bench-crds", pods="none") as ours:
        connection = load(Path(ours.kubeconfig))
        asyncio.run(fill(connection, hosts, changes))
        with traefik(home, port, ours.kubeconfig) as pid:
            return asyncio.run(changed(connection, pid, port, hosts, changes))


@contextmanager
def traefik(home: Path, port: int, kubeconfig: str) -> Iterator[int]:
    """Yield the pid of a Traefik that watches an API."""
    command = [
        "env",
        "--unset=KUBERNETES_SERVICE_HOST",
        f"KUBECONFIG={kubeconfig}",
        binary("traefik"),
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=ERROR",
        f"--entrypoints.web.address=127.0.0.1:{port}",
        "--providers.providersthrottleduration=0",
        "--providers.kubernetescrd.throttleduration=0",
    ]
    with process(command, home) as pid:
        yield pid


async def fill(connection: Connection, hosts: int, changes: int) -> None:
    """Make the kinds that are missing, a route for each host and a Middleware for each change."""
    async with opened(connection) as client:
        for kind in KINDS:
            await create_if_missing(client, CUSTOM_RESOURCE_DEFINITIONS, definition(kind))
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for kind in KINDS:
            await until_served(client, resource(kind))
        for name in (FIRST, *(f"mark-{turn}" for turn in range(changes))):
            await client.create(resource("Middleware"), middleware(name))
        for begin in range(0, hosts, AT_A_TIME):
            numbers = range(begin, min(begin + AT_A_TIME, hosts))
            await asyncio.gather(*(client.create(resource("IngressRoute"), route(number)) for number in numbers))


async def changed(connection: Connection, pid: int, port: int, hosts: int, changes: int) -> Figures:
    """Change one route after the other."""
    begun = time.perf_counter()
    await until_live(port, hosts - 1, FIRST)
    start = time.perf_counter() - begun
    cpu, times = cpu_seconds(pid), []
    async with opened(connection) as client:
        for turn in range(changes):
            number, mark = turn * 7919 % hosts, f"mark-{turn}"
            spec = route(number, mark)["spec"]
            await client.patch(resource("IngressRoute"), f"r{number}", {"spec": spec}, NAMESPACE, type="merge")
            answered = time.perf_counter()
            await until_live(port, number, mark)
            times.append(time.perf_counter() - answered)
    return Figures(times, (cpu_seconds(pid) - cpu) / changes, start, pss_kib(pid) / 1024)


@asynccontextmanager
async def opened(connection: Connection) -> AsyncIterator[HttpClient]:
    client = HttpClient(connection)
    try:
        yield client
    finally:
        await client.close()


async def until_live(port: int, number: int, mark: str, seconds: float = 600) -> None:
    """Return when a host is answered with a mark. It is asked a thousand times a second at most: to answer costs, too."""
    async with asyncio.timeout(seconds):
        while mark not in await head_of(port, number):  # noqa: ASYNC110 - another process changes its answer
            await asyncio.sleep(0.001)


async def head_of(port: int, number: int) -> str:
    """Return the head of an answer, ``""`` where nobody listens yet."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        await asyncio.sleep(0.05)
        return ""
    try:
        writer.write(f"GET / HTTP/1.1\r\nHost: h{number}.example.com\r\nConnection: close\r\n\r\n".encode())
        return (await reader.read()).decode()
    finally:
        writer.close()


def definition(kind: str) -> Object:
    plural = f"{kind.lower()}s"
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": VERSION, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def middleware(mark: str) -> Object:
    return named("Middleware", mark, {"redirectRegex": {"regex": ".*", "replacement": f"https://{mark}.example.org"}})


def route(number: int, mark: str = FIRST) -> Object:
    rule = {
        "kind": "Rule",
        "match": f"Host(`h{number}.example.com`)",
        "middlewares": [{"name": mark}],
        "services": [{"kind": "TraefikService", "name": "noop@internal"}],
    }
    return named("IngressRoute", f"r{number}", {"entryPoints": ["web"], "routes": [rule]})


def named(kind: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": kind, "metadata": metadata, "spec": spec}
