"""Each step of a search has its reason, and the search ends where a resolver's would."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from sampan.dns import wire
from sampan.dns.explaining.why import Resolver, steps_of, why
from sampan.dns.explaining.world import Step, World
from sampan.dns.forwarding.exchange import Address

from .cluster import Cluster

SEARCHES = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")
RESOLVER = Resolver(("10.240.64.10",), SEARCHES, 5)


@pytest.fixture
def world() -> World:
    cluster = Cluster()
    cluster.namespace("shop", "default")
    cluster.service("web", clusterIP="10.240.64.7")
    cluster.service("db", clusterIP="None")
    cluster.service("idle", clusterIP="None")
    cluster.service("far", type="ExternalName", externalName="web.shop.svc.cluster.local")
    endpoint = {"addresses": ["10.240.0.5"], "hostname": "db-0", "zone": "a", "conditions": {"ready": True}}
    late = {"addresses": ["fd53::6"], "targetRef": {"kind": "Pod", "name": "db-1"}, "conditions": {"ready": False}}
    cluster.piece("db", endpoint, late)
    cluster.pod("client", "10.240.0.9")
    return World(cluster.follower, cluster.responder())


@pytest.mark.parametrize(
    ("name", "ndots", "expected"),
    [
        ("a.b.", 5, ["a.b"]),
        ("a", 5, ["a.shop.svc.cluster.local", "a.svc.cluster.local", "a.cluster.local", "a"]),
        ("a.b", 1, ["a.b", "a.b.shop.svc.cluster.local", "a.b.svc.cluster.local", "a.b.cluster.local"]),
    ],
)
def test_the_steps_of_a_resolver(name: str, ndots: int, expected: list[str]) -> None:
    assert steps_of(name, RESOLVER._replace(ndots=ndots)) == expected


@pytest.mark.parametrize(
    ("name", "kind", "code", "because"),
    [
        ("web.shop.svc.cluster.local", wire.A, "NOERROR", ["Service shop/web (ClusterIP)"]),
        (
            "db.shop.svc.cluster.local",
            wire.A,
            "NOERROR",
            [
                "Service shop/db (Headless)",
                "  10.240.0.5:8080  ready  hostname db-0  zone a",
                "  [fd53::6]:8080  not ready  Pod db-1",
            ],
        ),
        ("no.shop.svc.cluster.local", wire.A, "NXDOMAIN", ["there is no Service shop/no"]),
        ("web.no.svc.cluster.local", wire.A, "NXDOMAIN", ["there is no Namespace no"]),
        (
            "x.cluster.local",
            wire.A,
            "NXDOMAIN",
            ["the cluster has no such name: names end with svc or pod below its domain"],
        ),
        ("10-240-0-9.shop.pod.cluster.local", wire.A, "NOERROR", ["Pod shop/client"]),
        ("10-240-0-8.shop.pod.cluster.local", wire.A, "NXDOMAIN", ["there is no such Pod"]),
        ("9.0.240.10.in-addr.arpa", wire.PTR, "NOERROR", ["Pod shop/client"]),
        (
            "far.shop.svc.cluster.local",
            wire.A,
            "NOERROR",
            ["Service shop/far (ExternalName to web.shop.svc.cluster.local)"],
        ),
    ],
)
def test_reasons(world: World, name: str, kind: int, code: str, because: list[str]) -> None:
    step = world.step(name, kind)
    assert isinstance(step, Step) and (step.code, step.because) == (code, because)


def test_a_headless_service_without_ready_endpoints(world: World) -> None:
    step = world.step("idle.shop.svc.cluster.local", wire.A)
    assert isinstance(step, Step) and step.because == ["Service shop/idle (Headless)", "none of its endpoints is ready"]
    step = world.step("db-7.db.shop.svc.cluster.local", wire.A)
    assert isinstance(step, Step) and step.because[-1] == "no endpoint that is ready is called so"


async def test_a_search_and_what_the_server_makes_of_it(world: World) -> None:
    found = await why(world, "web.shop", wire.A, RESOLVER, ip_address("10.240.0.9"), None)
    assert [step.code for step in found.steps] == ["NXDOMAIN", "NOERROR"]
    assert found.at_once == "web.shop.svc.cluster.local"
    assert (await why(world, "web", wire.A, RESOLVER, ip_address("10.240.0.9"), None)).at_once == ""
    assert (await why(world, "web.shop", wire.A, RESOLVER, None, None)).at_once == ""
    outside = await why(world, "www.example.org.", wire.A, RESOLVER, None, None)
    assert outside.steps[0].because == ["asked of /etc/resolv.conf"]


async def test_a_server_that_does_not_answer_is_told(world: World) -> None:
    """It was passed over, as if it had said the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        server = Address("127.0.0.1", closed.getsockname()[1])
    found = await why(world, "web.shop.svc.cluster.local.", wire.A, RESOLVER, None, server)
    assert [step.server for step in found.steps] == [f"nothing: {server} does not answer"]
