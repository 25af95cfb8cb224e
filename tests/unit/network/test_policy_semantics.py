"""Policies' meaning: a plain reading of the API's words against the table's rules and against ``verdicts``."""

from __future__ import annotations

import importlib.util
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.network.nft_ledger import packed
from sampan.network.policy_flows import party
from sampan.network.policy_model import cluster_network_policy, network_policy, pod_facts
from sampan.network.policy_state import PolicyState
from sampan.network.policy_verdict import Connection, verdicts

spec = importlib.util.spec_from_file_location("nft_reading", Path(__file__).with_name("nft_reading.py"))
assert spec is not None and spec.loader is not None
reading = sys.modules.setdefault("nft_reading", importlib.util.module_from_spec(spec))
spec.loader.exec_module(reading)

Object = dict[str, Any]
SPACES = {"x": {"ns": "x", "team": "one"}, "y": {"ns": "y", "team": "one"}, "z": {"ns": "z"}}
OUTSIDE = ("192.0.2.7", "10.0.9.9", "2001:db8::7")


def pod(namespace: str, name: str, number: int, labels: dict[str, str], named: int = 80) -> Object:
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": f"{namespace}{name}", "labels": labels},
        "spec": {"containers": [{"ports": [{"name": "serve", "containerPort": named, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": f"10.0.0.{number}"}, {"ip": f"fd00::{number}"}]},
    }


PODS = [
    pod(space, name, number * 3 + index + 1, {"pod": name, "tier": "db" if name == "c" else "web"}, 80 + index)
    for number, space in enumerate(SPACES)
    for index, name in enumerate("abc")
]

# the plain reading


def selects(selector: Object, labels: dict[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        has, value = term["key"] in labels, labels.get(term["key"])
        holds = {
            "In": has and value in (term.get("values") or ()),
            "NotIn": value not in (term.get("values") or ()),
            "Exists": has,
            "DoesNotExist": not has,
        }[term["operator"]]
        if not holds:
            return False
    return True


def owner(address: str) -> Object | None:
    return next((found for found in PODS if any(entry["ip"] == address for entry in found["status"]["podIPs"])), None)


def is_peer(peer: Object, address: str, home: str) -> bool:
    if block := peer.get("ipBlock"):
        where = ip_address(address)
        inside = where in ip_network(block["cidr"])
        return inside and not any(where in ip_network(text) for text in block.get("except") or ())
    found = owner(address)
    if found is None:
        return False
    space = found["metadata"]["namespace"]
    if "namespaceSelector" in peer:
        if not selects(peer["namespaceSelector"], SPACES[space]):
            return False
    elif space != home:
        return False
    return selects(peer.get("podSelector") or {}, found["metadata"]["labels"])


def is_port(port: Object, packet: Any) -> bool:
    if port.get("protocol", "TCP").lower() != packet.protocol:
        return False
    wanted = port.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        found = owner(packet.destination)
        listed = found["spec"]["containers"][0]["ports"] if found else []
        return any(
            (e["name"], e["protocol"].lower(), e["containerPort"]) == (wanted, packet.protocol, packet.port)
            for e in listed
        )
    return bool(wanted <= packet.port <= port.get("endPort", wanted))


def tier_says(policies: list[Object], tier: str, way: str, subject: Object, other: str, packet: Any) -> str:
    mine = []
    for policy in policies:
        rules, about = policy["spec"].get(way) or [], policy["spec"]["subject"]
        both = about.get("pods") or {"namespaceSelector": about.get("namespaces") or {}, "podSelector": {}}
        if policy["spec"]["tier"] == tier and is_peer(both, subject["status"]["podIPs"][0]["ip"], ""):
            mine.append((policy["spec"]["priority"], policy["metadata"]["name"], rules))
    for _, _, rules in sorted(mine, key=lambda found: found[:2]):
        for rule in rules:
            if not any(is_tiered_peer(peer, other) for peer in rule["from" if way == "ingress" else "to"]):
                continue
            if "protocols" not in rule or any(is_tiered_port(each, packet) for each in rule["protocols"]):
                return str(rule["action"])
    return "Pass"


def is_tiered_peer(peer: Object, address: str) -> bool:
    if "networks" in peer:
        return any(ip_address(address) in ip_network(text) for text in peer["networks"])
    return is_peer(peer.get("pods") or {"namespaceSelector": peer["namespaces"]}, address, "")


def is_tiered_port(given: Object, packet: Any) -> bool:
    if "destinationNamedPort" in given:
        return packet.protocol == "tcp" and is_port({"port": given["destinationNamedPort"]}, packet)
    [(protocol, what)] = given.items()
    port = what["destinationPort"]
    first = port.get("number") or port["range"]["start"]
    last = port.get("number") or port["range"]["end"]
    return bool(protocol == packet.protocol and first <= packet.port <= last)


def allowed(policies: list[Object], tiered: list[Object], packet: Any) -> bool:
    if packet.source == packet.destination:
        return True
    for way, mine, other in (
        ("egress", packet.source, packet.destination),
        ("ingress", packet.destination, packet.source),
    ):
        subject = owner(mine)
        if subject is None:
            continue
        said = tier_says(tiered, "Admin", way, subject, other, packet)
        if said == "Pass":
            said = network_policies_say(policies, way, subject, other, packet)
        if said == "Pass":
            said = tier_says(tiered, "Baseline", way, subject, other, packet)
        if said == "Deny":
            return False
    return True


def network_policies_say(policies: list[Object], way: str, subject: Object, other: str, packet: Any) -> str:
    about = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == subject["metadata"]["namespace"]
        and selects(policy["spec"]["podSelector"], subject["metadata"]["labels"])
        and way.capitalize() in policy["spec"]["policyTypes"]
    ]
    for policy in about:
        for rule in policy["spec"].get(way) or ():
            peers, ports = rule.get("from" if way == "ingress" else "to"), rule.get("ports")
            if peers and not any(is_peer(peer, other, policy["metadata"]["namespace"]) for peer in peers):
                continue
            if not ports or any(is_port(port, packet) for port in ports):
                return "Accept"
    return "Deny" if about else "Pass"


# anything one may write

labels = st.sampled_from([{}, {"pod": "a"}, {"pod": "b"}, {"tier": "web"}, {"none": "such"}])
expressions = st.sampled_from(
    [
        {"key": "pod", "operator": "In", "values": ["a", "c"]},
        {"key": "pod", "operator": "NotIn", "values": ["b"]},
        {"key": "tier", "operator": "Exists"},
        {"key": "other", "operator": "DoesNotExist"},
    ]
)
selectors = st.builds(
    lambda given, terms: {"matchLabels": given, "matchExpressions": terms}, labels, st.lists(expressions, max_size=1)
)
space_selectors = st.sampled_from(
    [
        {}, {"matchLabels": {"ns": "y"}}, {"matchLabels": {"team": "one"}},
        {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]},
    ]
)  # fmt: skip
blocks = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "10.0.0.0/24", "except": ["10.0.0.4/32", "10.0.0.6/31"]},
        {"cidr": "192.0.2.0/24", "except": ["192.0.2.0/25", "192.0.2.128/25"]},
        {"cidr": "::/0", "except": ["fd00::/125"]},
        {"cidr": "fd00::/120"},
    ]
)
peers = st.one_of(
    st.builds(lambda block: {"ipBlock": block}, blocks),
    st.builds(lambda pods: {"podSelector": pods}, selectors),
    st.builds(lambda spaces: {"namespaceSelector": spaces}, space_selectors),
    st.builds(lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, selectors, space_selectors),
)
ports = st.sampled_from(
    [
        {"port": 80, "protocol": "TCP"}, {"protocol": "TCP"}, {"protocol": "UDP", "port": 80},
        {"protocol": "SCTP", "port": 80},
        {"port": 80, "endPort": 81, "protocol": "TCP"}, {"port": "serve", "protocol": "TCP"},
        {"port": "none", "protocol": "TCP"}, {"port": 79, "endPort": 83, "protocol": "TCP"},
        {"protocol": "SCTP"},
    ]
)  # fmt: skip


def rules(side: str) -> st.SearchStrategy[Object]:
    return st.fixed_dictionaries({}, optional={side: st.lists(peers, max_size=3), "ports": st.lists(ports, max_size=3)})


kinds = st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])


