"""``sampan net proxy`` beside kube-proxy's nftables mode: 1,000 Services of ten endpoints from one API, then one changes.

Both run one after the other in a network namespace of the bench's own, on the same API in the same namespace. What is in
the kernel is told by the kernel: ``nft monitor`` for a change, ``nft list`` for all. kube-proxy syncs once a second at most;
changes come further apart than that, so that none waits for it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.namespaces import Namespaces, within
from bench.network import ENDPOINTS, SERVICES, service, slice_of
from bench.peers import kube_proxy
from bench.peers.etcd_apiserver import PeerMissing
from bench.processes import cpu_seconds, running
from bench.table import Row

COUNT = int(os.environ.get("SAMPAN_BENCH_PROXIES", SERVICES))
CHANGES, BETWEEN_SECONDS, DEADLINE_SECONDS = 12, 1.5, 300.0
AT_ONCE = 16
NODE, NODE_IP, CLUSTER_CIDR = "worker", "10.250.255.2", "10.250.0.0/18"
SERVICE_CIDR = "10.250.64.0/18"
TABLES = {"ours": "sampan-services", "peer": "kube-proxy"}
MAPS = {"ours": "service_ips", "peer": "service-ips"}


class Figures(NamedTuple):
    seconds: float
    """From the start of the process to the last Service in the kernel."""
    cpu_seconds: float
    change_ms: float
    """From the API's answer to the kernel's news."""
    change_cpu_ms: float
    megabytes: float


def rows() -> Iterator[Row]:
    kube_proxy.command(Path(), NODE, CLUSTER_CIDR)
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as home, Namespaces() as spaces:
        ours, peer = within(spaces.new(), lambda: of_both(Path(home)))
    name, other = f"{COUNT:,} Services x {ENDPOINTS} endpoints", "kube-proxy, nftables"
    yield Row(f"{name}: from the start to all in the kernel", ours.seconds, "s", peer.seconds, other, "faster")
    yield Row("  of a CPU", ours.cpu_seconds, "s", peer.cpu_seconds, other, "less")
    yield Row("one changes: from the API's answer to the kernel", ours.change_ms, "ms", peer.change_ms, other, "<= 10")
    yield Row("  of a CPU", ours.change_cpu_ms, "ms", peer.change_cpu_ms, other, "less")
    yield Row("memory", ours.megabytes, "MB", peer.megabytes, other)


def of_both(home: Path) -> tuple[Figures, Figures]:
    subprocess.run(["ip", "address", "add", f"{NODE_IP}/32", "dev", "lo"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    return asyncio.run(measure(home))


async def measure(home: Path) -> tuple[Figures, Figures]:
    from sampan.client.http import HttpClient
    from sampan.client.kubeconfig import load
    from tests.conftest import start_api_server

    api = start_api_server(home, store=False)
    client = HttpClient(load(api.kubeconfig))
    try:
        await fill(client)
        sampan = [sys.executable, "-m", "sampan.cli.main", "net", "proxy", "--kubeconfig", str(api.kubeconfig)]
        sampan += ["--node", NODE, "--cluster-cidr", CLUSTER_CIDR, "--healthz-port", "0", "--metrics-port", "0"]
        ours = await of(client, "ours", sampan)
        await asyncio.to_thread(subprocess.run, [*sampan, "--cleanup"], check=True)
        return ours, await of(client, "peer", kube_proxy.command(api.kubeconfig, NODE, CLUSTER_CIDR))
    finally:
        await client.close()
        api.process.kill()
        api.process.wait(10)


async def fill(client: Any) -> None:
    from sampan.client.protocol import ResourceType
    from sampan.client.resources import ENDPOINT_SLICES, NAMESPACES, NODES
    from sampan.client.resources import SERVICES as SERVICE_KIND

    cidrs = ResourceType("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False)
    cidr = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "bench"}}
    await client.create(cidrs, {**cidr, "spec": {"cidrs": [SERVICE_CIDR]}})
    await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}})
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"podCIDR": "10.250.0.0/24"}}
    await client.create(NODES, node)
    addresses = [{"type": "InternalIP", "address": NODE_IP}]
    await client.patch(NODES, NODE, {"status": {"addresses": addresses}}, subresource="status")
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        made, piece = service(number), slice_of(number)
        for each in (made, piece):
            each["metadata"].pop("resourceVersion")
            each["metadata"].pop("uid")
        async with room:
            await client.create(SERVICE_KIND, {"apiVersion": "v1", "kind": "Service", **made}, "bench")
            whole = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **piece}
            await client.create(ENDPOINT_SLICES, whole, "bench")

    await asyncio.gather(*(one(number) for number in range(1, COUNT + 1)))


async def of(client: Any, whose: str, command: list[str]) -> Figures:
    from sampan.client.resources import ENDPOINT_SLICES

    begun = time.perf_counter()
    with running(command) as process:
        await asyncio.to_thread(until_whole, whose, process)
        seconds, cpu = time.perf_counter() - begun, cpu_seconds(process.pid, with_ended=True)
        delays, spent = [], []
        with monitor() as told:
            for number in range(CHANGES):
                await asyncio.sleep(BETWEEN_SECONDS)
                before = cpu_seconds(process.pid, with_ended=True)
                piece = slice_of(number // 2 + 1, 2 + number % 2)
                # a reader in wait, so that the time is the kernel's
                news = asyncio.create_task(asyncio.to_thread(told.stdout.readline))
                await client.patch(
                    ENDPOINT_SLICES, f"web-{number // 2 + 1}", {"endpoints": piece["endpoints"]}, "bench"
                )
                answered = time.perf_counter()
                assert await news, "nft monitor has ended"
                delays.append(time.perf_counter() - answered)
                await asyncio.sleep(BETWEEN_SECONDS / 2)
                spent.append(cpu_seconds(process.pid, with_ended=True) - before)
                drain(told)
        memory = megabytes(process.pid)
    return Figures(seconds, cpu, statistics.median(delays) * 1000, statistics.mean(spent) * 1000, memory)


@contextmanager
def monitor() -> Iterator[Any]:
    process = subprocess.Popen(["nft", "monitor"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def drain(told: Any) -> None:
    """Read what else there is of a change."""
    os.set_blocking(told.stdout.fileno(), False)
    while told.stdout.read1(1 << 20):
        pass
    os.set_blocking(told.stdout.fileno(), True)


def until_whole(whose: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the last Service leads somewhere."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    wanted = [f"{service(number)['spec']['clusterIP']} " for number in range(1, COUNT + 1)]
    while True:
        listed = subprocess.run(
            ["nft", "list", "map", "ip", TABLES[whose], MAPS[whose]], capture_output=True, text=True
        ).stdout
        if all(one in listed for one in wanted):
            return
        if process.poll() is not None:
            raise PeerMissing(f"{process.args} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise PeerMissing(f"{process.args} did not bring all Services into the kernel")
        time.sleep(0.1)


def megabytes(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
