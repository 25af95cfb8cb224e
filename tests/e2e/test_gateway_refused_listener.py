"""Envoy refuses a listener that it had taken before: what needs its new filters is not served without them."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any

import pytest

from .eventually import eventually
from .gateway_with_plugins import Alone, alone, named, route

OWN = "gateway.sampan.dev"
BAD = {"accessLog": {"format": "%NO_SUCH(X)%\n"}}
"""Well formed, and no field that Envoy knows."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with alone(tmp_path_factory.mktemp("refused")) as served:
        yield served


def listener(gateway: Alone, **parameters: Any) -> None:
    """Write the Gateway, and what its listener is besides."""
    spec = {
        "gatewayClassName": "sampan",
        "listeners": [{"name": "http", "port": gateway.port, "protocol": "HTTP"}],
        "infrastructure": {"parametersRef": {"group": OWN, "kind": "GatewayParameters", "name": "p"}},
    }
    front = named("gateway.networking.k8s.io/v1", "Gateway", "gw", **spec)
    gateway.write("base", front, named(f"{OWN}/v1alpha1", "GatewayParameters", "p", **parameters), route("plain"))


def guard(gateway: Alone) -> None:
    """Write a Middleware that lets nobody in."""
    spec = {"ipAllowList": {"sourceRange": ["192.0.2.1"]}}
    gateway.write("guard", named(f"{OWN}/v1alpha1", "Middleware", "nobody", **spec))


def guarded(gateway: Alone, name: str, *, guarded: bool = True, header: str = "") -> None:
    found = route(name)
    filters = found["spec"]["rules"][0]["filters"]
    if guarded:
        filters.append({"type": "ExtensionRef", "extensionRef": {"group": OWN, "kind": "Middleware", "name": "nobody"}})
    if header:
        change = {"set": [{"name": "x-mark", "value": header}]}
        filters.append({"type": "RequestHeaderModifier", "requestHeaderModifier": change})
    gateway.write(name, found)


def test_nothing_is_served_without_a_filter_that_it_needs(gateway: Alone) -> None:
    guard(gateway)
    for name in ("turned", "other"):
        guarded(gateway, name, guarded=False)
        gateway.served(name)
    listener(gateway, **BAD)
    eventually(
        "it is refused", lambda: "listener http: Programmed: Invalid: Envoy refused it" in gateway.log.read_text()
    )
    seen = set[int]()

    def served(path: str, status: int) -> None:
        def asked() -> bool:
            seen.add(gateway.status("/new"))
            return gateway.status(path) == status

        eventually(f"{path} is answered {status}", asked)

    guarded(gateway, "new")
    guarded(gateway, "turned", header="late")
    served("/new", 503)
    guarded(gateway, "other", guarded=False, header="now")
    eventually("what needs no filter changes", lambda: mark(gateway, "/other") == "now")
    told = gateway.log.read_text()
    assert (
        "HTTPRoute default/new: gw: Accepted: ListenerRefused: it needs a filter of a listener that Envoy refused"
        in told
    )
    eventually(
        "the other says so", lambda: "HTTPRoute default/turned: gw: Accepted: Listener" in gateway.log.read_text()
    )
    assert mark(gateway, "/turned") is None, "it serves as before"
    assert seen <= {404, 503}, "never without its filter"
    listener(gateway)
    for path in ("/new", "/turned"):
        served(path, 403)
    assert seen <= {404, 503, 403}
    assert mark(gateway, "/other") == "now" and gateway.status("/plain") == 200


def mark(gateway: Alone, path: str) -> str | None:
    answer = gateway.ask(path)
    assert answer.status == 200
    found: str | None = answer.told["headers"].get("x-mark")
    return found


def test_a_connection_that_was_open_gets_no_route_without_its_filters(gateway: Alone) -> None:
    """Envoy lets it go on with the filters that its listener had: a route that comes with another is not for it."""
    opened = [http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30) for _ in range(3)]
    for connection in opened:
        assert status(connection, "/plain") == 200
    late = route("late")
    reference = {"group": OWN, "kind": "Middleware", "name": "stops"}
    late["spec"]["rules"][0]["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
    stops = named(f"{OWN}/v1alpha1", "Middleware", "stops", fault={"abort": {"status": 418, "percent": 100}})
    gateway.write("late", stops, late)
    eventually("it is there", lambda: gateway.status("/late") == 418)
    for connection in opened:
        assert status(connection, "/late") == 404
        connection.close()


def status(connection: http.client.HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status