def named_policy(namespace: str, name: str, body: Object) -> Object:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": body}


policies = st.builds(
    named_policy,
    st.sampled_from(sorted(SPACES)),
    st.sampled_from(["p", "q", "r"]),
    st.fixed_dictionaries(
        {"podSelector": selectors, "policyTypes": kinds},
        optional={"ingress": st.lists(rules("from"), max_size=2), "egress": st.lists(rules("to"), max_size=2)},
    ),
)
both_selectors = st.builds(
    lambda pods, spaces: {"podSelector": pods, "namespaceSelector": spaces}, selectors, space_selectors
)
tiered_peers = st.one_of(
    st.builds(lambda spaces: {"namespaces": spaces}, space_selectors),
    st.builds(lambda both: {"pods": both}, both_selectors),
)
networks = st.just({"networks": ["10.0.0.0/29", "::/0"]})
protocols = st.sampled_from(
    [
        {"tcp": {"destinationPort": {"number": 80}}}, {"udp": {"destinationPort": {"range": {"start": 80, "end": 81}}}},
        {"destinationNamedPort": "serve"},
    ]
)  # fmt: skip


def tiered_rules(side: str) -> st.SearchStrategy[Object]:
    others = st.one_of(tiered_peers, networks) if side == "to" else tiered_peers
    return st.fixed_dictionaries(
        {"action": st.sampled_from(["Accept", "Deny", "Pass"]), side: st.lists(others, min_size=1, max_size=2)},
        optional={"protocols": st.lists(protocols, min_size=1, max_size=2)},
    )


