"""A real Gateway in front of real pods: routes flip and a plugin is edited, under load, without a failed request."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .gateway_world import Connection, Load, apply, secret, weak_certificate
from .up_down_cluster import Cluster

NAMESPACE = "gateway-live"


def backend(name: str) -> list[dict[str, Any]]:
    """A pod that answers with its name, and its Service."""
    script = f"mkdir -p /www && echo {name} > /www/index.html && exec httpd -f -p 8080 -h /www"
    container = {
        "name": "web",
        "image": "busybox:1",
        "command": ["sh", "-c", script],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def route(name: str, path: str, service: str, *filters: dict[str, Any]) -> dict[str, Any]:
    prefix = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "filters": [prefix, *filters],
        "backendRefs": [{"name": service, "port": 80}],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": "front"}], "rules": [rule]},
    }


def get(address: str, path: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}


@pytest.fixture(scope="module")
def front(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str, Path]]:
    """The cluster, the Gateway's address and the directory of the plugin ``mark``."""
    directory = tmp_path_factory.mktemp("plugin")
    (directory / "plugin.py").write_text(plugin_text("one"))
    own = "gateway.sampan.dev/v1alpha1"
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {
            "gatewayClassName": "sampan",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        },
    }
    plugin = {
        "apiVersion": own,
        "kind": "Plugin",
        "metadata": {"name": "mark", "namespace": NAMESPACE},
        "spec": {"path": str(directory)},
    }
    middleware = {
        "apiVersion": own,
        "kind": "Middleware",
        "metadata": {"name": "plain", "namespace": NAMESPACE},
        "spec": {"headers": {"customResponseHeaders": {"X-Plain": "yes"}}},
    }

    def extension(kind: str, name: str) -> dict[str, Any]:
        reference = {"group": "gateway.sampan.dev", "kind": kind, "name": name}
        return {"type": "ExtensionRef", "extensionRef": reference}

    real_cluster.kubectl("create", "namespace", NAMESPACE)
    apply(
        real_cluster,
        gateway,
        plugin,
        middleware,
        *backend("red"),
        *backend("blue"),
        route("flip", "/flip", "red"),
        route("marked", "/marked", "red", extension("Plugin", "mark"), extension("Middleware", "plain")),
    )
    kubectl = real_cluster.kubectl
    kubectl("-n", NAMESPACE, "wait", "gateway/front", "--for=condition=Programmed", "--timeout=60s")
    kubectl("-n", NAMESPACE, "wait", "pod/red", "pod/blue", "--for=condition=Ready", "--timeout=60s")
    found = real_cluster.get("-n", NAMESPACE, "gateway", "front")
    address = found["status"]["addresses"][0]["value"]
    eventually("the gateway answers", lambda: get(address, "/marked")[0] == 200)
    yield real_cluster, address, directory
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def plugin_text(mark: str) -> str:
    return f"def request(request):\n    request.response_headers['x-mark'] = '{mark}'\n"


def test_a_plugin_marks_answers_and_a_middleware_adds_its_header(front: tuple[Cluster, str, Path]) -> None:
    _, address, _ = front
    status, body, headers = get(address, "/marked")
    assert (status, body.strip()) == (200, "red")
    assert headers["x-mark"] == "one" and headers["x-plain"] == "yes"
    assert "x-mark" not in get(address, "/flip")[2]
    assert get(address, "/nowhere")[0] == 404


def test_an_edit_goes_live_and_no_request_fails(front: tuple[Cluster, str, Path]) -> None:
    _, address, directory = front
    with Load(Connection(address), "/marked") as load:
        for mark in ("two", "three", "one"):  # what it was stays for the other tests
            (directory / "plugin.py").write_text(plugin_text(mark))
            eventually(f"the mark {mark}", lambda mark=mark: load.marks[-1:] == [mark])  # type: ignore[misc]


