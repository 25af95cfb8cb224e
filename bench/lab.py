"""Laboratories: 100 nodes, 200 links, 20 subnets up and down, beside a script of ``ip`` that does the same.

The script is the quickest one that ``ip`` allows: one ``ip -batch`` for namespaces and links, one for each namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.table import Row, median_of
from sampan.lab import Lab
from sampan.lab.plan import FABRIC, Plan, PlannedNode
from sampan.lab.planning import plan
from sampan.lab.reading import read

RUNS = 3
SITES, NODES = 19, 100
SCRIPT = "a script of ip -batch"


def topology() -> dict[str, Any]:
    """19 sites, each with a router to the backbone; 81 nodes in two sites each."""
    routers = [{"name": f"r{i}", "router": True, "interfaces": [f"site{i}", "backbone"]} for i in range(SITES)]
    nodes = [
        {"name": f"n{i}", "interfaces": [f"site{i % SITES}", f"site{(i % SITES + 1 + i // SITES) % SITES}"]}
        for i in range(NODES - SITES)
    ]
    return {"subnets": ["backbone", *(f"site{i}" for i in range(SITES))], "nodes": [*routers, *nodes]}


def rows() -> Iterator[Row]:
    if os.geteuid() != 0:
        return
    made = plan(read(topology()))
    size = f"{len(made.nodes)} nodes, {len(made.cables)} links, {len(made.subnets)} subnets"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bench.json"
        file.write_text(json.dumps(topology()))
        peers = [of_script(made, Path(folder)) for _ in range(RUNS)]
        peer_up, peer_down = (sorted(times)[RUNS // 2] for times in zip(*peers, strict=True))
        plain = [of_lab(file, "--no-check") for _ in range(RUNS)]
        checked = [of_lab(file) for _ in range(RUNS)]
    up, down = (sorted(times)[RUNS // 2] for times in zip(*plain, strict=True))
    yield Row(f"{size}: up, not checked", up, "s", peer_up, SCRIPT, "faster")
    yield Row(
        "  up, every pair checked", sorted(times[0] for times in checked)[RUNS // 2], "s", peer_up, SCRIPT, "<= 1 s"
    )
    yield Row("  down", down, "s", peer_down, SCRIPT, "<= 0.3 s")
    yield Row("a laboratory of 3 nodes for a test, up and down", median_of(5, small) * 1000, "ms")


def of_lab(file: Path, *options: str) -> tuple[float, float]:
    """Return how long ``sampan lab up`` and ``down`` take, their processes included."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "sampan.cli.main", "lab"]
    up = timed([*command, "up", "--name", name, *options, str(file)])
    return up, timed([*command, "down", name])


def timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def small() -> float:
    begun = time.perf_counter()
    ends = [["a", "r"], ["r", "b"]]
    with Lab(nodes=[{"name": "a"}, {"name": "r", "router": True}, {"name": "b"}], links=[{"ends": e} for e in ends]):
        pass
    return time.perf_counter() - begun


# the peer


def of_script(made: Plan, folder: Path) -> tuple[float, float]:
    """Return how long the script takes for up and down."""
    prefix = f"bench{uuid.uuid4().hex[:6]}-"
    spaces = [prefix + name for name in (FABRIC or "fabric", *made.nodes)]
    batch = [f"netns add {space}" for space in spaces]
    first = folder / f"{prefix}all"
    first.write_text("\n".join(batch) + "\n")
    script = ["set -e", f"ip -batch {first}"]
    script.append(batch_in(f"{prefix}fabric", bridges(made, prefix), folder))
    for node in made.nodes.values():
        script.append(batch_in(prefix + node.name, settings(node), folder))
        if node.router:
            script.append(f"ip netns exec {prefix}{node.name} sysctl -qw net.ipv4.ip_forward=1")
    up, down = folder / f"{prefix}up.sh", folder / f"{prefix}down"
    up.write_text("\n".join([*script, ""]))
    down.write_text("\n".join([*(f"netns del {space}" for space in spaces), ""]))
    try:
        took = timed(["sh", str(up)])
    finally:
        begun = time.perf_counter()
        subprocess.run(["ip", "-batch", str(down)], check=True)
        gone = time.perf_counter() - begun
    return took, gone


def batch_in(space: str, lines: list[str], folder: Path) -> str:
    file = folder / space
    file.write_text("\n".join([*lines, ""]))
    return f"ip -n {space} -batch {file}"


def bridges(made: Plan, prefix: str) -> list[str]:
    lines = [f"link add {bridge.name} up type bridge mcast_snooping 0" for bridge in made.bridges.values()]
    for cable in made.cables.values():
        port, other = cable.ends
        peer = f"peer name {other.name} address {other.mac} netns {prefix}{other.place}"
        lines.append(f"link add {port.name} up master {made.bridges[port.bridge].name} type veth {peer}")
    return lines


def settings(node: PlannedNode) -> list[str]:
    lines = ["link set lo up"]
    for one in node.interfaces:
        lines.append(f"link set {one.name} addrgenmode none up")
        lines += [f"addr add {address} dev {one.name}" for address in one.addresses]
    return [*lines, *(f"route add {route.to} via {route.via}" for route in node.routes)]