tiered_policies = st.builds(
    named_policy,
    st.just(""),
    st.sampled_from(["k", "l", "m", "n"]),
    st.fixed_dictionaries(
        {
            "tier": st.sampled_from(["Admin", "Baseline"]),
            "priority": st.integers(0, 2),
            "subject": st.just({"namespaces": {}}) | tiered_peers,
            "ingress": st.lists(tiered_rules("from"), max_size=3),
            "egress": st.lists(tiered_rules("to"), max_size=3),
        },
    ),
)


def unique(objects: list[Object]) -> list[Object]:
    return list({(found["metadata"]["namespace"], found["metadata"]["name"]): found for found in objects}.values())


V4 = [found["status"]["podIPs"][0]["ip"] for found in PODS] + [text for text in OUTSIDE if "." in text]
V6 = [found["status"]["podIPs"][1]["ip"] for found in PODS] + [text for text in OUTSIDE if ":" in text]
SENT = [("tcp", 80), ("tcp", 81), ("udp", 80), ("sctp", 80), ("tcp", 82)]


def everybody(begin: int) -> list[Any]:
    """Return a packet from everybody to everybody, of each family; the protocols and ports go round."""
    pairs = [(source, to) for listed in (V4, V6) for source in listed for to in listed]
    return [
        reading.Packet(source, to, *SENT[(begin + number * 7 // 3) % len(SENT)])
        for number, (source, to) in enumerate(pairs)
    ]


def fresh() -> PolicyState:
    state = PolicyState()
    for name, given_labels in SPACES.items():
        state.set_namespace(name, given_labels)
    for found in PODS:
        state.set_pod(f"{found['metadata']['namespace']}/{found['metadata']['name']}", pod_facts(found))
    return state


def load(state: PolicyState, listed: list[Object], tiered: list[Object]) -> None:
    for policy in listed:
        state.set_policy(
            f"NetworkPolicy:{policy['metadata']['namespace']}/{policy['metadata']['name']}", network_policy(policy)
        )
    for policy in tiered:
        parsed = cluster_network_policy(policy)
        state.set_policy(parsed.owner, parsed)


@settings(deadline=None, max_examples=50)
@given(st.lists(policies, min_size=1, max_size=5), st.lists(tiered_policies, min_size=2, max_size=5), st.integers(0, 4))
def test_the_table_and_the_verdicts_mean_what_the_api_says(
    listed: list[Object], tiered: list[Object], begin: int
) -> None:
    listed, tiered = unique(listed), unique(tiered)
    state = fresh()
    load(state, listed, tiered)
    state.flush()
    table = reading.Table()
    table.load(state.ledger.whole())
    for packet in everybody(begin):
        expected = allowed(listed, tiered, packet)
        assert table.allows(packet) is expected, packet
        ends = (party(ip_address(packet.source), state), party(ip_address(packet.destination), state))
        found = verdicts(Connection(*ends, packet.protocol, packet.port), state.policies.values(), state.namespaces)
        assert all(verdict.allowed for verdict in found) is expected, packet


TIERS: list[tuple[list[Object], list[tuple[str, int, str]], bool]] = [
    ([named_policy("x", "deny", {"podSelector": {}, "policyTypes": ["Ingress"]})], [("Admin", 1, "Pass")], False),
    ([named_policy("x", "deny", {"podSelector": {}, "policyTypes": ["Ingress"]})], [("Admin", 1, "Accept")], True),
    ([named_policy("x", "all", {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})],
     [("Baseline", 1, "Deny")], True),
    ([named_policy("x", "all", {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]})],
     [("Admin", 1, "Deny")], False),
    ([], [("Admin", 1, "Pass"), ("Admin", 2, "Deny")], True),
    ([], [("Admin", 2, "Pass"), ("Admin", 1, "Deny")], False),
    ([], [("Admin", 1, "Pass"), ("Baseline", 1, "Deny")], False),
    ([], [("Baseline", 1, "Pass"), ("Baseline", 2, "Deny")], True),
    ([], [("Baseline", 1, "Deny")], False),
]  # fmt: skip


@pytest.mark.parametrize(("listed", "asked", "reached"), TIERS)
def test_tiers_are_asked_in_their_order(listed: list[Object], asked: list[tuple[str, int, str]], reached: bool) -> None:
    tiered = [
        named_policy("", f"p{priority}{tier}".lower(), {
            "tier": tier, "priority": priority, "subject": {"namespaces": {}},
            "ingress": [{"action": action, "from": [{"namespaces": {}}]}]})
        for tier, priority, action in asked
    ]  # fmt: skip
    state = fresh()
    load(state, listed, tiered)
    state.flush()
    table = reading.Table()
    table.load(state.ledger.whole())
    packet = reading.Packet("10.0.0.5", "10.0.0.1", "tcp", 80)
    ends = (party(ip_address(packet.source), state), party(ip_address(packet.destination), state))
    found = verdicts(Connection(*ends, "tcp", 80), state.policies.values(), state.namespaces)
    assert allowed(listed, tiered, packet) is reached
    assert table.allows(packet) is reached and all(verdict.allowed for verdict in found) is reached


changes = st.lists(
    st.one_of(
        st.tuples(st.just("policy"), policies, st.booleans()),
        st.tuples(st.just("tiered"), tiered_policies, st.booleans()),
        st.tuples(
            st.just("pod"), st.sampled_from(PODS), st.sampled_from(["gone", "ended", "moved", "labels", "whole"])
        ),
        st.tuples(st.just("namespace"), st.sampled_from(sorted(SPACES)), st.sampled_from([{}, {"ns": "y"}, None])),
        st.tuples(st.just("flush"), st.none(), st.none()),
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=100)
@given(changes)
def test_transactions_lead_where_a_new_table_would(listed: list[Any]) -> None:
    """Whatever came in which order: the kernel takes every transaction, and what it then has is what there should be."""
    state = fresh()
    table = reading.Table()
    state.flush()
    table.load(state.ledger.whole())
    for kind, what, how in listed:
        change(state, kind, what, how)
        if kind == "flush":
            table.load(state.flush().text())
    table.load(state.flush().text())
    anew = PolicyState()
    for name, given_labels in state.namespaces.items():
        anew.set_namespace(name, given_labels)
    for owner_name, policy in state.policies.items():
        anew.set_policy(owner_name, policy)
    for address, holders in state.holders.items():
        assert state.holder(address) in holders
    for key, record in state.pods.items():
        anew.set_pod(key, record.facts)
        for address in record.facts.addresses:
            anew.holders.setdefault(address, {})
    anew.holders = {address: dict(holders) for address, holders in state.holders.items()}
    anew.flush()
    expected = reading.Table()
    expected.load(anew.ledger.whole())
    assert table.sets == expected.sets
    assert {name: sorted(rules) for name, rules in table.chains.items()} == {
        name: sorted(rules) for name, rules in expected.chains.items()
    }
    again = reading.Table()
    again.load(state.ledger.whole())
    assert again.sets == table.sets


def change(state: PolicyState, kind: str, what: Any, how: Any) -> None:
    if kind == "policy":
        parsed = network_policy(what)
        if how or parsed.owner in state.policies:
            state.set_policy(parsed.owner, parsed if how else None)
    elif kind == "tiered":
        parsed = cluster_network_policy(what)
        if how or parsed.owner in state.policies:
            state.set_policy(parsed.owner, parsed if how else None)
    elif kind == "namespace":
        state.set_namespace(what, how)
    elif kind == "pod":
        key = f"{what['metadata']['namespace']}/{what['metadata']['name']}"
        altered = {**what, "metadata": dict(what["metadata"]), "status": dict(what["status"])}
        if how == "ended":
            altered["status"]["phase"] = "Succeeded"
        elif how == "moved":
            altered["status"]["podIPs"] = [{"ip": "10.0.0.1"}]
        elif how == "labels":
            altered["metadata"]["labels"] = {"pod": "a"}
        state.set_pod(key, None if how == "gone" else pod_facts(altered))


def test_keys_as_the_kernel_has_them() -> None:
    assert packed("10.0.0.1") == b"\n\0\0\1"
    assert packed("10.0.0.1 . 80") == b"\n\0\0\1\0\x50\0\0"
    assert packed("fd00::1 . fd00::2") == b"\xfd" + bytes(14) + b"\1\xfd" + bytes(14) + b"\2"
