"""Services in the kernel: 1,000 of ten endpoints programmed, one of them changed, and what passes through.

The peer of the first two is ``nft -f`` of the table that kube-proxy's nftables mode writes for the same Services (a chain
for each Service's port and for each endpoint, KEP-3866; of a change the chain and the elements that it touches, as it does
since 1.33): kube-proxy itself does that and more. The peer of the throughput is two network namespaces joined by a bridge
alone. All of it happens in namespaces of the bench's own. Alone: ``python -m bench network``.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from types import SimpleNamespace
from typing import Any

from bench.namespaces import Namespaces, within
from bench.table import Row

SERVICES, ENDPOINTS, CHANGES = 1000, 10, 200
PODS, NODE = IPv4Network("10.250.0.0/18"), IPv4Address("10.250.255.2")
SERVICE_IP = "10.250.64.1"
TRANSFER_SECONDS, TRANSFERS = 1.0, 7


def rows() -> Iterator[Row]:
    with Namespaces() as spaces:
        whole, changes = within(spaces.new(), program)
        peer_whole, peer_changes = within(spaces.new(), program_as_kube_proxy)
    name = f"{SERVICES:,} Services x {ENDPOINTS} endpoints"
    yield Row(f"{name}: all in the kernel", whole * 1000, "ms", peer_whole * 1000, "nft -f of kube-proxy's table")
    peer = statistics.median(peer_changes) * 1000
    yield Row(
        "one changes: from the event to the kernel",
        statistics.median(changes) * 1000,
        "ms",
        peer,
        "nft -f of that",
        "<= 10",
    )
    yield Row(
        "the slowest of 200 changes", max(changes) * 1000, "ms", max(peer_changes) * 1000, "nft -f of that", "<= 10"
    )
    bare, direct, through = throughput()
    yield Row("TCP pod to pod", direct, "Gbit/s", bare, "two namespaces, a bridge", ">= 0.95x")
    yield Row("TCP pod to Service", through, "Gbit/s", bare, "two namespaces, a bridge", ">= 0.95x")


# the rules


def service(number: int) -> dict[str, Any]:
    address = str(IPv4Address("10.250.64.0") + number)
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    metadata = {"namespace": "bench", "name": f"web-{number}", "resourceVersion": "1", "uid": str(number)}
    return {"metadata": metadata, "spec": {"type": "ClusterIP", "clusterIP": address, "ports": ports}}


def endpoints_of(number: int, more: int = 0) -> list[str]:
    first = IPv4Address("10.250.0.2") + number * ENDPOINTS % 16000
    return [str(first + one) for one in range(ENDPOINTS + more)]


def slice_of(number: int, version: int = 1) -> dict[str, Any]:
    labels = {"kubernetes.io/service-name": f"web-{number}"}
    metadata = {"namespace": "bench", "name": f"web-{number}", "labels": labels, "uid": f"s{number}"}
    return {
        "metadata": {**metadata, "resourceVersion": str(version)},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        # every other change takes away what the one before has added
        "endpoints": [
            {"addresses": [a], "conditions": {"ready": True}} for a in endpoints_of(number, version % 2 == 0)
        ],
    }


def program() -> tuple[float, list[float]]:
    """Return the seconds for all Services, and for each of some changes, through the real proxy."""
    return asyncio.run(_program())


async def _program() -> tuple[float, list[float]]:
    from sampan.client.informer import Informer
    from sampan.client.resources import ENDPOINT_SLICES, NODES
    from sampan.client.resources import SERVICES as SERVICE_KIND
    from sampan.network.proxy_metrics import ProxyMetrics
    from sampan.network.service_proxy import ServiceProxy

    class Told(Informer):
        """A copy that is told of objects by the bench, not by an API."""

        async def synced(self) -> None:
            return None

    client: Any = SimpleNamespace(streams_lists=False)
    services, slices, nodes = (Told(client, kind) for kind in (SERVICE_KIND, ENDPOINT_SLICES, NODES))
    done = asyncio.Event()
    proxy = ServiceProxy(config(), services, slices, nodes, ProxyMetrics(), lambda changed: done.set())
    for number in range(SERVICES):
        services.take(service(number))
        slices.take(slice_of(number))
    async with asyncio.TaskGroup() as group:
        begin = time.perf_counter()
        work = group.create_task(proxy.run(lambda: None))
        await done.wait()
        whole = time.perf_counter() - begin
        spent = []
        for number in range(CHANGES):
            done.clear()
            begin = time.perf_counter()
            slices.take(slice_of(number // 2, 2 + number % 2))
            await done.wait()
            spent.append(time.perf_counter() - begin)
        work.cancel()
    return whole, spent


def config() -> Any:
    from sampan.network.service_table import ProxyConfig

    return ProxyConfig("node", (NODE,), (PODS,), inside=(PODS,))


# the peer's


def program_as_kube_proxy() -> tuple[float, list[float]]:
    base = """table ip kube-proxy {
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }
  chain mark-for-masquerade { mark set mark or 0x4000; }
  chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
}
"""
    lines = [line for number in range(SERVICES) for line in chains(number, endpoints_of(number))]
    elements = ", ".join(f"{IPv4Address('10.250.64.0') + n} . tcp . 80 : goto {chain(n)}" for n in range(SERVICES))
    text = base + "\n".join(lines) + f"\nadd element ip kube-proxy service-ips {{ {elements} }}\n"
    whole = nft(text)
    spent = []
    for number in range(CHANGES):
        before = endpoints_of(number // 2, number % 2)
        after = endpoints_of(number // 2, 1 - number % 2)
        spent.append(nft("\n".join(change(number // 2, before, after)) + "\n"))
    return whole, spent


def chain(number: int, endpoint: str = "") -> str:
    return f"endpoint-{number}/{endpoint}/8080" if endpoint else f"service-ABCDEFGH-bench/web-{number}/tcp/http"


def chains(number: int, endpoints: list[str]) -> Iterator[str]:
    yield f"add chain ip kube-proxy {chain(number)}"
    for endpoint in endpoints:
        yield from endpoint_chain(number, endpoint)
    yield f"add rule ip kube-proxy {chain(number)} {picked(number, endpoints)}"


def endpoint_chain(number: int, endpoint: str) -> Iterator[str]:
    name = chain(number, endpoint)
    yield f"add chain ip kube-proxy {name}"
    yield f"add rule ip kube-proxy {name} ip saddr {endpoint} jump mark-for-masquerade"
    yield f"add rule ip kube-proxy {name} meta l4proto tcp dnat to {endpoint}:8080"


def picked(number: int, endpoints: list[str]) -> str:
    listed = ", ".join(f"{at} : goto {chain(number, endpoint)}" for at, endpoint in enumerate(endpoints))
    return f"numgen random mod {len(endpoints)} vmap {{ {listed} }}"


def change(number: int, before: list[str], after: list[str]) -> Iterator[str]:
    for endpoint in after:
        if endpoint not in before:
            yield from endpoint_chain(number, endpoint)
    yield f"flush chain ip kube-proxy {chain(number)}"
    yield f"add rule ip kube-proxy {chain(number)} {picked(number, after)}"
    for endpoint in before:
        if endpoint not in after:
            yield f"flush chain ip kube-proxy {chain(number, endpoint)}"
            yield f"delete chain ip kube-proxy {chain(number, endpoint)}"


def nft(text: str) -> float:
    begin = time.perf_counter()
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
    return time.perf_counter() - begin


# what passes through

SERVER = """
import socket
s = socket.create_server(("0.0.0.0", 8080))
print("ready", flush=True)
buffer = bytearray(1 << 20)
while True:
    c, _ = s.accept()
    with c:
        while c.recv_into(buffer):
            pass
