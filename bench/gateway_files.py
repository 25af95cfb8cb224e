"""A gateway from files with 10,000 routes and 5,000 Services beside Traefik with the same: memory, changes, flips under load.

A change is a file of its own with one route, whose header of the answer is another. Both are as they come: ours waits until
the directory is quiet, Traefik as its file provider does. A flip leads the route to another Service while it is under load.
Memory is PSS, as ``sampan status`` has it.
"""

from __future__ import annotations

import http.client
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.gateway import BACKEND, backend, envoy
from bench.gateway_peers import serving
from bench.peers import gateways
from bench.peers.etcd_apiserver import PeerMissing
from bench.plugins import PORT, named
from bench.processes import pss_kib
from bench.table import Row
from bench.wrk import load_of

ROUTES, SERVICES = 10_000, 5000
CHANGES, FLIPS = 20, 1000
THEIR_CHANGES, THEIR_FLIPS = 5, 20
"""It takes seconds for each."""
AFTERWARDS_SECONDS = 60
HOST = "changed.example.com"
Write = Callable[[str, int], None]
"""Serves the changed route with a mark, by a Service's number."""


def rows() -> Iterator[Row]:
    with envoy(backend("127.0.0.1")), tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            try:
                memory, times, lost = theirs(Path(folder))
            except PeerMissing as missing:
                print(f"without Traefik: {missing}", file=sys.stderr)
                memory, times, lost = None, [], None
        begun = time.perf_counter()
        with serving(Path(directory), {"all.json": json.dumps(objects())}) as pid:
            write = writer(Path(directory) / "config")
            until_live(write, "first", 0)
            yield Row("from nothing until all is live", time.perf_counter() - begun, "s")
            mine = [until_live(write, f"mark-{turn}", turn) for turn in range(CHANGES)]
            time.sleep(AFTERWARDS_SECONDS)  # the statuses of all routes are written
            peer = (statistics.median(times), max(times)) if times else (None, None)
            yield Row("change until live, median", statistics.median(mine) * 1000, "ms", peer[0], "Traefik")
            yield Row("change until live, longest", max(mine) * 1000, "ms", peer[1], "Traefik")
            yield Row("memory, gateway and Envoy", memory_mb(pid), "MB", memory, "Traefik", "<= 350 MB")
            for one, name in processes(pid).items():
                yield Row(f"memory of {name}", pss_kib(one) / 1024, "MB")
            failed, seconds = flips(write, FLIPS)
            peer_flips = f"Traefik, {THEIR_FLIPS} flips"
            yield Row(f"{FLIPS} flips under load: failed requests", failed, "", lost, peer_flips, "0")
            yield Row("a flip until it is live", seconds * 1000 / FLIPS, "ms")
            # each Service that was led to has connections that wait for more
            yield Row("memory after the flips", memory_mb(pid), "MB")
            time.sleep(AFTERWARDS_SECONDS)
            yield Row("memory a minute later", memory_mb(pid), "MB", aim="<= 350 MB")
            for one, name in processes(pid).items():
                yield Row(f"memory of {name}", pss_kib(one) / 1024, "MB")


def theirs(home: Path) -> tuple[float, list[float], float]:
    """Return Traefik's memory (MB), how long changes took (ms), and how many requests failed at its flips. Raises
    ``PeerMissing``."""
    routers = {f"r{n}": {"rule": f"Host(`h{n}.example.com`)", "service": f"s{n % SERVICES}"} for n in range(ROUTES)}
    servers = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{BACKEND}"}]}}
    every = {"http": {"routers": routers, "services": {f"s{n}": servers for n in range(SERVICES)}}}
    with gateways.traefik(home, PORT, {"all.yaml": every}) as pid:

        def write(mark: str, number: int) -> None:
            middleware = {"headers": {"customResponseHeaders": {"X-Bench": mark}}}
            router = {"rule": f"Host(`{HOST}`)", "service": f"s{number}", "middlewares": ["changed"]}
            made = {"http": {"routers": {"changed": router}, "middlewares": {"changed": middleware}}}
            replace(home / "dynamic" / "changed.yaml", json.dumps(made))

        until_live(write, "first", 0)
        times = [until_live(write, f"mark-{turn}", turn) * 1000 for turn in range(THEIR_CHANGES)]
        memory = memory_mb(pid)
        return memory, times, flips(write, THEIR_FLIPS)[0]


