"""The gateway beside Traefik, HAProxy and nginx: requests per second, the 99th percentile, and CPU time for each request.

All are on loopback, each in its turn, before the same backend, an Envoy that answers by itself; each with a thread for every
processor. Ours is one from files, anew for each work, with the one plugin that does it. Where processors are few the load and
the backend take from the same ones: CPU for a request tells more than requests per second. The plugins are Python in ours; in
Traefik, Go for Yaegi that does the same.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.gateway import BACKEND, envoy, listener, plugin_text, until_answers
from bench.peers import gateways
from bench.peers.etcd_apiserver import PeerMissing
from bench.plugins import PORT, base_objects, cpu_of_all, gateway_of, named, route
from bench.table import Row
from bench.wrk import load

CONNECTIONS = (32, 512)
WORKERS = tuple(dict.fromkeys((os.cpu_count() or 1, 1)))
"""Threads of Envoy: Traefik takes all processors. Python has one lock for all of them."""
SECONDS = 5
EXAMPLES = Path(__file__).parent.parent / "examples" / "plugins"
KEY, STAMP = "correct horse", "1700000000"
HMAC = {"keys": {"ann": KEY}, "maxAgeSeconds": 0}
BODY = {"remove": ["password", "token"]}
PERSON = {"name": "Ann", "password": "secret", "roles": ["reader", "writer"], "session": {"token": "t", "age": 3}}
JSON = json.dumps({"people": [{**PERSON, "id": number} for number in range(20)]})
"""About 2.3 kB."""
SIGNED = {
    "X-Key": "ann",
    "X-Timestamp": STAMP,
    "X-Signature": hmac.new(KEY.encode(), f"{STAMP}\nGET\n/hmac".encode(), hashlib.sha256).hexdigest(),
}


@dataclass(frozen=True, slots=True)
class Work:
    path: str
    name: str
    headers: dict[str, str]
    aim: str


WORKS = (
    Work("native", "header middleware", {}, ">= 1.4x"),
    Work("header", "plugin that adds a header", {}, ">= 1x"),
    Work("hmac", "plugin that checks an HMAC", SIGNED, ">= 3x"),
    Work("body", "plugin that rewrites JSON", {}, ">= 3x"),
)


@dataclass(frozen=True, slots=True)
class Figures:
    rate: float
    p99_ms: float
    cpu_us: float


Found = dict[tuple[str, int], Figures]
Start = Callable[[Path], AbstractContextManager[int]]


def rows() -> Iterator[Row]:
    with envoy(backend()):
        ours: dict[int, Found] = {workers: {} for workers in WORKERS}
        for work in WORKS:
            for workers, found in ours.items():
                found |= measured(partial(sampan, work, workers), (work,))
        for name, start, works in (
            ("Traefik", traefik, WORKS),
            ("HAProxy", haproxy, WORKS[:1]),
            ("nginx", nginx, WORKS[:1]),
        ):
            try:
                theirs = measured(start, works)
            except PeerMissing as missing:
                print(f"without {name}: {missing}", file=sys.stderr)
                theirs = {}
            if theirs or name == "Traefik":
                for workers, found in ours.items():
                    yield from beside(name, found, theirs, works, "" if workers > 1 else ", one worker")


def beside(name: str, ours: Found, theirs: Found, works: tuple[Work, ...], how: str) -> Iterator[Row]:
    """Yield the rows of ours beside one peer; the aims are those of Traefik."""
    for work in works:
        for connections in CONNECTIONS:
            mine, other = ours[work.path, connections], theirs.get((work.path, connections))
            called = f"{work.name}, {connections} c{how}"
            aim = work.aim if name == "Traefik" else "report"
            yield Row(f"{called}: requests", mine.rate, "1/s", other.rate if other else None, name, aim)
            yield Row(f"{called}: p99", mine.p99_ms, "ms", other.p99_ms if other else None, name)
            yield Row(f"{called}: CPU", mine.cpu_us, "us", other.cpu_us if other else None, name)


def measured(start: Start, works: tuple[Work, ...]) -> Found:
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory, start(Path(directory)) as pid:
        for work in works:
            url = f"http://127.0.0.1:{PORT}/{work.path}"
            for connections in CONNECTIONS:
                load(url, connections=connections, seconds=1, headers=work.headers)
                before, begun = cpu_of_all(pid), time.perf_counter()
                got = load(url, connections=connections, seconds=SECONDS, headers=work.headers)
                cost = (cpu_of_all(pid) - before) / (got.rate * (time.perf_counter() - begun))
                found[work.path, connections] = Figures(got.rate, got.p99_ms, cost * 1e6)
    return found


def backend() -> dict[str, Any]:
    """Return an Envoy's configuration that answers ``/body`` with JSON and all else with a word."""

    def answer(prefix: str, body: str, kind: str) -> dict[str, Any]:
        header = {"header": {"key": "content-type", "value": kind}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        direct = {"status": 200, "body": {"inline_string": body}}
        return {"match": {"prefix": prefix}, "direct_response": direct, "response_headers_to_add": [header]}

    made = listener("127.0.0.1", BACKEND, answer("/", "ok\n", "text/plain"))
    host = made["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]
    host["routes"].insert(0, answer("/body", JSON, "application/json"))
    return {"static_resources": {"listeners": [made]}}


@contextmanager
def sampan(work: Work, workers: int, home: Path) -> Iterator[int]:
    """Yield the pid of a gateway from files that does one work, with so many threads."""
    (home / "header").mkdir()
    (home / "header/plugin.py").write_text(plugin_text("yes"))
    objects = [*base_objects()]
    header = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "x-bench", "value": "yes"}]},
    }
    objects.append(filtered("native", header))
    for name, spec in (
        ("header", {"path": str(home / "header")}),
        ("hmac", {"path": str(EXAMPLES / "hmac"), "settings": HMAC}),
        ("body", {"path": str(EXAMPLES / "body"), "settings": BODY}),
    ):
        if name != work.path:
            continue
        objects.append(named("gateway.sampan.dev/v1alpha1", "Plugin", name, spec))
        reference = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": name}
        objects.append(filtered(name, {"type": "ExtensionRef", "extensionRef": reference}))
    text = "\n---\n".join(map(json.dumps, objects))
    with serving(home, {"all.yaml": text}, "--workers", str(workers)) as pid:
        until_answered(work)
        yield pid


