"""Names of Services from a real API: queries a second by dnsperf, per second of the server's CPU, memory, and how soon a
record is live, beside CoreDNS with its ``kubernetes`` plugin on the same API.

Throughput: CoreDNS with the cache that it is usually run with. Liveness: with kubeadm's present Corefile, which keeps no
names of the cluster; each name is asked for in vain first, then its EndpointSlice is made.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.peers import coredns_server
from bench.peers.etcd_apiserver import PeerMissing
from bench.processes import cpu_seconds, running
from bench.table import Row
from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.http import HttpClient
from sampan.client.kubeconfig import load
from sampan.client.protocol import ResourceType
from sampan.client.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES

COUNTS = tuple(int(text) for text in os.environ.get("SAMPAN_BENCH_DNS", "1000,10000,100000").split(","))
ROUNDS, SECONDS, CLIENTS, OUTSTANDING = 7, 1, 8, 200
"""The servers take turns, so that what else the machine does hits both alike."""
EVENTS = 200
AT_ONCE, ATTEMPTS = 16, 5
NAMESPACE = "bench"
RANGE = ipaddress.ip_network("10.128.0.0/12")
"""Of the Services: a million addresses, added as a ServiceCIDR."""
SERVICE_CIDRS = ResourceType("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", namespaced=False)
PORT, PEER_PORT = 15353, 15354
OURS = """.:{port} {{
    errors
    prometheus 127.0.0.1:0
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        pods verified
        endpoint_pod_names
    }}
    loadbalance
}}
"""
PEERS = """. {{
    bind 127.0.0.1
    errors
    prometheus 127.0.0.1:0
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        startup_timeout 60s
    }}
    {cache}
    loadbalance
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    port: int
    pid: int

    def megabytes(self) -> float:
        found = re.search(r"^Rss:\s+(\d+)", Path(f"/proc/{self.pid}/smaps_rollup").read_text(), re.M)
        return int(found[1]) / 1024 if found else 0.0


def rows() -> Iterator[Row]:
    from tests.conftest import start_api_server

    if not shutil.which("dnsperf"):
        raise PeerMissing("dnsperf is not installed (apt-get install dnsperf)")
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        home = Path(directory)
        api = start_api_server(home, store=False)
        try:
            there = 0
            for count in COUNTS:
                asyncio.run(make(api.kubeconfig, there, count))
                there = count
                yield from throughput(home, api.kubeconfig, count)
            yield from liveness(home, api.kubeconfig)
        finally:
            api.process.terminate()
            api.process.wait(10)


async def make(kubeconfig: Path, first: int, end: int) -> None:
    client, room = HttpClient(load(kubeconfig)), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        ports = [{"name": "http", "port": 80}]
        spec = {"clusterIP": str(RANGE[number + 256]), "ports": ports}
        service = {"metadata": {"name": f"s{number}", "namespace": NAMESPACE}, "spec": spec}
        async with room:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await client.create(SERVICES, {"apiVersion": "v1", "kind": "Service", **service}, NAMESPACE)
                    return
                except ApiUnreachable:
                    if attempt == ATTEMPTS:
                        raise
                except ApiError as error:
                    if not error.already_exists:
                        raise
                    return  # an attempt before did it, and its answer was lost

    try:
        if not first:
            space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            await client.create(NAMESPACES, space)
            cidr = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "bench"}}
            await client.create(SERVICE_CIDRS, {**cidr, "spec": {"cidrs": [str(RANGE)]}})
        await asyncio.gather(*(one(number) for number in range(first, end)))
    finally:
        await client.close()


def throughput(home: Path, kubeconfig: Path, count: int) -> Iterator[Row]:
    names = home / "names"
    random.seed(count)
    wanted = (f"s{random.randrange(count)}.{NAMESPACE}.svc.cluster.local A" for _ in range(50_000))
    names.write_text("\n".join(wanted) + "\n")
    last = f"s{count - 1}.{NAMESPACE}.svc.cluster.local"
    with ExitStack() as stack:
        both = [stack.enter_context(one) for one in (ours(home, kubeconfig), coredns(home, kubeconfig, "cache 30"))]
        for server in both:
            until_known(server.port, last)
            dnsperf(server.port, names, 1)  # both are warm
        before = [cpu_seconds(server.pid) for server in both]
        runs = [[dnsperf(server.port, names, SECONDS) for server in both] for _ in range(ROUNDS)]
        spent = [cpu_seconds(server.pid) - begun for server, begun in zip(both, before, strict=True)]
        figures = [
            (
                statistics.median(run[at][0] for run in runs),
                sum(run[at][1] for run in runs) / spent[at],
                both[at].megabytes(),
            )
            for at in (0, 1)
        ]
    (rate, per_cpu, memory), (peer_rate, peer_per_cpu, peer_memory) = figures
    what, name = f"{count:,} names", "CoreDNS, cache 30"
    yield Row(f"queries, {what}", rate, "1/s", peer_rate, name, ">= 1.7x")
    yield Row(f"queries per CPU second, {what}", per_cpu, "1/s", peer_per_cpu, name, ">= 1.7x")
    yield Row(f"memory, {what}", memory, "MB", peer_memory, name)


