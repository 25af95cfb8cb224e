"""The search of the pod that asks is walked by us: one round trip, whatever ``ndots`` says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_address

import dns.message
import pytest

from sampan.dns.forwarding.cache import CacheSettings
from sampan.dns.forwarding.forwarder import Forwarder
from sampan.dns.responder import Responder

from .cluster import Cluster, ask, code, data, pending
from .upstream import Upstream, addresses, running

POD = ip_address("10.240.0.5")


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.namespace("shop", "default")
    made.service("web", clusterIP="10.240.64.7")
    made.service("db", clusterIP="None")
    made.service("far", namespace="default", clusterIP="10.240.64.8")
    made.pod("client", str(POD))
    return made


@pytest.fixture
async def outside(cluster: Cluster) -> AsyncIterator[tuple[Responder, Upstream]]:
    table = {"www.example.org": "192.0.2.1", "intranet.corp.example": "192.0.2.2"}
    async with running(addresses(table)) as up, asyncio.TaskGroup() as group:
        forwarder = Forwarder([up.settings()], CacheSettings(), (), group.create_task)
        yield cluster.responder(forwarder=forwarder, searches=("corp.example",)), up


async def found(responder: Responder, name: str, kind: str = "A") -> dns.message.Message:
    return dns.message.from_wire(await pending(responder, name, kind, source=POD).finished())


async def test_a_name_outside_costs_one_round_trip(outside: tuple[Responder, Upstream]) -> None:
    responder, up = outside
    first = "www.example.org.shop.svc.cluster.local"
    answer = await found(responder, first)
    assert data(answer, "CNAME") == ["www.example.org."] and data(answer) == ["192.0.2.1"]
    assert up.udp == ["www.example.org.corp.example. A", "www.example.org. A"]
    again = ask(responder, first, source=POD)
    assert data(again) == ["192.0.2.1"] and len(up.udp) == 2
    assert responder.metrics.searched == 2
    none = await found(responder, first, "AAAA")
    assert (code(none), data(none, "CNAME"), data(none, "AAAA")) == ("NOERROR", ["www.example.org."], [])


async def test_the_hosts_own_search_list_counts_too(outside: tuple[Responder, Upstream]) -> None:
    answer = await found(outside[0], "intranet.shop.svc.cluster.local")
    assert data(answer, "CNAME") == ["intranet.corp.example."] and data(answer) == ["192.0.2.2"]


def test_another_namespaces_service_costs_one_too(cluster: Cluster) -> None:
    answer = cluster.ask("far.default.shop.svc.cluster.local", source=POD)
    assert data(answer, "CNAME") == ["far.default.svc.cluster.local."] and data(answer) == ["10.240.64.8"]
    assert data(cluster.ask("web.shop.svc.cluster.local", source=POD), "CNAME") == []


def test_what_was_meant_of_the_cluster_does_not_leave_it(cluster: Cluster) -> None:
    responder = cluster.responder()  # it has nobody to ask: leaving would be told as REFUSED
    for name in ("db-7.db", "nothing", "a.b.db"):
        assert code(ask(responder, f"{name}.shop.svc.cluster.local", source=POD)) == "NXDOMAIN"


async def test_a_search_in_vain_is_no_such_name(outside: tuple[Responder, Upstream]) -> None:
    answer = await found(outside[0], "nobody.example.org.shop.svc.cluster.local")
    assert (code(answer), answer.answer, str(answer.authority[0].name)) == ("NXDOMAIN", [], "cluster.local.")


@pytest.mark.parametrize(
    ("spec", "walked"),
    [
        ({}, True),
        ({"dnsConfig": {"searches": ["extra.example"]}}, True),
        ({"dnsPolicy": "None", "dnsConfig": {"searches": ["shop.svc.cluster.local"]}}, False),
        ({"dnsPolicy": "Default"}, False),
        ({"hostNetwork": True}, False),
    ],
)
def test_only_who_searches_so_is_helped(cluster: Cluster, spec: dict[str, object], walked: bool) -> None:
    cluster.pod("client", str(POD), **spec)
    answer = cluster.ask("far.default.shop.svc.cluster.local", source=POD)
    assert (code(answer) == "NOERROR") is walked
    assert code(cluster.ask("far.default.shop.svc.cluster.local")) == "NXDOMAIN", "somebody whom we do not know"


def test_without_autopath_nothing_is_walked(cluster: Cluster) -> None:
    responder = cluster.responder(".:53 {\n kubernetes cluster.local\n}\n")
    assert code(ask(responder, "far.default.shop.svc.cluster.local", source=POD)) == "NXDOMAIN"


def test_steps_fall_under_their_own_blocks(cluster: Cluster) -> None:
    text = "cluster.local {\n kubernetes cluster.local {\n  pods verified\n }\n autopath @kubernetes\n}\n"
    responder = cluster.responder(text + "org {\n hosts {\n  192.0.2.7 www.example.org\n }\n}\n")
    answer = ask(responder, "www.example.org.shop.svc.cluster.local", source=POD)
    assert data(answer) == ["192.0.2.7"]
