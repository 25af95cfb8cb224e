"""What GatewayParameters ask for: access log, spans at an OTLP collector, a table for each host. And Envoy's counters."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sampan.cluster.settings import Settings
from sampan.gateway.xds.metrics import PORT

from .eventually import eventually
from .gateway_world import apply
from .otlp import Collector
from .up_down_cluster import Cluster

NAMESPACE = "gateway-observed"


@pytest.fixture
def collector(real_cluster: Cluster) -> Iterator[Collector]:
    with Collector(str(Settings.load(real_cluster.name).host_ip)) as there:
        yield there


def objects(collector: Collector) -> list[dict[str, Any]]:
    """A Gateway whose one route redirects, and the collector as a Service outside the cluster."""

    def named(kind: str, api_version: str, name: str, **more: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": NAMESPACE, **more.pop("metadata", {})}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}

    group = "gateway.networking.k8s.io/v1"
    log = {"json": {"code": "%RESPONSE_CODE%", "host": "%REQ(:AUTHORITY)%"}}
    tracing = {"backendRef": {"name": "collector", "port": 4317}, "serviceName": "front"}
    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "seen"}
    gateway = {
        "gatewayClassName": "sampan",
        "infrastructure": {"parametersRef": reference},
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
    }
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.example"}}
    ports = [{"name": "otlp", "port": 4317}]
    labels = {"kubernetes.io/service-name": "collector"}
    return [
        named("GatewayParameters", "gateway.sampan.dev/v1alpha1", "seen", spec={"accessLog": log, "tracing": tracing}),
        named("Service", "v1", "collector", spec={"ports": ports}),
        named(
            "EndpointSlice",
            "discovery.k8s.io/v1",
            "collector-1",
            metadata={"labels": labels},
            addressType="IPv4",
            ports=[{"name": "otlp", "port": collector.port}],
            endpoints=[{"addresses": [collector.address]}],
        ),
        named("Gateway", group, "front", spec=gateway),
        named("HTTPRoute", group, "r", spec={"parentRefs": [{"name": "front"}], "rules": [{"filters": [redirect]}]}),
    ]


def test_requests_are_logged_traced_and_counted(real_cluster: Cluster, collector: Collector) -> None:
    kubectl = real_cluster.kubectl
    kubectl("create", "namespace", NAMESPACE)
    settings = Settings.load(real_cluster.name)
    try:
        apply(real_cluster, *objects(collector))
        kubectl("-n", NAMESPACE, "wait", "gateway/front", "--for=condition=Programmed", "--timeout=60s")
        address = real_cluster.get("-n", NAMESPACE, "gateway", "front")["status"]["addresses"][0]["value"]

        def redirected() -> bool:
            connection = http.client.HTTPConnection(address, timeout=5)
            connection.request("GET", "/", headers={"Host": "seen.example"})
            return connection.getresponse().status == 302

        eventually("the gateway answers", redirected)
        log = settings.log_dir / "access.log"

        def logged() -> bool:
            lines = (
                log.read_text().splitlines() if log.exists() else []
            )  # of other Gateways, too, and of one half written
            whole = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
            return {"code": 302, "host": "seen.example"} in whole

        eventually("the request is in the access log", logged, 30)
        eventually("its span is at the collector", lambda: bool(collector.spans), 30)
        assert collector.spans[0]["resource"]["service.name"] == "front"
        connection = http.client.HTTPConnection(str(settings.node_ip), PORT, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        labels = f'gateway_namespace="{NAMESPACE}",gateway_name="front",gateway_port="80"'
        assert f'envoy_http_downstream_rq_xx{{envoy_response_code_class="3",{labels}}}' in text
        connection.request("GET", "/quitquitquit")
        assert connection.getresponse().status == 404
    finally:
        kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def status(address: str, host: str) -> tuple[int, str]:
    """Return the code of an answer and where it leads."""
    connection = http.client.HTTPConnection(address, timeout=5)
    connection.request("GET", "/", headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.getheader("location") or ""


def test_many_hosts_are_served_in_parts_until_there_is_a_wildcard(real_cluster: Cluster) -> None:
    namespace, group = "gateway-hosts", "gateway.networking.k8s.io/v1"

    def named(kind: str, api_version: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": name, "namespace": namespace}
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}

    def redirect(name: str, host: str) -> dict[str, Any]:
        item = {"type": "RequestRedirect", "requestRedirect": {"hostname": f"{name}.example.org"}}
        spec = {"parentRefs": [{"name": "front"}], "hostnames": [host], "rules": [{"filters": [item]}]}
        return named("HTTPRoute", group, name, spec)

    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "many"}
    gateway = {
        "gatewayClassName": "sampan",
        "infrastructure": {"parametersRef": reference},
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
    }
    kubectl = real_cluster.kubectl
    kubectl("create", "namespace", namespace)
    try:
        apply(
            real_cluster,
            named("GatewayParameters", "gateway.sampan.dev/v1alpha1", "many", {"manyHosts": True}),
            named("Gateway", group, "front", gateway),
            redirect("one", "one.example"),
            redirect("two", "two.example"),
        )
        kubectl("-n", namespace, "wait", "gateway/front", "--for=condition=Programmed", "--timeout=60s")
        address = real_cluster.get("-n", namespace, "gateway", "front")["status"]["addresses"][0]["value"]
        for host, wanted in (("one.example", "one"), ("two.example:80", "two"), ("two.example:30080", "two")):
            eventually(f"{host} answers", lambda host=host, wanted=wanted: wanted in status(address, host)[1])  # type: ignore[misc]
        assert status(address, "three.example")[0] == 404
        apply(real_cluster, redirect("two", "three.example"))
        eventually("a changed host answers", lambda: "two" in status(address, "three.example")[1])
        eventually("the host it left does not", lambda: status(address, "two.example")[0] == 404)
        apply(real_cluster, redirect("wide", "*.example"))
        eventually("a wildcard answers", lambda: "wide" in status(address, "two.example")[1])
        assert "one" in status(address, "one.example")[1]
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")
