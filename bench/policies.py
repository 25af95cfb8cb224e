"""NetworkPolicies of a large cluster: all programmed, one pod changed, and what a packet pays for the policies of others.

The kernel's part is measured in network namespaces of its own (root): two pods as the CNI plugin makes them, TCP round trips
between them without policies, with one, and with one beside a thousand of other pods.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from bench.table import Row
from sampan.network import nft
from sampan.network.policy_model import network_policy, pod_facts
from sampan.network.policy_state import PolicyState

PODS, POLICIES, NAMESPACES = 10_000, 1_000, 100
ROUND_TRIPS, RUNS = 2_000, 5
PORT = 7000


def rows() -> Iterator[Row]:
    state, seconds = built()
    yield Row(f"{POLICIES:,} policies, {PODS:,} pods: rules computed", seconds, "s")
    yield Row("one pod's labels change: rules computed", changed(state) * 1000, "ms", aim="<= 10 ms")
    if os.geteuid() == 0:
        done = subprocess.run(
            ["unshare", "--net", sys.executable, "-m", "bench.policies"], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        yield Row("the whole table taken by the kernel", found["whole"], "s")
        name = f"TCP round trip, {POLICIES:,} policies of others"
        yield Row(name, found["others"], "us", found["none"], "no policy at all", aim="<= 1.1x")


def pod(number: int, namespace: str, labels: dict[str, str], address: str) -> Any:
    metadata = {"namespace": namespace, "name": f"p{number}", "uid": str(number), "labels": labels}
    return pod_facts({"metadata": metadata, "spec": {}, "status": {"phase": "Running", "podIPs": [{"ip": address}]}})


def policy(namespace: str, name: str, **spec: Any) -> Any:
    return network_policy({"metadata": {"namespace": namespace, "name": name}, "spec": spec})


def built(pods: int = PODS, policies: int = POLICIES) -> tuple[PolicyState, float]:
    begun = time.perf_counter()
    state = PolicyState()
    for number in range(NAMESPACES):
        state.set_namespace(f"n{number}", {"team": str(number % 10)})
    for number in range(pods):
        address = f"10.{10 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        facts = pod(number, f"n{number % NAMESPACES}", {"app": str(number % 50)}, address)
        state.set_pod(facts.key, facts)
    for number in range(policies):
        from_ = [
            {"podSelector": {"matchLabels": {"app": str((number + 1) % 50)}}},
            {"namespaceSelector": {"matchLabels": {"team": str(number % 10)}}},
        ]
        one = policy(
            f"n{number % NAMESPACES}",
            f"policy{number}",
            podSelector={"matchLabels": {"app": str(number % 50)}},
            policyTypes=["Ingress"],
            ingress=[{"from": from_, "ports": [{"protocol": "TCP", "port": 80}]}],
        )
        state.set_policy(one.owner, one)
    state.flush()
    return state, time.perf_counter() - begun


def changed(state: PolicyState) -> float:
    """Return the seconds that a pod's new labels take, the best of some."""
    best = float("inf")
    for turn in range(20):
        begun = time.perf_counter()
        facts = pod(7, "n7", {"app": str(turn % 50)}, "10.10.0.7")
        state.set_pod(facts.key, facts)
        state.flush()
        best = min(best, time.perf_counter() - begun)
    return best


def within() -> dict[str, float]:
    """The part that needs a network namespace of its own."""
    from sampan.network.cni_attachment import Attachment, connect, make_bridge
    from sampan.network.netns import entered
    from sampan.network.pod_addresses import INNER, OUTER, mac_of

    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    gateway = ip_address("10.9.0.1")
    bridge = make_bridge("sampan0", [(gateway, 16)], 1500)
    holders = [
        subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE) for _ in "ab"
    ]
    opened = []
    for number, holder in enumerate(holders, 2):
        assert holder.stdout is not None
        holder.stdout.readline()
        opened.append(os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY))
        address = ip_address(f"10.9.0.{number}")
        macs = (mac_of(address, OUTER), mac_of(address, INNER))
        connect(Attachment(f"pod{number}", "eth0", (address,), (gateway,), *macs), bridge, opened[-1])
    with entered(opened[1]):
        server = socket.create_server(("0.0.0.0", PORT))
    child = os.fork()
    if child == 0:
        echo(server)
    try:
        none = round_trip(opened[0])
        state, _ = built()
        for number, name in ((2, "client"), (3, "server")):
            facts = pod(PODS + number, "n0", {"role": name}, f"10.9.0.{number}")
            state.set_pod(facts.key, facts)
        ports = [{"protocol": "TCP", "port": PORT}]
        one = policy("n0", "one", podSelector={"matchLabels": {"role": "server"}}, ingress=[{"ports": ports}])
        state.set_policy(one.owner, one)
        state.flush()
        begun = time.perf_counter()
        nft.run(state.ledger.whole())
        whole = time.perf_counter() - begun
        return {"none": none, "whole": whole, "others": round_trip(opened[0])}
    finally:
        os.kill(child, 9)
        for holder in holders:
            holder.kill()


def echo(server: socket.socket) -> None:
    while True:
        connection, _ = server.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(64):
            connection.sendall(data)


def round_trip(netns: int) -> float:
    """Return microseconds, the best of some runs."""
    from sampan.network.netns import entered

    with entered(netns):
        client = socket.socket()
    best = float("inf")
    with client:
        client.connect(("10.9.0.3", PORT))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(RUNS):
            begun = time.perf_counter()
            for _ in range(ROUND_TRIPS):
                client.sendall(b"x")
                client.recv(1)
            best = min(best, (time.perf_counter() - begun) / ROUND_TRIPS)
    return best * 1e6


if __name__ == "__main__":
    print(json.dumps(within()))