def liveness(home: Path, kubeconfig: Path) -> Iterator[Row]:
    own = "cache 30 {\n disable success cluster.local\n disable denial cluster.local\n }"
    figures = []
    for prefix, server in (("o", ours(home, kubeconfig)), ("p", coredns(home, kubeconfig, own))):
        with server as running:
            until_known(running.port, f"s0.{NAMESPACE}.svc.cluster.local")
            figures.append(asyncio.run(delays(kubeconfig, running.port, prefix)))
    for what, at in (("median", 0.5), ("p99", 0.99)):
        one, peer = (sorted(found)[int(len(found) * at)] * 1000 for found in figures)
        aim = "<= 50 ms" if what == "p99" else ""
        yield Row(f"record live after its EndpointSlice's write, {what}", one, "ms", peer, "CoreDNS, kubeadm's", aim)


async def delays(kubeconfig: Path, port: int, prefix: str) -> list[float]:
    """Return the seconds from the API's answer to the write of a slice until its name is answered, for each of many."""
    client, found = HttpClient(load(kubeconfig)), []
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"peers-{prefix}", "namespace": NAMESPACE}}
    try:
        await client.create(SERVICES, {**service, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}, NAMESPACE)
        for number in range(EVENTS):
            name = f"h{number}.peers-{prefix}.{NAMESPACE}.svc.cluster.local"
            assert not asked(port, name)
            await client.create(ENDPOINT_SLICES, piece(prefix, number), NAMESPACE)
            begin = time.perf_counter()
            await asyncio.to_thread(until_known, port, name, pause=0)
            found.append(time.perf_counter() - begin)
    finally:
        await client.close()
    return found


def piece(prefix: str, number: int) -> dict[str, object]:
    labels = {"kubernetes.io/service-name": f"peers-{prefix}"}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{prefix}{number}", "namespace": NAMESPACE, "labels": labels},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [
            {"addresses": [f"10.1.{number >> 8}.{number & 255}"], "hostname": f"h{number}", "conditions": {}}
        ],
    }


@contextmanager
def ours(home: Path, kubeconfig: Path) -> Iterator[Server]:
    corefile = home / "Corefile.ours"
    corefile.write_text(OURS.format(port=PORT))
    command = [sys.executable, "-m", "sampan.cli.main", "dns", "serve", "--kubeconfig", str(kubeconfig)]
    command += ["--listen", f"127.0.0.1:{PORT}", "--config", str(corefile)]
    with running(command) as process:
        yield Server(PORT, process.pid)


@contextmanager
def coredns(home: Path, kubeconfig: Path, cache: str) -> Iterator[Server]:
    corefile = home / "Corefile.peer"
    corefile.write_text(PEERS.format(kubeconfig=kubeconfig, cache=cache))
    with running(coredns_server.command(corefile, PEER_PORT)) as process:
        yield Server(PEER_PORT, process.pid)


def until_known(port: int, name: str, seconds: float = 120, pause: float = 0.2) -> None:
    deadline = time.monotonic() + seconds
    while not asked(port, name):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server on port {port} does not know {name} after {seconds:.0f} s")
        time.sleep(pause)


def asked(port: int, name: str) -> bool:
    """Whether a server knows an address of a name."""
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(2)
        one.connect(("127.0.0.1", port))
        try:
            one.send(struct.pack("!HHHHHH", 1, 256, 1, 0, 0, 0) + wire + struct.pack("!HH", 1, 1))
            return one.recv(1500)[6:8] != b"\0\0"
        except OSError:
            return False


def dnsperf(port: int, names: Path, seconds: int) -> tuple[float, int]:
    """Return the queries a second, and how many were answered."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(port), "-d", str(names), "-l", str(seconds)]
    command += ["-c", str(CLIENTS), "-T", "1", "-q", str(OUTSTANDING)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Queries per second:\s+([\d.]+)", printed)
    completed = re.search(r"Queries completed:\s+(\d+)", printed)
    assert rate and completed, printed
    return float(rate[1]), int(completed[1])
