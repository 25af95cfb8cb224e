"""LoadBalancer addresses: who has which, who may share one, and what is written to the status."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.client.errors import ApiError
from sampan.network.load_balancer_pool import LOAD_BALANCER_CLASS, Pool, Refused, claim_of
from sampan.network.load_balancers import LoadBalancers

SMALL, WIDE = IPv4Network("10.0.0.0/30"), IPv6Network("fd00:2::/112")
BOTH = ["IPv4", "IPv6"]


def service(name: str = "a", annotations: Any = None, ports: tuple[int, ...] = (80,), **spec: Any) -> dict[str, Any]:
    listed = [{"port": port, "protocol": "TCP"} for port in ports]
    metadata = {"name": name, "namespace": "shop", "annotations": annotations or {}}
    return {"metadata": metadata, "spec": {"type": "LoadBalancer", "ports": listed, "ipFamilies": ["IPv4"], **spec}}


class Recorder:
    """Stands for the API and the events: keeps what was written."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}
        self.events: list[str] = []
        self.objects: dict[str, Any] = {}

    def add_handler(self, handler: Any) -> None:
        return None

    def get(self, key: str) -> Any:
        return self.objects.get(key)

    async def patch(self, resource: Any, name: str, patch: Any, namespace: str, **options: Any) -> Any:
        if name == "missing":
            raise ApiError(404, {})
        self.written[name] = patch["status"]["loadBalancer"]["ingress"]
        self.objects[f"{namespace}/{name}"]["status"] = patch["status"]

    def normal(self, about: Any, reason: str, message: str) -> None:
        self.events.append(f"{reason}: {message}")

    warning = normal


async def test_addresses_are_given_kept_and_taken_back() -> None:
    api: Any = Recorder()
    balancers = LoadBalancers(api, api, [SMALL], api)
    for name in ("a", "b", "c"):
        api.objects[f"shop/{name}"] = service(name)
        await balancers.reconcile(f"shop/{name}")
    assert api.written == {"a": [{"ip": "10.0.0.1", "ipMode": "VIP"}], "b": [{"ip": "10.0.0.2", "ipMode": "VIP"}]}
    assert api.events[-1].endswith("every address of 10.0.0.0/30 is given out")
    written = len(api.events)
    await balancers.reconcile("shop/a")
    assert len(api.events) == written, "nothing is said again"
    api.objects["shop/a"]["spec"]["type"] = "ClusterIP"
    await balancers.reconcile("shop/a")
    assert api.written["a"] is None
    assert await asyncio.wait_for(balancers.queue.get(), 60) == "shop/c", "who waits is asked again"
    await balancers.reconcile("shop/c")
    assert api.written["c"] == [{"ip": "10.0.0.1", "ipMode": "VIP"}]


async def test_an_address_of_each_family_and_one_that_cannot_be_had() -> None:
    api: Any = Recorder()
    balancers = LoadBalancers(api, api, [SMALL, WIDE], api)
    api.objects["shop/a"] = service(ipFamilies=BOTH)
    await balancers.reconcile("shop/a")
    assert [entry["ip"] for entry in api.written["a"]] == ["10.0.0.1", "fd00:2::1"]
    api.objects["shop/a"]["spec"]["ipFamilies"] = ["IPv6"]
    await balancers.reconcile("shop/a")
    assert [entry["ip"] for entry in api.written["a"]] == ["fd00:2::1"]
    api.objects["shop/a"]["spec"]["loadBalancerIP"] = "fd00:9::9"
    await balancers.reconcile("shop/a")
    assert api.written["a"] is None
    assert api.events[-1].endswith("fd00:9::9 is not an address of 10.0.0.0/30, fd00:2::/112")


@pytest.mark.parametrize(
    "named, default, ours",
    [("", True, True), ("", False, False), (LOAD_BALANCER_CLASS, False, True), ("other.example/x", True, False)],
)
def test_classes_are_respected(named: str, default: bool, ours: bool) -> None:
    api: Any = Recorder()
    balancers = LoadBalancers(api, api, [SMALL], api, default=default)
    assert balancers.is_ours(service(loadBalancerClass=named or None)) is ours


def take(pool: Pool, given: dict[str, Any]) -> list[str]:
    return [str(address) for address in pool.take(claim_of(given["metadata"]["name"], given))]


def test_services_share_an_address_when_both_say_so_and_their_ports_differ() -> None:
    pool = Pool([IPv4Network("10.0.0.0/29")])
    key = {"sampan.dev/allow-shared-ip": "web"}
    assert take(pool, service("a", key, (80,))) == take(pool, service("b", key, (443,))) == ["10.0.0.1"]
    assert take(pool, service("c", key, (80,))) == ["10.0.0.2"], "the port is taken: another address"
    wanted = {"loadBalancerIP": "10.0.0.1"}
    with pytest.raises(Refused, match=r"10\.0\.0\.1 is not free: a has the same port"):
        take(pool, service("d", key, (80,), **wanted))
    with pytest.raises(Refused, match="a has another sharing key"):
        take(pool, service("d", None, (8080,), **wanted))
    assert take(pool, service("d", {"metallb.io/allow-shared-ip": "web"}, (8080,), **wanted)) == ["10.0.0.1"]
    lonely = take(pool, service("e", None, (1,)))[0]
    with pytest.raises(Refused, match="e shares its address with nobody"):
        take(pool, service("f", key, (2,), loadBalancerIP=lonely))
    assert pool.of("f") == []


@pytest.mark.parametrize(
    "wanted, families, why",
    [
        ("10.0.0.0", ["IPv4"], "10.0.0.0 is not an address of 10.0.0.0/30"),
        ("nonsense", ["IPv4"], "'nonsense' is not an IP address"),
        ("fd00::1", ["IPv4"], "fd00::1 is not of IPv4, the Service's families"),
        ("10.0.0.1,10.0.0.2", ["IPv4"], "names two addresses of one family"),
        ("", ["IPv6"], "no range of IPv6 in 10.0.0.0/30"),
    ],
)
def test_what_cannot_be_meant_is_refused(wanted: str, families: list[str], why: str) -> None:
    pool = Pool([SMALL])
    with pytest.raises(Refused, match=why):
        take(pool, service(annotations={"sampan.dev/load-balancer-ips": wanted}, ipFamilies=families))


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "k", "l"]), st.integers(1, 3), st.booleans()))
)
def test_nobody_shares_an_address_who_may_not(steps: list[tuple[str, str, int, bool]]) -> None:
    pool = Pool([IPv4Network("10.0.0.0/29")])
    claims: dict[str, Any] = {}
    for name, key, port, stays in steps:
        claim = claim_of(name, service(name, {"sampan.dev/allow-shared-ip": key}, (port,)))
        if not stays:
            pool.release(name)
            claims.pop(name, None)
            continue
        try:
            assert pool.take(claim)
            claims[name] = claim
        except Refused:
            claims.pop(name, None)
        assert {owner for owner in "abcdef" if pool.of(owner)} == claims.keys()
        for one in claims:
            for other in claims:
                if one != other and set(pool.of(one)) & set(pool.of(other)):
                    assert claims[one].can_share(claims[other])
    assert all(ip_address(a) in IPv4Network("10.0.0.0/29") for name in claims for a in pool.of(name))
