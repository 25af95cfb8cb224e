"""Whatever changes while requests run, none fails: certificates, listeners, weights, endpoints, pods that end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cryptography import x509

from sampan.client.http import HttpClient
from sampan.client.kubeconfig import load
from sampan.gateway.kinds.resources import HTTP_ROUTES

from .eventually import eventually
from .gateway_world import (
    HOST,
    Connection,
    Load,
    any_certificate,
    apply,
    certificate,
    parameters_of,
    parameters_ref,
    secret,
)
from .http3_client import http3
from .up_down_cluster import Cluster

NAMESPACE = "gateway-changes"


def deployment(name: str, replicas: int) -> list[dict[str, Any]]:
    """Pods that answer with their Deployment's name, and their Service."""
    script = f"mkdir -p /www && echo {name} > /www/index.html && exec httpd -f -p 8080 -h /www"
    container = {
        "name": "web",
        "image": "busybox:1",
        "command": ["sh", "-c", script],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 4}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": named(name), "spec": spec},
        {"apiVersion": "v1", "kind": "Service", "metadata": named(name), "spec": {"selector": labels, "ports": ports}},
    ]


def named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": NAMESPACE}


def gateway(*more: dict[str, Any]) -> dict[str, Any]:
    tls = {"certificateRefs": [{"name": "certificate"}]}
    listeners = [
        {"name": "http", "port": 80, "protocol": "HTTP"},
        {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": HOST, "tls": tls},
        *more,
    ]
    spec = {"gatewayClassName": "sampan", "listeners": listeners, "infrastructure": parameters_ref("quic")}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": named("front"), "spec": spec}


def route(kind: str, name: str, *backends: tuple[str, int], section: str = "", **more: Any) -> dict[str, Any]:
    parent = {"name": "front", **({"sectionName": section} if section else {})}
    references = [{"name": backend, "port": 80, "weight": weight} for backend, weight in backends]
    spec = {"parentRefs": [parent], "rules": [{"backendRefs": references}], **more}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": named(name), "spec": spec}


@pytest.fixture(scope="module")
def front(real_cluster: Cluster) -> Iterator[tuple[Cluster, str]]:
    """The cluster and the Gateway's address: two replicas of ``red`` and ``blue`` behind it."""
    real_cluster.kubectl("create", "namespace", NAMESPACE)
    apply(
        real_cluster,
        secret(NAMESPACE, "certificate", *certificate(1)),
        parameters_of("quic", NAMESPACE, http3={}),
        gateway(),
        *deployment("red", 2),
        *deployment("blue", 2),
        route("HTTPRoute", "shop", ("red", 1)),
    )
    kubectl = real_cluster.kubectl
    kubectl("-n", NAMESPACE, "wait", "deployment", "--all", "--for=condition=Available", "--timeout=60s")
    kubectl("-n", NAMESPACE, "wait", "gateway/front", "--for=condition=Programmed", "--timeout=60s")
    found = real_cluster.get("-n", NAMESPACE, "gateway", "front")
    address = found["status"]["addresses"][0]["value"]

    def answers() -> bool:
        connection = Connection(address, 80)
        connection.request("GET", "/")
        return connection.getresponse().status == 200

    eventually("the gateway answers", answers)
    yield real_cluster, address
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def serial(address: str) -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    plain = socket.create_connection((address, 443), timeout=10)
    with plain, any_certificate().wrap_socket(plain, server_hostname=HOST) as wrapped:
        found = wrapped.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found).serial_number