def objects() -> dict[str, Any]:
    listeners = [{"name": "http", "port": PORT, "protocol": "HTTP"}]
    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "many"}
    gateway = {"gatewayClassName": "sampan", "listeners": listeners, "infrastructure": {"parametersRef": reference}}
    items = [
        named("gateway.sampan.dev/v1alpha1", "GatewayParameters", "many", {"manyHosts": True}),
        named("gateway.networking.k8s.io/v1", "Gateway", "bench", gateway),
    ]
    for number in range(SERVICES):
        items.append(named("v1", "Service", f"s{number}", {"ports": [{"port": 80}]}))
        metadata = {"name": f"s{number}", "labels": {"kubernetes.io/service-name": f"s{number}"}}
        items.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": metadata,
                "addressType": "IPv4",
                "ports": [{"name": "", "port": BACKEND}],
                "endpoints": [{"addresses": ["127.0.0.1"]}],
            }
        )
    items += [route(f"r{number}", f"h{number}.example.com", number % SERVICES) for number in range(ROUTES)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def route(name: str, host: str, service: int, mark: str = "") -> dict[str, Any]:
    rule: dict[str, Any] = {"backendRefs": [{"name": f"s{service}", "port": 80}]}
    if mark:
        header = {"set": [{"name": "x-bench", "value": mark}]}
        rule["filters"] = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": header}]
    spec = {"parentRefs": [{"name": "bench"}], "hostnames": [host], "rules": [rule]}
    return named("gateway.networking.k8s.io/v1", "HTTPRoute", name, spec)


def writer(config: Path) -> Write:
    def write(mark: str, number: int) -> None:
        replace(config / "changed.json", json.dumps(route("changed", HOST, number, mark)))

    return write


def replace(file: Path, text: str) -> None:
    aside = file.with_name(f".{file.name}")
    aside.write_text(text)
    aside.rename(file)


def until_live(write: Write, mark: str, number: int, seconds: float = 300) -> float:
    """Return the seconds until an answer has the mark."""
    begun = time.perf_counter()
    write(mark, number)
    connection: http.client.HTTPConnection | None = None
    while time.perf_counter() - begun < seconds:
        try:
            connection = connection or http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
            connection.request("GET", "/", headers={"Host": HOST})
            answer = connection.getresponse()
            answer.read()
            if answer.headers.get("x-bench") == mark:
                connection.close()
                return time.perf_counter() - begun
            time.sleep(0.001)
        except (OSError, http.client.HTTPException):
            connection = None
            time.sleep(0.01)
    raise TimeoutError(f"{mark} is not live after {seconds:.0f} s")


def flips(write: Write, count: int) -> tuple[float, float]:
    """Return how many requests failed while the route was led elsewhere again and again, and the seconds that it took."""
    command = ["wrk", "-t1", "-c16", "-d3600s", "--latency", "-H", f"Host: {HOST}", f"http://127.0.0.1:{PORT}/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wrk:
        begun = time.perf_counter()
        try:
            for turn in range(count):
                until_live(write, f"flip-{turn}", turn % SERVICES)
        finally:
            wrk.send_signal(signal.SIGINT)
            output = wrk.communicate()[0]
    return failed_of(output), time.perf_counter() - begun


def failed_of(output: str) -> float:
    """Return how many requests failed, by what ``wrk`` printed. Raises ``LoadFailed`` where it measured nothing."""
    failed = 0
    kept = []
    for line in output.splitlines():
        if "Socket errors" in line or "Non-2xx" in line:
            failed += sum(int(word.rstrip(",")) for word in line.split() if word.rstrip(",").isdigit())
        else:
            kept.append(line)
    load_of("\n".join(kept))
    return float(failed)


def processes(pid: int) -> dict[int, str]:
    """Return a process and those that it has started, with their programs."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {one: Path(f"/proc/{one}/exe").readlink().name for one in (pid, *map(int, children))}


def memory_mb(pid: int) -> float:
    return sum(map(pss_kib, processes(pid))) / 1024
