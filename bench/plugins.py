"""What a request costs through each kind of plugin that sets a header of the answer, beside Envoy's own filter for it.

The gateway is one from files, on loopback; the backend is an Envoy that answers by itself. The hook in Envoy is asked here,
since an ASGI middleware stands beside it; what one costs that Envoy calls, ``gateway_peers`` measures. Requests per second
depend on what else the machine does; the CPU time for each request, of Envoy and the plugin's process together, hardly does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.gateway import BACKEND, backend, edited, envoy, plugin_text, until_answers
from bench.processes import cpu_seconds, running
from bench.table import Row, median_of
from bench.wrk import requests_per_second

PORT = 18502
CONNECTIONS, SECONDS = 16, 5
EDITS = 5
ASGI = """
class Mark:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def marked(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-bench", b"yes")]
            await send(message)

        await self.app(scope, receive, marked)
"""
HEADERS = """
class Mark:
    def response_headers(self, exchange):
        exchange.response.headers["x-bench"] = "yes"
"""
BODIES = """
    async def response_body(self, exchange, chunks):
        async for chunk in chunks:
            yield chunk
"""
HTTP_WASM = """
(module
  (import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-benchyes")
  (func (export "handle_request") (result i64)
    (call $set (i32.const 1) (i32.const 0) (i32.const 7) (i32.const 7) (i32.const 3))
    (i64.const 1))
  (func (export "handle_response") (param i32 i32)))
"""
PROXY_WASM = """
(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-benchyes")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 2) (i32.const 0) (i32.const 7) (i32.const 7) (i32.const 3))))
"""


class Kind(NamedTuple):
    name: str
    code: str
    toml: str = ""
    isolation: str = ""


KINDS = (
    Kind("hook asked in Envoy", plugin_text("yes")),
    Kind("hook in a process", plugin_text("yes"), "", "Process"),
    Kind("asgi in Envoy", ASGI, 'kind = "asgi"\nentry-point = "plugin:Mark"\n'),
    Kind("asgi in a process", ASGI, 'kind = "asgi"\nentry-point = "plugin:Mark"\n', "Process"),
    Kind("processor of headers", HEADERS, 'kind = "processor"\nentry-point = "plugin:Mark"\n'),
    Kind("processor of bodies", HEADERS + BODIES, 'kind = "processor"\nentry-point = "plugin:Mark"\n'),
    Kind("http-wasm", HTTP_WASM),
    Kind("proxy-wasm", PROXY_WASM),
)


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory, envoy(backend("127.0.0.1")):
        folder = Path(directory)
        with serving(folder) as process:
            base = f"http://127.0.0.1:{PORT}"
            until_answers(f"{base}/native", 60)
            native, native_cost = measured(process.pid, f"{base}/native")
            yield Row("native filter, requests", native, "1/s")
            yield Row("native filter, CPU", native_cost, "us")
            for number, kind in enumerate(KINDS):
                until_answers(f"{base}/p{number}/", 60)
                rate, cost = measured(process.pid, f"{base}/p{number}/")
                yield Row(f"{kind.name}, requests", rate, "1/s", native, "Envoy's own filter", "report")
                yield Row(f"{kind.name}, CPU", cost, "us", native_cost, "Envoy's own filter", "report")
            for number in (0, 1):
                file = folder / f"p{number}/plugin.py"
                live = median_of(EDITS, lambda: edited(f"{base}/p{number}/", file))  # noqa: B023
                yield Row(f"{KINDS[number].name}: an edit until it is live", live, "s", aim="<= 1 s")


def measured(pid: int, url: str) -> tuple[float, float]:
    """Return requests a second, and microseconds of CPU for each: of the gateway and all that it has started."""
    requests_per_second(url, connections=CONNECTIONS, seconds=1)
    before, begun = cpu_of_all(pid), time.perf_counter()
    rate = requests_per_second(url, connections=CONNECTIONS, seconds=SECONDS)
    return rate, (cpu_of_all(pid) - before) * 1e6 / (rate * (time.perf_counter() - begun))


def cpu_of_all(pid: int) -> float:
    """Return the CPU seconds of a gateway and of what it has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(cpu_seconds(one) for one in (pid, *map(int, children)))


@contextmanager
def serving(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the gateway with a route for each kind of plugin."""
    import wasmtime

    config = folder / "config"
    config.mkdir()
    objects = [*base_objects(), route("native")]
    objects[-1]["spec"]["rules"][0]["filters"] = [
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-bench", "value": "yes"}]}}
    ]
    for number, kind in enumerate(KINDS):
        plugin = folder / f"p{number}"
        plugin.mkdir()
        if kind.code.lstrip().startswith("(module"):
            (plugin / "plugin.wasm").write_bytes(wasmtime.wat2wasm(kind.code))
        else:
            (plugin / "plugin.py").write_text(kind.code)
            (plugin / "plugin.toml").write_text(kind.toml)
        spec = {"path": str(plugin), **({"isolation": kind.isolation} if kind.isolation else {})}
        objects.append(named("gateway.sampan.dev/v1alpha1", "Plugin", f"p{number}", spec))
        reference = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": f"p{number}"}
        made = route(f"p{number}")
        made["spec"]["rules"][0]["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
        objects.append(made)
    (config / "all.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
    with gateway_of(config, folder / f"log-{uuid.uuid4().hex[:6]}") as process:
        yield process


def gateway_of(config: Path, log: Path, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Run ``sampan gateway run`` on the files of a folder."""
    command = [sys.executable, "-m", "sampan.cli.main", "gateway", "run", "--config", str(config), *options]
    return running([*command, "--address", "127.0.0.1"], log)


def base_objects() -> list[dict[str, Any]]:
    listeners = [{"name": "http", "port": PORT, "protocol": "HTTP"}]
    return [
        named(
            "gateway.networking.k8s.io/v1", "Gateway", "bench", {"gatewayClassName": "sampan", "listeners": listeners}
        ),
        named("v1", "Service", "backend", {"ports": [{"port": 80}]}),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "backend", "labels": {"kubernetes.io/service-name": "backend"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": BACKEND}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        },
    ]


def named(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def route(name: str) -> dict[str, Any]:
    match = {"path": {"type": "PathPrefix", "value": f"/{name}"}}
    rule: dict[str, Any] = {"matches": [match], "backendRefs": [{"name": "backend", "port": 80}]}
    return named(
        "gateway.networking.k8s.io/v1", "HTTPRoute", name, {"parentRefs": [{"name": "bench"}], "rules": [rule]}
    )