def test_a_certificate_is_exchanged_and_the_connection_stays(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    eventually("the first is shown", lambda: serial(address) == 1)
    connection = Connection(address, 443, any_certificate())
    with Load(connection):
        for number in (2, 3):
            apply(cluster, secret(NAMESPACE, "certificate", *certificate(number)))
            eventually(f"certificate {number} is shown", lambda number=number: serial(address) == number)  # type: ignore[misc]
    assert connection.opened == 1


async def test_http3_by_the_address_of_the_service(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    ports = cluster.get("-n", NAMESPACE, "service", "front-sampan")["spec"]["ports"]
    assert sorted((entry["port"], entry["protocol"]) for entry in ports) == [(80, "TCP"), (443, "TCP"), (443, "UDP")]
    async with http3(address, 443, HOST) as client:
        answers = [await client.ask(HOST) for _ in range(3)]
    assert [(answer.status, answer.body.strip()) for answer in answers] == [(200, b"red")] * 3


def test_listeners_come_and_go_and_the_others_connections_stay(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    more = [
        {"name": "other", "port": 80, "protocol": "HTTP", "hostname": "other.example"},
        {"name": "tcp", "port": 9000, "protocol": "TCP"},
        {
            "name": "secure",
            "port": 443,
            "protocol": "TLS",
            "hostname": "tls.example",
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": "certificate"}]},
        },
    ]
    plain, secure = Connection(address, 80), Connection(address, 443, any_certificate())
    tcp = route("TCPRoute", "tcp", ("blue", 1), section="tcp")
    tls = route("TLSRoute", "tls", ("blue", 1), section="secure", hostnames=["tls.example"])

    def reaches_blue(port: int, name: str) -> bool:
        try:
            with socket.create_connection((address, port), timeout=5) as raw:
                stream = any_certificate().wrap_socket(raw, server_hostname=name) if name else raw
                stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return b"blue" in b"".join(iter(lambda: stream.recv(4096), b""))
        except OSError:
            return False

    with Load(plain), Load(secure):
        apply(cluster, gateway(*more), tcp, tls)
        eventually("the TCP listener serves", lambda: reaches_blue(9000, ""))
        eventually("the TLS listener serves", lambda: reaches_blue(443, "tls.example"))
        apply(cluster, gateway())
        eventually("the TCP listener is gone", lambda: not reaches_blue(9000, ""))
        for name in ("tcproute/tcp", "tlsroute/tls"):
            cluster.kubectl("-n", NAMESPACE, "delete", name, "--wait=false")
    assert (plain.opened, secure.opened) == (1, 1)


async def test_a_thousand_flips_of_a_route_fail_no_request(front: tuple[Cluster, str]) -> None:
    """As fast as the API takes them; every twentieth is waited for. Backend and header change together, or not at all."""
    cluster, address = front
    client = HttpClient(load(cluster.kubeconfig))

    async def flip(number: int) -> str:
        color = ("blue", "red")[number % 2]
        mark = {"set": [{"name": "x-mark", "value": f"{color}-{number}"}]}
        change = {"type": "ResponseHeaderModifier", "responseHeaderModifier": mark}
        rule = {"backendRefs": [{"name": color, "port": 80}], "filters": [change]}
        await client.patch(HTTP_ROUTES, "shop", {"spec": {"rules": [rule]}}, NAMESPACE)
        return f"{color}-{number}"

    loads = [
        Load(Connection(address, 80), pause=0.01),
        Load(Connection(address, 443, any_certificate()), pause=0.01),
    ]
    try:
        with contextlib.ExitStack() as stack:
            for one in loads:
                await asyncio.to_thread(stack.enter_context, one)
            for number in range(1, 1001):
                mark = await flip(number)
                if number % 20 == 0:
                    reached = partial(served, loads, mark)
                    await asyncio.to_thread(eventually, f"flip {number} is served", reached)
        pairs = {(body, mark.partition("-")[0]) for one in loads for body, mark in one.pairs if mark}
        assert pairs == {("red", "red"), ("blue", "blue")}
        await client.patch(HTTP_ROUTES, "shop", {"spec": route("HTTPRoute", "shop", ("red", 1))["spec"]}, NAMESPACE)
    finally:
        await client.close()


def served(loads: list[Load], mark: str) -> bool:
    return all(one.marks[-1:] == [mark] for one in loads)


def test_weights_and_pods_change_under_load(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    with Load(Connection(address, 80)) as load:
        for weights in ((1, 1), (0, 1), (1, 0)):
            apply(cluster, route("HTTPRoute", "shop", ("red", weights[0]), ("blue", weights[1])))
            wanted = {name for name, weight in zip(("red", "blue"), weights, strict=True) if weight}

            def served(wanted: set[str] = wanted) -> bool:
                load.bodies.clear()
                total = sum(load.codes.values())
                eventually("more requests", lambda: sum(load.codes.values()) > total + 40)
                return set(load.bodies) == wanted

            eventually(f"answers from {wanted}", served)
        for turn in range(2):
            # not ``rollout restart``: it refuses a second one in the same second, and a rollout may be as quick as that
            cluster.kubectl("-n", NAMESPACE, "set", "env", "deployment/red", f"TURN={turn}")
            cluster.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/red", "--timeout=90s")
            found = cluster.get("-n", NAMESPACE, "pods", "-l", "app=red")
            assert len(found["items"]) >= 2, turn
        patch = json.dumps({"spec": {"replicas": 1}})
        cluster.kubectl("-n", NAMESPACE, "patch", "deployment", "red", "-p", patch)
        eventually(
            "one pod is left",
            lambda: len(cluster.get("-n", NAMESPACE, "pods", "-l", "app=red")["items"]) == 1,
            60,
        )


def test_the_gateway_part_restarts_and_envoy_serves_on(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    leaving = route("HTTPRoute", "leaving", ("blue", 1), hostnames=["leaving.example"])
    apply(cluster, leaving)

    def status(host: str) -> int:
        connection = Connection(address, 80)
        connection.request("GET", "/", headers={"Host": host})
        return connection.getresponse().status

    def part() -> tuple[int, str]:
        """Return the pid and state of the gateway part."""
        lines = cluster.sampan("status", "--name", cluster.name, check=False).stdout.splitlines()
        words = next(line.split() for line in lines if line.startswith("gateway "))
        return int(words[1]) if words[1].isdigit() else 0, words[4] if "MB" in words else words[-1]

    eventually("the route serves", lambda: status("leaving.example") == 200 and status("x.example") == 200)
    eventually("the part runs", lambda: part()[1] == "ready" and part()[0] != 0)
    before, _ = part()
    assert before, "0 would be all of our own processes"
    connection = Connection(address, 80)
    with Load(connection):
        os.kill(before, signal.SIGKILL)
        cluster.kubectl("-n", NAMESPACE, "delete", "httproute", "leaving")
        apply(cluster, route("HTTPRoute", "coming", ("blue", 1), hostnames=["coming.example"]))
        eventually("the part is back", lambda: part()[1] == "ready" and part()[0] not in (0, before), 60)

        def follows() -> bool:
            connection = Connection(address, 80)
            connection.request("GET", "/", headers={"Host": "coming.example"})
            return connection.getresponse().read().strip() == b"blue"

        eventually("what changed meanwhile is served", follows)
        for name in ("leaving.example", "coming.example"):
            assert status(name) == 200  # the route without host names takes what the other left
    assert connection.opened == 1
