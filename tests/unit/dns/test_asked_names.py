"""Names beyond the specification: of pods, of the endpoints of any Service, of zones; each leads back by its reverse name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sampan.dns.records import Options

from .cluster import Cluster, code, data


def ready(ip: str, pod: str = "", **more: object) -> dict[str, object]:
    target = {"targetRef": {"kind": "Pod", "name": pod}} if pod else {}
    return {"addresses": [ip], "conditions": {"ready": True}, **target, **more}


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.namespace("shop", "other")
    made.service("web", clusterIP="10.240.64.7")
    made.service("db", clusterIP="None")
    made.piece("web", ready("10.240.0.5", "web-6d4f-abcde"), ready("10.240.0.6"))
    made.piece(
        "db",
        ready("10.240.0.8", "db-5f9-xyz", zone="a"),
        ready("10.240.0.9", "db-x", hostname="first", zone="b.example"),
    )
    for name, ip in (("web-6d4f-abcde", "10.240.0.5"), ("db-5f9-xyz", "10.240.0.8"), ("lone.pod", "10.240.0.20")):
        made.pod(name, ip)
    made.pod("host", "10.240.255.2", hostNetwork=True)
    return made


@pytest.mark.parametrize(
    ("name", "ip"),
    [
        ("db-5f9-xyz.db.shop.svc.cluster.local", "10.240.0.8"),
        ("first.db.shop.svc.cluster.local", "10.240.0.9"),
        ("web-6d4f-abcde.web.shop.svc.cluster.local", "10.240.0.5"),
        ("10-240-0-6.web.shop.svc.cluster.local", "10.240.0.6"),
        ("lone.pod.shop.pod.cluster.local", "10.240.0.20"),
    ],
)
def test_names_and_their_way_back(cluster: Cluster, name: str, ip: str) -> None:
    assert data(cluster.ask(name)) == [ip]
    reverse = ".".join(reversed(ip.split("."))) + ".in-addr.arpa"
    assert data(cluster.ask(reverse, "PTR"), "PTR") == [f"{name}."]
    assert code(cluster.ask(name, "AAAA")) == "NOERROR"
    assert code(cluster.ask(reverse)) == "NOERROR"


@pytest.mark.parametrize(
    ("name", "ip"),
    [
        ("db-x.db.shop.svc.cluster.local", "10.240.0.9"),
        ("10-240-0-9.db.shop.svc.cluster.local", "10.240.0.9"),
        ("10-240-0-8.db.shop.svc.cluster.local", "10.240.0.8"),
        ("10-240-0-5.shop.pod.cluster.local", "10.240.0.5"),
        ("web-6d4f-abcde.shop.pod.cluster.local", "10.240.0.5"),
        ("host.shop.pod.cluster.local", "10.240.255.2"),
    ],
)
def test_further_names_of_the_same(cluster: Cluster, name: str, ip: str) -> None:
    assert data(cluster.ask(name)) == [ip]


@pytest.mark.parametrize(
    "name",
    [
        "10-240-0-99.shop.pod.cluster.local",
        "10-240-0-5.other.pod.cluster.local",
        "10-240-0-5.nowhere.pod.cluster.local",
        "rubbish.shop.pod.cluster.local",
        "a.web-6d4f-abcde.web.shop.svc.cluster.local",
        "nobody.web.shop.svc.cluster.local",
    ],
)
def test_what_is_not_there(cluster: Cluster, name: str) -> None:
    assert code(cluster.ask(name)) == "NXDOMAIN"


def test_pods_that_ended_have_no_name(cluster: Cluster) -> None:
    cluster.pod("web-6d4f-abcde", "10.240.0.5", phase="Succeeded")
    assert code(cluster.ask("10-240-0-5.shop.pod.cluster.local")) == "NXDOMAIN"
    cluster.pod("next", "10.240.0.5")
    cluster.no_pod("web-6d4f-abcde")
    assert data(cluster.ask("10-240-0-5.shop.pod.cluster.local")) == ["10.240.0.5"], "its address is the next one's"


@pytest.mark.parametrize(("mode", "expected"), [("insecure", "NOERROR"), ("disabled", "NXDOMAIN")])
def test_modes_of_pods(mode: str, expected: str) -> None:
    cluster = Cluster(replace(Options(), pods=mode))  # type: ignore[arg-type]
    cluster.namespace("shop")
    assert code(cluster.ask("10-240-0-99.shop.pod.cluster.local")) == expected


def test_a_pods_name_that_is_anothers_hostname() -> None:
    cluster, told = Cluster(), []
    cluster.follower.collided = lambda key, pods: told.append((key, pods))
    cluster.namespace("shop")
    cluster.service("db", clusterIP="None")
    cluster.piece("db", ready("10.240.0.8", "one", hostname="two"), ready("10.240.0.9", "two"))
    assert data(cluster.ask("two.db.shop.svc.cluster.local")) == ["10.240.0.8"]
    assert data(cluster.ask("10-240-0-9.db.shop.svc.cluster.local")) == ["10.240.0.9"]
    assert told == [("shop/db", {"two": "one"})]


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("a.pin._zone.db.shop.svc.cluster.local", ["10.240.0.8"]),
        ("b.example.pin._zone.db.shop.svc.cluster.local", ["10.240.0.9"]),
        ("c.pin._zone.db.shop.svc.cluster.local", []),
        ("c.prefer._zone.db.shop.svc.cluster.local", ["10.240.0.8", "10.240.0.9"]),
        ("a.prefer._zone.db.shop.svc.cluster.local", ["10.240.0.8"]),
    ],
)
def test_names_of_zones(cluster: Cluster, name: str, addresses: list[str]) -> None:
    answer = cluster.ask(name)
    assert (code(answer), data(answer)) == ("NOERROR", addresses)


def test_ports_and_limits_of_names_of_zones(cluster: Cluster) -> None:
    answer = cluster.ask("_http._tcp.a.pin._zone.db.shop.svc.cluster.local", "SRV")
    assert data(answer, "SRV") == ["0 100 8080 db-5f9-xyz.db.shop.svc.cluster.local."]
    assert data(answer, "A", "additional") == ["10.240.0.8"]
    for name in ("a.only._zone.db", "a.pin._zone.web", "a.pin._zone.nothing", "x.a.pin._zone"):
        assert code(cluster.ask(f"{name}.shop.svc.cluster.local")) == "NXDOMAIN"


def test_reverse_names_are_answered_where_the_corefile_says_so() -> None:
    cluster = Cluster(replace(Options(), reverse=("1.10.in-addr.arpa",), fallthrough=()))
    cluster.namespace("shop")
    cluster.service("near", clusterIP="10.1.0.1")
    cluster.service("far", clusterIP="10.2.0.1")
    assert data(cluster.ask("1.0.1.10.in-addr.arpa", "PTR"), "PTR") == ["near.shop.svc.cluster.local."]
    assert code(cluster.ask("9.0.1.10.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert code(cluster.ask("1.0.2.10.in-addr.arpa", "PTR")) == "REFUSED", "there is nobody else to ask"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (replace(Options(), endpoint_pod_names=False), "db-1.db.shop.svc.cluster.local"),
        (replace(Options(), no_endpoints=True), "db.shop.svc.cluster.local"),
        (replace(Options(), namespaces=frozenset({"other"})), "web.shop.svc.cluster.local"),
        (replace(Options(), ignore_empty_service=True), "web.shop.svc.cluster.local"),
        (replace(Options(), zonal=False), "a.pin._zone.db.shop.svc.cluster.local"),
    ],
)
def test_options_take_names_away(options: Options, name: str) -> None:
    for given, expected in ((Options(), "NOERROR"), (options, "NXDOMAIN")):
        cluster = Cluster(given)
        cluster.namespace("shop")
        cluster.service("web", clusterIP="10.240.64.7")
        cluster.service("db", clusterIP="None")
        cluster.piece("db", ready("10.240.0.8", "db-1", zone="a"))
        assert code(cluster.ask(name)) == expected


async def test_another_zone_is_made_beside_the_one_that_answers(cluster: Cluster) -> None:
    follower = cluster.follower
    before, after = follower.zone, follower.new_zone(replace(Options(), ttl=30, domain="example.test"))
    await follower.become(after)
    assert follower.zone is after
    assert data(cluster.ask("first.db.shop.svc.example.test")) == ["10.240.0.9"]
    assert cluster.ask("web.shop.svc.example.test").answer[0].ttl == 30
    assert len(before.answers) == len(after.answers)