def test_a_broken_plugin_is_refused_and_the_old_one_serves(front: tuple[Cluster, str, Path]) -> None:
    cluster, address, directory = front
    before = (directory / "plugin.py").read_text()
    (directory / "plugin.py").write_text("def request(request)\n    pass\n")
    try:

        def refused() -> bool:
            status = cluster.get("-n", NAMESPACE, "httproute", "marked")["status"]["parents"][0]
            resolved = next(c for c in status["conditions"] if c["type"] == "ResolvedRefs")
            return (
                resolved["status"] == "False"
                and "SyntaxError" in resolved["message"]
                and "line 1" in resolved["message"]
            )

        eventually("the route says why", refused)
        assert get(address, "/marked")[0] == 200
        assert get(address, "/marked")[2]["x-mark"] in ("one", "three")
    finally:
        (directory / "plugin.py").write_text(before)
    eventually(
        "the route is well again",
        lambda: all(
            c["status"] == "True"
            for c in cluster.get("-n", NAMESPACE, "httproute", "marked")["status"]["parents"][0]["conditions"]
        ),
    )


def test_twenty_flips_of_a_route_fail_no_request(front: tuple[Cluster, str, Path]) -> None:
    cluster, address, _ = front
    with Load(Connection(address), "/flip") as load:
        for turn in range(20):
            color = ("blue", "red")[turn % 2]
            patch = [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/name", "value": color}]
            cluster.kubectl("-n", NAMESPACE, "patch", "httproute", "flip", "--type=json", "-p", json.dumps(patch))
            eventually(f"answers from {color}", lambda color=color: get(address, "/flip")[1].strip() == color)  # type: ignore[misc]
    assert load.codes[200] > 20, load.codes


def conditions_of(cluster: Cluster, kind: str, name: str) -> dict[str, dict[str, Any]]:
    status = cluster.get("-n", NAMESPACE, kind, name).get("status", {})
    found = status["parents"][0] if status.get("parents") else status
    return {entry["type"]: entry for entry in found.get("conditions") or ()}


def test_what_cannot_be_served_holds_back_nobody_else(front: tuple[Cluster, str, Path]) -> None:
    cluster, address, _ = front
    expression = route("expression", "/never", "red")
    expression["spec"]["rules"][0]["matches"] = [{"path": {"type": "RegularExpression", "value": "/a(b"}}]
    bodiless = route("bodiless", "/bodiless", "red")
    bodiless["spec"]["rules"].append({"filters": [{"type": "RequestHeaderModifier"}]})
    listeners = [
        {"name": name, "port": 443, "hostname": f"{name}.example", "protocol": "HTTPS",
         "tls": {"certificateRefs": [{"name": name}]}}
        for name in ("nonsense", "weak")
    ]  # fmt: skip
    refused = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "refused", "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "sampan", "listeners": listeners},
    }
    nonsense = secret(NAMESPACE, "nonsense", b"no certificate", b"no key")
    weak = secret(NAMESPACE, "weak", *weak_certificate(1024))  # well formed, and too weak for Envoy
    try:
        apply(cluster, nonsense, weak, refused, expression, bodiless)
        apply(cluster, route("later", "/later", "blue"))
        eventually("a later route is served", lambda: get(address, "/later")[0] == 200)
        assert get(address, "/bodiless")[0] == 200

        def told() -> bool:
            accepted = conditions_of(cluster, "httproute", "expression").get("Accepted", {})
            partial = conditions_of(cluster, "httproute", "bodiless").get("PartiallyInvalid", {})
            programmed = conditions_of(cluster, "gateway", "refused").get("Programmed", {})
            listeners = cluster.get("-n", NAMESPACE, "gateway", "refused")["status"]["listeners"]
            resolved = next(c for c in listeners[0]["conditions"] if c["type"] == "ResolvedRefs")
            return (
                accepted.get("reason") == "UnsupportedValue"
                and "requestHeaderModifier" in partial.get("message", "")
                and "Envoy refused it" in programmed.get("message", "")
                and resolved["reason"] == "InvalidCertificateRef"
            )

        eventually("each says what is wrong with it", told)
        assert conditions_of(cluster, "httproute", "later")["Accepted"]["status"] == "True"
        assert conditions_of(cluster, "gateway", "front")["Programmed"]["status"] == "True"
    finally:
        for name in ("httproute/expression", "httproute/bodiless", "httproute/later", "gateway/refused"):
            cluster.kubectl("-n", NAMESPACE, "delete", name, "--wait=false")