def filtered(name: str, item: dict[str, Any]) -> dict[str, Any]:
    made = route(name)
    made["spec"]["rules"][0]["filters"] = [item]
    return made


@contextmanager
def serving(home: Path, files: dict[str, str], *options: str) -> Iterator[int]:
    """Yield the pid of a gateway from the files, in ``home / "config"``."""
    config = home / "config"
    config.mkdir()
    for name, text in files.items():
        (config / name).write_text(text)
    log = home / f"log-{uuid.uuid4().hex[:6]}"
    with gateway_of(config, log, *options) as started:
        yield started.pid


@contextmanager
def traefik(home: Path) -> Iterator[int]:
    middlewares = {
        "native": {"headers": {"customResponseHeaders": {"X-Bench": "yes"}}},
        "header": {"plugin": {"header": {"value": "yes"}}},
        "hmac": {"plugin": {"hmac": HMAC}},
        "body": {"plugin": {"body": BODY}},
    }
    routers = {
        name: {"rule": f"PathPrefix(`/{name}`)", "service": "bench", "middlewares": [name]} for name in middlewares
    }
    services = {"bench": {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{BACKEND}"}]}}}
    http = {"routers": routers, "middlewares": middlewares, "services": services}
    with gateways.traefik(home, PORT, {"all.yaml": {"http": http}}) as pid:
        until_all_answer()
        yield pid


@contextmanager
def haproxy(home: Path) -> Iterator[int]:
    with gateways.haproxy(home, PORT, BACKEND) as pid:
        until_answers(f"http://127.0.0.1:{PORT}/")
        yield pid


@contextmanager
def nginx(home: Path) -> Iterator[int]:
    with gateways.nginx(home, PORT, BACKEND) as pid:
        until_answers(f"http://127.0.0.1:{PORT}/")
        yield pid


def until_all_answer() -> None:
    """Wait until every path does what it is for."""
    for work in WORKS:
        until_answered(work)


def until_answered(work: Work) -> None:
    """Wait until a path does what it is for."""
    deadline = time.monotonic() + 60
    while True:
        asked = urllib.request.Request(f"http://127.0.0.1:{PORT}/{work.path}", headers=work.headers)
        try:
            with urllib.request.urlopen(asked, timeout=5) as answer:
                text, marked = answer.read().decode(), answer.headers.get("x-bench") == "yes"
            if work.path == "body" and "people" in text and "secret" not in text:
                break
            if work.path == "hmac" or (work.path in ("native", "header") and marked):
                break
            why = f"it answered {text[:80]!r}"
        except OSError as error:
            why = str(error)
        if time.monotonic() > deadline:
            raise TimeoutError(f"/{work.path} does not do what it is for: {why}")
        time.sleep(0.05)
