"""Services and EndpointSlices to rules, and rules to transactions."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.network.rule_table import RuleTable
from sampan.network.services import NOTHING, Endpoint, ProxyConfig, rules_of

CONFIG = ProxyConfig(IPv4Address("10.240.255.2"), IPv4Network("10.240.0.0/16"), IPv4Network("10.240.0.0/18"), "uplink")


def service(name: str = "web", status: Any = None, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]
    body = {"type": "ClusterIP", "clusterIP": "10.240.64.7", "ports": ports, **spec}
    return {"metadata": {"namespace": "shop", "name": name}, "spec": body, "status": status or {}}


def endpoints(*addresses: str, port: int = 8080, name: str = "http", **conditions: bool) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": name, "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [a], "conditions": conditions or {"ready": True}} for a in addresses],
    }


def test_a_cluster_ip_goes_to_one_of_its_ready_endpoints() -> None:
    rules = rules_of(service(), [endpoints("10.240.0.2", "10.240.0.3")], CONFIG)
    (chain,) = rules.chains
    assert rules.chains[chain] == (
        "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.240.0.2 . 8080, 1 : 10.240.0.3 . 8080 }",
    )
    assert rules.elements["service_ips", "10.240.64.7 . tcp . 80"] == f"goto {chain}"
    assert ("hairpins", "10.240.0.2 . 10.240.0.2") in rules.elements


def test_no_endpoints_refuse_and_no_local_ones_drop() -> None:
    rules = rules_of(service(), [endpoints("10.240.0.2", ready=False)], CONFIG)
    assert rules.elements == {("no_endpoint_ips", "10.240.64.7 . tcp . 80"): "goto refuse"}
    far = rules_of(service(internalTrafficPolicy="Local"), [endpoints("192.168.7.7")], CONFIG)
    assert far.elements["no_endpoint_ips", "10.240.64.7 . tcp . 80"] == "drop"


def test_terminating_endpoints_serve_when_no_other_does() -> None:
    ending = endpoints("10.240.0.2", ready=False, serving=True, terminating=True)
    assert ("service_ips", "10.240.64.7 . tcp . 80") in rules_of(service(), [ending], CONFIG).elements
    both = rules_of(service(), [ending, endpoints("10.240.0.3")], CONFIG)
    assert "10.240.0.2" not in str(both)


def test_node_ports_external_and_load_balancer_addresses() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    status = {"loadBalancer": {"ingress": [{"ip": "10.240.128.1"}, {"ip": "10.240.128.2", "ipMode": "Proxy"}]}}
    given_service = service(
        status=status,
        type="LoadBalancer",
        ports=ports,
        externalIPs=["192.0.2.9", "not an address"],
        loadBalancerSourceRanges=["10.0.0.0/8"],
    )
    rules = rules_of(given_service, [endpoints("10.240.0.2")], CONFIG)
    targets = {key: verdict for (name, key), verdict in rules.elements.items() if name != "hairpins"}
    assert set(targets) == {"10.240.64.7 . tcp . 80", "192.0.2.9 . tcp . 80", "10.240.128.1 . tcp . 80", "tcp . 30080"}
    assert targets["10.240.128.1 . tcp . 80"].startswith("goto fw-")
    assert targets["tcp . 30080"].startswith("goto svc-")


def test_affinity_has_a_set_for_each_endpoint() -> None:
    sticky = service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 60}})
    rules = rules_of(sticky, [endpoints("10.240.0.2", "10.240.0.3")], CONFIG)
    assert len(rules.sets) == 2 and all("timeout 60s" in body for body in rules.sets.values())


def test_what_is_not_proxied_has_no_rules() -> None:
    assert rules_of(service(clusterIP="None"), [endpoints("10.240.0.2")], CONFIG) == NOTHING
    assert rules_of(service(type="ExternalName", clusterIP=None), [], CONFIG) == NOTHING
    assert rules_of(None, [endpoints("10.240.0.2")], CONFIG) == NOTHING


def test_a_change_touches_only_what_changed() -> None:
    table = RuleTable(CONFIG)
    first = table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.2")], CONFIG)})
    assert first.count("add chain") == 1 and "delete" not in first
    assert table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.2")], CONFIG)}) == ""
    second = table.update({"shop/web": rules_of(service(), [endpoints("10.240.0.2", "10.240.0.3")], CONFIG)})
    assert "flush chain" in second and "service_ips" not in second
    third = table.update({"shop/web": NOTHING})
    assert third.index("delete element") < third.index("flush chain") < third.index("delete chain")
    assert table.services == {} and table.update({"shop/web": NOTHING}) == ""


def test_an_element_two_services_want_stays_until_both_are_gone() -> None:
    table = RuleTable(CONFIG)
    one = rules_of(service("a", externalIPs=["192.0.2.9"]), [endpoints("10.240.0.2")], CONFIG)
    two = rules_of(service("b", externalIPs=["192.0.2.9"], clusterIP="10.240.64.8"), [endpoints("10.240.0.2")], CONFIG)
    table.update({"shop/a": one, "shop/b": two})
    text = table.update({"shop/a": NOTHING})
    assert "hairpins" not in text
    assert "192.0.2.9 . tcp . 80 : goto svc" in text and "/b/tcp/80" in text
    assert "delete element ip sampan-services hairpins" in table.update({"shop/b": NOTHING})


def test_datagrams_know_where_they_go() -> None:
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    piece = endpoints("10.240.0.2", port=53, name="dns")
    piece["ports"][0]["protocol"] = "UDP"
    rules = rules_of(service(ports=ports), [piece], CONFIG)
    assert rules.datagrams == {("10.240.64.7", 53): frozenset({Endpoint(IPv4Address("10.240.0.2"), 53)})}


STATES = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(2, 5), max_size=3), max_size=3), min_size=1, max_size=5
)


@given(STATES)
def test_any_walk_ends_where_a_fresh_table_begins(states: list[dict[str, set[int]]]) -> None:
    walked = RuleTable(CONFIG)
    for state in states:
        walked.update({f"shop/{name}": _rules(name, state.get(name)) for name in "abc"})
    fresh = RuleTable(CONFIG)
    fresh.update({f"shop/{name}": _rules(name, states[-1].get(name)) for name in "abc"})
    assert sorted(walked.services) == sorted(fresh.services)
    assert set(walked._holders) == set(fresh._holders)
    assert walked.services == fresh.services


def _rules(name: str, numbers: set[int] | None) -> Any:
    if numbers is None:
        return NOTHING
    made = service(name, clusterIP=f"10.240.64.{ord(name)}", externalIPs=["192.0.2.9"])
    return rules_of(made, [endpoints(*(f"10.240.0.{number}" for number in sorted(numbers)))], CONFIG)