"""
CLIENT = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
data, sent = bytes(1 << 20), 0
end = time.perf_counter() + float(sys.argv[3])
begin = time.perf_counter()
while time.perf_counter() < end:
    s.sendall(data)
    sent += len(data)
print(sent * 8 / (time.perf_counter() - begin) / 1e9)
"""


def throughput() -> tuple[float, float, float]:
    """Return the medians of runs that take turns: bare namespaces, pod to pod, pod to Service."""
    with ExitStack() as stack:
        spaces = stack.enter_context(Namespaces())
        bare = joined_by_a_bridge(spaces)
        pods = pods_of_a_node(spaces)
        for server in (bare[1], pods[1]):
            spaces.start(server, sys.executable, "-c", SERVER)
        ways: list[Callable[[], float]] = [
            lambda: sent(spaces, bare[0], "192.168.77.2", 8080),
            lambda: sent(spaces, pods[0], "10.250.0.3", 8080),
            lambda: sent(spaces, pods[0], SERVICE_IP, 80),
        ]
        found = [[way() for way in ways] for _ in range(TRANSFERS)]
    first, second, third = (statistics.median(run[at] for run in found) for at in range(3))
    return first, second, third


def sent(spaces: Namespaces, client: str, address: str, port: int) -> float:
    return float(spaces.run(client, sys.executable, "-c", CLIENT, address, str(port), str(TRANSFER_SECONDS)))


def joined_by_a_bridge(spaces: Namespaces) -> tuple[str, str]:
    middle, ends = spaces.new(), (spaces.new(), spaces.new())
    spaces.run(middle, "ip", "link", "add", "br0", "type", "bridge")
    spaces.run(middle, "ip", "link", "set", "br0", "up")
    for number, end in enumerate(ends, 1):
        peer = ("type", "veth", "peer", "name", "eth0", "netns", end.split("/")[2])
        spaces.run(middle, "ip", "link", "add", f"v{number}", *peer)
        spaces.run(middle, "ip", "link", "set", f"v{number}", "master", "br0", "up")
        spaces.run(end, "ip", "address", "add", f"192.168.77.{number}/24", "dev", "eth0")
        spaces.run(end, "ip", "link", "set", "eth0", "up")
    return ends


def pods_of_a_node(spaces: Namespaces) -> tuple[str, str]:
    from sampan.network.cni import Plugin
    from sampan.network.cni_call import Call
    from sampan.network.node_network import switch
    from sampan.network.rule_table import RuleTable
    from sampan.network.service_kernel import ServiceKernel
    from sampan.network.services import rules_of

    node, pods = spaces.new(), (spaces.new(), spaces.new())

    def work() -> None:
        switch()
        plugin = Plugin([PODS])
        plugin.prepare()
        for number, pod in enumerate(pods):
            variables = {"CONTAINERID": f"pod{number}", "IFNAME": "eth0", "NETNS": pod, "COMMAND": "ADD"}
            plugin.add(Call("sampan", variables, {"cniVersion": "1.0.0"}))
        table = RuleTable(config())
        piece = {**slice_of(1), "endpoints": [{"addresses": ["10.250.0.3"], "conditions": {"ready": True}}]}
        table.update({"bench/web-1": rules_of(service(1), [piece], config())})
        # among a thousand others
        table.update({f"bench/web-{n}": rules_of(service(n), [slice_of(n)], config()) for n in range(2, SERVICES)})
        kernel = ServiceKernel(config())
        kernel.adopt(table)

    within(node, work)
    return pods


if __name__ == "__main__":
    print(json.dumps([[row.work, row.ours, row.peer] for row in rows()], indent=1))
