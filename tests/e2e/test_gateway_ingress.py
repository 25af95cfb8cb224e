"""Ingress v1 and IngressRoutes through a real Envoy, before a server on the host."""

from __future__ import annotations

import http.client
import http.server
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from ..unit.gateway.certificates import pair
from .eventually import eventually
from .gateway_world import apply, on_host, own_address, serve
from .up_down_cluster import Cluster

NAMESPACE = "gateway-ingress"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with the path it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        text = json.dumps({"path": self.path, "host": self.headers["host"]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *arguments: object) -> None:
        pass


def ingress(name: str, rules: list[Any], annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "annotations": annotations or {}}
    spec = {"ingressClassName": "sampan", "rules": rules, **spec}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def rule(host: str, path: str = "/", kind: str = "Prefix", port: Any = "http") -> dict[str, Any]:
    number = {"name": port} if isinstance(port, str) else {"number": port}
    backend = {"service": {"name": "mirror", "port": number}}
    return {"host": host, "http": {"paths": [{"path": path, "pathType": kind, "backend": backend}]}}


def address(cluster: Cluster, name: str) -> str:
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    return cluster.kubectl("-n", NAMESPACE, "get", "ingress", name, "-o", path).strip()


@pytest.fixture(scope="module")
def front(real_cluster: Cluster) -> Iterator[str]:
    """Return the address of the Ingresses."""
    server = serve(Mirror)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    service, _ = on_host(NAMESPACE, "mirror", "", 1)
    apply(real_cluster, namespace, service, ingress("web", [rule("shop.example")]))
    eventually("the Ingress has an address", lambda: bool(address(real_cluster, "web")))
    found = address(real_cluster, "web")
    apply(real_cluster, *on_host(NAMESPACE, "mirror", own_address(found), server.server_address[1]))
    eventually("the Ingress is served", lambda: ask(found, "shop.example", "/")[0] == 200)
    yield found
    server.shutdown()
    real_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def ask(address: str, host: str, path: str = "/") -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("GET", path, headers={"host": host})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status == 200 else {}
    finally:
        connection.close()


def test_kubectl_shows_it(real_cluster: Cluster, front: str) -> None:
    name, ingress_class, hosts, shown, ports, _ = real_cluster.kubectl(
        "-n", NAMESPACE, "get", "ingress", "web", "--no-headers"
    ).split()
    assert (name, ingress_class, hosts, shown, ports) == ("web", "sampan", "shop.example", front, "80")
    assert "sampan.dev/ingress" in real_cluster.kubectl("get", "ingressclass", "sampan")
    gateways = real_cluster.kubectl("get", "gateways", "-A", "-o", "name")
    assert "ingress" not in gateways, "what it is translated to is not in the API"


def test_hosts_and_paths(real_cluster: Cluster, front: str) -> None:
    rewrite = {"nginx.ingress.kubernetes.io/rewrite-target": "/v1/$2"}
    pattern = {**rule("api.example", "/api(/|$)(.*)", "ImplementationSpecific")}
    apply(
        real_cluster,
        ingress("exact", [rule("exact.example", "/only", "Exact"), rule("*.wild.example", "/")]),
        ingress("rewritten", [pattern], rewrite),
    )
    eventually("the new Ingresses are served", lambda: ask(front, "api.example", "/api/x")[1].get("path") == "/v1/x")
    eventually("the others, too", lambda: ask(front, "exact.example", "/only")[0] == 200)
    assert ask(front, "exact.example", "/only/more")[0] == 404
    assert ask(front, "any.wild.example", "/deep")[1]["path"] == "/deep"
    assert ask(front, "unknown.example", "/")[0] == 404
    eventually("it has the one address of all", lambda: address(real_cluster, "exact") == front)


def test_tls_from_a_secret(real_cluster: Cluster, front: str) -> None:
    certificate, key = pair("secure.example")
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    data = {"tls.crt": certificate.decode(), "tls.key": key.decode()}
    apply(
        real_cluster,
        {**secret, "metadata": {"name": "secure", "namespace": NAMESPACE}, "stringData": data},
        ingress("secure", [rule("secure.example")], tls=[{"hosts": ["secure.example"], "secretName": "secure"}]),
    )
    trust = ssl.create_default_context(cadata=certificate.decode())

    def answer() -> int:
        raw = socket.create_connection((front, 443), timeout=5)
        with raw, trust.wrap_socket(raw, server_hostname="secure.example") as stream:
            stream.sendall(b"GET /s HTTP/1.1\r\nHost: secure.example\r\nConnection: close\r\n\r\n")
            return int(stream.makefile("rb").readline().split()[1])

    def served() -> bool:
        try:
            return answer() == 200
        except OSError:
            return False

    eventually("HTTPS is served with the Secret's certificate", served)


def test_what_cannot_be_served_is_told_by_events(real_cluster: Cluster, front: str) -> None:
    snippet = {"nginx.ingress.kubernetes.io/configuration-snippet": "deny all;"}
    apply(real_cluster, ingress("told", [rule("told.example", port="nowhere")], snippet))

    def events() -> str:
        return real_cluster.kubectl(
            "-n", NAMESPACE, "get", "events", "--field-selector", "involvedObject.name=told,reason=NotServed"
        )

    eventually("the annotation is told", lambda: "configuration of nginx is not read here" in events())
    eventually("the port is told", lambda: 'port "nowhere"' in events())
    assert address(real_cluster, "told") == "", "nothing of it is served"


def test_an_ingress_route(real_cluster: Cluster, front: str) -> None:
    strip = {"stripPrefix": {"prefixes": ["/old"]}}
    metadata = {"name": "strip", "namespace": NAMESPACE}
    route = {
        "match": "Host(`traefik.example`) && PathPrefix(`/old`)",
        "kind": "Rule",
        "middlewares": [{"name": "strip"}],
        "services": [{"name": "mirror", "port": "http"}],
    }
    apply(
        real_cluster,
        {"apiVersion": "traefik.io/v1alpha1", "kind": "Middleware", "metadata": metadata, "spec": strip},
        {
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "IngressRoute",
            "metadata": metadata,
            "spec": {"entryPoints": ["web"], "routes": [route]},
        },
    )
    eventually("the IngressRoute is served", lambda: ask(front, "traefik.example", "/old/x")[1].get("path") == "/x")


def test_an_ingress_that_goes_is_not_served(real_cluster: Cluster, front: str) -> None:
    apply(real_cluster, ingress("brief", [rule("brief.example")]))
    eventually("it is served", lambda: ask(front, "brief.example")[0] == 200)
    real_cluster.kubectl("-n", NAMESPACE, "delete", "ingress", "brief")
    eventually("it is not served", lambda: ask(front, "brief.example")[0] == 404)
    assert ask(front, "shop.example")[0] == 200
