"""Services and EndpointSlices to elements of nftables maps, and from one state of the maps to the next."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.network import service_table
from sampan.network.families import FAMILIES, IPV4
from sampan.network.rule_table import RuleTable
from sampan.network.service_endpoints import Endpoint
from sampan.network.service_table import ProxyConfig, readable
from sampan.network.services import NOTHING, ServiceRules, rules_of

CONFIG = ProxyConfig(
    "node",
    (IPv4Address("10.240.255.2"), IPv6Address("fd53::ff:2")),
    (IPv4Network("10.240.0.0/18"), IPv6Network("fd53::/64")),
    inside=(IPv4Network("10.240.0.0/18"), IPv6Network("fd53::/64")),
)
ADDRESS = "10.240.64.7"


def service(name: str = "web", status: Any = None, labels: Any = None, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    body = {"type": "ClusterIP", "clusterIP": ADDRESS, "ports": ports, **spec}
    return {"metadata": {"namespace": "shop", "name": name, "labels": labels}, "spec": body, "status": status or {}}


def endpoints(*addresses: str, port: int = 8080, name: str = "http", **entry: Any) -> dict[str, Any]:
    kind = f"IPv{ip_address(addresses[0]).version}"
    conditions = {"conditions": {key: entry.pop(key) for key in ("ready", "serving", "terminating") if key in entry}}
    return {
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": kind,
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [a], **conditions, **entry} for a in addresses],
    }


def shown(rules: ServiceRules, *without: str) -> dict[str, str]:
    """Return elements as nft would list them."""
    result = {}
    for (family, name, key), value in rules.elements.items():
        if name not in ("hairpins", "sources", *without):
            text = value or ""
            if isinstance(value, bytes):
                size = 4 if family == "ip" else 16
                text = f"{ip_address(value[:size])} . {int.from_bytes(value[size : size + 2], 'big')}"
            result[f"{name} {readable(family, name, key)}"] = str(text)
    return result


def test_a_cluster_ip_goes_to_one_of_its_ready_endpoints() -> None:
    rules = rules_of(service(), [endpoints("10.240.0.2", "10.240.0.3"), endpoints("10.240.0.4", ready=False)], CONFIG)
    assert shown(rules) == {
        f"service_ips {ADDRESS} . tcp . 80": "goto pick-2",
        f"endpoints {ADDRESS} . tcp . 80 . 0": "10.240.0.2 . 8080",
        f"endpoints {ADDRESS} . tcp . 80 . 1": "10.240.0.3 . 8080",
    }
    assert {element[1:] for element in rules.elements if element[1] == "hairpins"} == {
        ("hairpins", IPv4Address(f"10.240.0.{number}").packed * 2) for number in (2, 3)
    }


def test_both_families_have_tables_of_their_own() -> None:
    both = service(clusterIPs=[ADDRESS, "fd53::1:7"])
    rules = rules_of(both, [endpoints("10.240.0.2"), endpoints("fd53::2", "fd53::3")], CONFIG)
    assert shown(rules, "endpoints") == {
        f"service_ips {ADDRESS} . tcp . 80": "goto pick-1",
        "service_ips fd53::1:7 . tcp . 80": "goto pick-2",
    }
    assert {family for family, _, _ in rules.elements} == {"ip", "ip6"}
    one = replace(CONFIG, node_ips=CONFIG.node_ips[:1])
    assert {family for family, _, _ in rules_of(both, [endpoints("fd53::2")], one).elements} == {"ip"}


def test_no_endpoints_refuse_and_no_local_ones_drop() -> None:
    rules = rules_of(service(), [endpoints("10.240.0.2", ready=False)], CONFIG)
    assert shown(rules) == {f"no_endpoint_ips {ADDRESS} . tcp . 80": "goto refuse"}
    far = rules_of(service(internalTrafficPolicy="Local"), [endpoints("192.168.7.7")], CONFIG)
    assert shown(far) == {f"no_endpoint_ips {ADDRESS} . tcp . 80": "drop"}
    assert far.without_local == {"internal"}


def test_terminating_endpoints_serve_when_no_other_does() -> None:
    ending = endpoints("10.240.0.2", ready=False, serving=True, terminating=True)
    assert f"service_ips {ADDRESS} . tcp . 80" in shown(rules_of(service(), [ending], CONFIG))
    both = rules_of(service(), [ending, endpoints("10.240.0.3")], CONFIG)
    assert "10.240.0.2 . 8080" not in shown(both).values()
    gone = endpoints("10.240.0.2", ready=False, serving=False, terminating=True)
    assert shown(rules_of(service(), [gone], CONFIG)) == {f"no_endpoint_ips {ADDRESS} . tcp . 80": "goto refuse"}


def test_node_ports_external_and_load_balancer_addresses() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    status = {"loadBalancer": {"ingress": [{"ip": "10.240.128.1"}, {"ip": "10.240.128.2", "ipMode": "Proxy"}]}}
    given_service = service(
        status=status,
        type="LoadBalancer",
        ports=ports,
        externalIPs=["192.0.2.9", "not an address"],
        loadBalancerSourceRanges=["10.0.0.0/8", " 10.1.0.0/16", "fd00::/8"],
    )
    rules = rules_of(given_service, [endpoints("10.240.0.2")], CONFIG)
    assert shown(rules, "endpoints", "port_endpoints") == {
        f"service_ips {ADDRESS} . tcp . 80": "goto pick-1",
        "service_ips 192.0.2.9 . tcp . 80": "goto pick-1",
        "service_ips 10.240.128.1 . tcp . 80": "goto pick-1",
        "guarded 10.240.128.1 . tcp . 80": "",
        "node_ports tcp . 30080": "goto pick-port-1",
    }
    (sources,) = [key for _, name, key in rules.elements if name == "sources"]
    assert sources[12:16] == bytes([10, 0, 0, 0]) and sources[28:] == bytes([10, 255, 255, 255])
    assert len(sources) == 32


def test_those_inside_are_not_bound_by_an_external_policy() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    local = service(type="NodePort", ports=ports, externalTrafficPolicy="Local", externalIPs=["192.0.2.9"])
    far = rules_of(local, [endpoints("192.168.7.7", nodeName="other")], CONFIG)
    assert shown(far, "endpoints", "port_endpoints") == {
        f"service_ips {ADDRESS} . tcp . 80": "goto pick-1",
        "no_endpoint_ips 192.0.2.9 . tcp . 80": "drop",
        "inside_ips 192.0.2.9 . tcp . 80": "goto inside-1",
        "no_endpoint_ports tcp . 30080": "drop",
        "inside_ports tcp . 30080": "goto inside-port-1",
    }
    assert far.without_local == {"external"}
    assert shown(far)["endpoints 192.0.2.9 . tcp . 80 . 32768"] == "192.168.7.7 . 8080"
    here = rules_of(local, [endpoints("10.240.0.2", nodeName="node")], CONFIG)
    assert not any(name.startswith("inside") for name in shown(here))


@pytest.mark.parametrize(
    "zone, node, hints, expected",
    [
        ("a", "", {"10.240.0.2": ("a", ""), "10.240.0.3": ("b", "")}, {"10.240.0.2"}),
        ("c", "", {"10.240.0.2": ("a", ""), "10.240.0.3": ("b", "")}, {"10.240.0.2", "10.240.0.3"}),
        ("a", "", {"10.240.0.2": ("a", ""), "10.240.0.3": ("", "")}, {"10.240.0.2", "10.240.0.3"}),
        ("", "", {"10.240.0.2": ("a", ""), "10.240.0.3": ("b", "")}, {"10.240.0.2", "10.240.0.3"}),
        ("a", "node", {"10.240.0.2": ("a", "other"), "10.240.0.3": ("a", "node")}, {"10.240.0.3"}),
        ("a", "node", {"10.240.0.2": ("a", "other"), "10.240.0.3": ("b", "third")}, {"10.240.0.2"}),
    ],
)
def test_hints_choose_what_is_near(zone: str, node: str, hints: dict[str, tuple[str, str]], expected: set[str]) -> None:
    pieces = []
    for address, (zone_hint, node_hint) in hints.items():
        given = {"forZones": [{"name": zone_hint}]} if zone_hint else {}
        given |= {"forNodes": [{"name": node_hint}]} if node_hint else {}
        pieces.append(endpoints(address, hints=given))
    rules = rules_of(service(), pieces, CONFIG, CONFIG.place(zone))
    chosen = {value.split()[0] for key, value in shown(rules).items() if key.startswith("endpoints")}
    assert chosen == expected


def test_affinity_is_one_map_of_a_port() -> None:
    config = {"clientIP": {"timeoutSeconds": 60}}
    sticky = service(sessionAffinity="ClientIP", sessionAffinityConfig=config, externalIPs=["192.0.2.9"])
    rules = rules_of(sticky, [endpoints("10.240.0.2", "10.240.0.3")], CONFIG)
    ((affinity, allowed),) = rules.affinities.items()
    assert affinity.seconds == 60 and len(allowed) == 2 and len(f"{affinity.name}-remember") < 128
    listed = shown(rules)
    for address in (ADDRESS, "192.0.2.9"):
        assert listed[f"sticky_ips {address} . tcp . 80"] == f"jump {affinity.name}"
        assert listed[f"remembered_ips {address} . tcp . 80"] == f"goto {affinity.name}-remember"


def test_with_several_nodes_outer_clients_are_masqueraded() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    many = replace(CONFIG, masquerade=True)
    rules = rules_of(service(type="NodePort", ports=ports), [endpoints("10.240.0.2")], many)
    assert shown(rules)[f"masquerading_ips {ADDRESS} . tcp . 80"] == "goto masquerade-outside"
    assert shown(rules)["masquerading_ports tcp . 30080"] == "goto masquerade-all"
    assert "masquerading_ips" in service_table.text(IPV4, many).partition("chain postrouting")[2]
    unknown = service_table.text(IPV4, replace(many, inside=()))
    assert "chain masquerade-outside {  }" in unknown, "pods are not taken for strangers"


@pytest.mark.parametrize(
    "given_service",
    [
        service(clusterIP="None"),
        service(type="ExternalName", clusterIP=None),
        service(labels={"service.kubernetes.io/service-proxy-name": "mine"}),
        service(labels={"service.kubernetes.io/headless": ""}),
        None,
    ],
)
def test_what_is_not_proxied_has_no_rules(given_service: Any) -> None:
    assert rules_of(given_service, [endpoints("10.240.0.2")], CONFIG) == NOTHING


def test_slices_of_headless_services_are_not_looked_at() -> None:
    piece = endpoints("10.240.0.2")
    piece["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    assert f"no_endpoint_ips {ADDRESS} . tcp . 80" in shown(rules_of(service(), [piece], CONFIG))


def test_a_port_with_a_waypoint_goes_there_and_the_others_do_not() -> None:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "raw", "port": 90, "protocol": "TCP"}]
    plain = [endpoints("10.240.0.2"), endpoints("10.240.0.2", name="raw")]
    waypoint = endpoints("10.240.255.2", port=10300)
    waypoint["metadata"]["labels"] = {"gateway.sampan.dev/waypoint-for": "web"}
    before = rules_of(service(ports=ports), plain, CONFIG)
    found = rules_of(service(ports=ports), [*plain, waypoint], CONFIG)
    changed = {name for name, value in shown(found).items() if shown(before).get(name) != value}
    assert [shown(found)[name] for name in changed] == ["10.240.255.2 . 10300"], changed


def test_health_of_a_service_counts_its_ready_endpoints_here() -> None:
    balanced = service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30999)
    pieces = [endpoints("10.240.0.2", "10.240.0.3", nodeName="node"), endpoints("10.240.0.4", nodeName="other")]
    rules = rules_of(balanced, pieces, CONFIG)
    assert (rules.health_port, rules.local_endpoints) == (30999, 2)
    assert (
        rules_of(
            {**balanced, "spec": {**balanced["spec"], "externalTrafficPolicy": "Cluster"}}, pieces, CONFIG
        ).health_port
        == 0
    )


def test_a_change_touches_only_what_changed() -> None:
    table = RuleTable(CONFIG)
    first = table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.2")], CONFIG)})
    assert not first.removed and first.numbers == [1] and len(first.added) == 3
    assert not table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.2")], CONFIG)})
    second = table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.2", "10.240.0.3")], CONFIG)})
    assert [element[1] for element in second.removed] == ["service_ips"]
    assert sorted(element[1] for element in second.added) == ["endpoints", "hairpins", "service_ips"]
    third = table.update({"shop/web": NOTHING})
    assert len(third.removed) == 5 and not third.added
    assert table.services == {} and table.elements() == {} and not table.update({"shop/web": NOTHING})


def test_chains_are_made_once_for_each_number_of_endpoints() -> None:
    table = RuleTable(CONFIG)
    many = endpoints(*(f"10.240.1.{number}" for number in range(200)))
    assert table.update({"shop/web": rules_of(service(), [many], CONFIG)}).numbers == [200]
    other = service("other", clusterIP="10.240.64.8")
    assert not table.update({"shop/other": rules_of(other, [many], CONFIG)}).numbers


def test_clients_of_an_endpoint_that_went_are_forgotten() -> None:
    table = RuleTable(CONFIG)
    sticky = service(sessionAffinity="ClientIP")
    both = rules_of(sticky, [endpoints("10.240.0.2", "10.240.0.3")], CONFIG)
    change = table.update({"shop/web": both})
    assert change.affinities == list(both.affinities) and not change.remembered
    change = table.update({"shop/web": rules_of(sticky, [endpoints("10.240.0.3")], CONFIG)})
    assert list(change.remembered.values()) == [{Endpoint(IPv4Address("10.240.0.3"), 8080)}] and not change.affinities
    change = table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.3")], CONFIG)})
    assert change.obsolete == list(both.affinities)


def test_an_element_two_services_want_stays_until_both_are_gone() -> None:
    table = RuleTable(CONFIG)
    one = rules_of(service("a", externalIPs=["192.0.2.9"]), [endpoints("10.240.0.2")], CONFIG)
    two = rules_of(service("b", externalIPs=["192.0.2.9"], clusterIP="10.240.64.8"), [endpoints("10.240.0.3")], CONFIG)
    table.update({"shop/a": one, "shop/b": two})
    change = table.update({"shop/a": NOTHING})
    moved = {element for element in change.added if element in change.removed}
    assert {name for _, name, _ in moved} == {"endpoints"}, "the address is led to the other's endpoint"
    assert all(element not in table.elements() for element in change.removed if element not in change.added)
    table.update({"shop/b": NOTHING})
    assert table.elements() == {}


def test_datagrams_know_where_they_go() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP", "nodePort": 30053}]
    piece = endpoints("10.240.0.2", port=53, name="dns")
    piece["ports"][0]["protocol"] = "UDP"
    rules = rules_of(service(ports=ports), [piece], CONFIG)
    to = frozenset({Endpoint(IPv4Address("10.240.0.2"), 53)})
    assert rules.datagrams == {(IPv4Address(ADDRESS), 53): to, (None, 30053): to}


def test_the_layout_has_a_mark_that_follows_what_it_depends_on() -> None:
    assert service_table.mark(CONFIG) != service_table.mark(replace(CONFIG, uplink="uplink"))
    assert f'"sampan {service_table.mark(CONFIG)}"' in service_table.whole(CONFIG)
    assert all(service_table.text(family, CONFIG).count("type nat hook") == 5 for family in FAMILIES)
    assert all("type filter" not in service_table.text(family, CONFIG) for family in FAMILIES), (
        "nothing for every packet"
    )


STATES = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(2, 5), max_size=3), max_size=3), min_size=1, max_size=5
)


@given(STATES)
def test_any_walk_ends_where_a_fresh_table_begins(states: list[dict[str, set[int]]]) -> None:
    walked = RuleTable(CONFIG)
    kernel: dict[Any, Any] = {}
    for state in states:
        change = walked.update({f"shop/{name}": _rules(name, state.get(name)) for name in "abc"})
        for element in change.removed:
            del kernel[element]
        assert not change.added.keys() & kernel.keys(), "what is there is not added"
        kernel.update(change.added)
        assert kernel == walked.elements()
    fresh = RuleTable(CONFIG)
    fresh.update({f"shop/{name}": _rules(name, states[-1].get(name)) for name in "abc"})
    assert walked.services == fresh.services and kernel.keys() == fresh.elements().keys()


def _rules(name: str, numbers: set[int] | None) -> Any:
    if numbers is None:
        return NOTHING
    made = service(name, clusterIP=f"10.240.64.{ord(name)}", externalIPs=["192.0.2.9"])
    pieces = [endpoints(*(f"10.240.0.{number}" for number in sorted(numbers)))] if numbers else []
    return rules_of(made, pieces, CONFIG)
