"""NetworkPolicy on real packets: a matrix of nine pods, and what Kubernetes' own network policy suite asks for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip", "nft"))),
    reason="needs root, and unshare, nsenter, ip and nft",
)
Object = dict[str, Any]
Reaches = Callable[[str, str], bool]
"""Whether one pod reaches another."""


class World:
    """The program ``policy_world.py`` and what it answers."""

    def __init__(self, directory: Path, *words: str) -> None:
        program = Path(__file__).with_name("policy_world.py")
        command = ["unshare", "--net", sys.executable, str(program), str(directory), *words]
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def __call__(self, do: str, **given: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "answer" in answer, answer
        return answer["answer"]

    def policy(self, name: str, namespace: str, **body: Any) -> None:
        self("apply", objects=[policy(name, namespace, **body)])

    def reach(self, expected: Reaches, protocol: str = "tcp", port: int = 80, version: int = 0) -> None:
        """Wait until who reaches whom is as expected; a pod always reaches itself. ``version``: of one family alone."""
        deadline, patience = time.monotonic() + 60, 0.45
        while wrong := self._wrong(expected, protocol, port, version, patience):
            assert time.monotonic() < deadline, f"{protocol} {port}: {wrong[:12]}\n{self('table')}"
            patience = min(2 * patience, 8)  # the machine may be busy

    def _wrong(self, expected: Reaches, protocol: str, port: int, version: int, seconds: float) -> list[str]:
        families = {4: [0], 6: [1], 0: [0, 1]}[version]
        return [
            f"{source} -> {to} by IPv{(4, 6)[family]} is {found[family]}"
            for source, row in self("matrix", protocol=protocol, port=port, seconds=seconds).items()
            for to, found in row.items()
            for family in families
            if found[family] is not (source == to or expected(source, to))
        ]

    def eventually(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline, f"not within 60 s: {what}\n{self('table')}"

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)


def policy(name: str, namespace: str, **body: Any) -> Object:
    metadata = {"name": name, "namespace": namespace}
    spec = {"podSelector": {}, **body}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("world"))
    yield world
    world.end()


@pytest.fixture
def world(whole: World) -> Iterator[World]:
    yield whole
    whole("clean")


def pods(**labels: str) -> Object:
    return {"podSelector": {"matchLabels": labels}}


def spaces(*names: str) -> Object:
    term = {"key": "ns", "operator": "In", "values": list(names)}
    return {"namespaceSelector": {"matchExpressions": [term]}}


def to_a(source: str, to: str) -> bool:
    return to == "x/a"


A = {"matchLabels": {"pod": "a"}}
TCP_80, TCP_81 = {"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 81}
CASES: list[tuple[str, Object, Reaches]] = [
    ("deny all ingress", {"policyTypes": ["Ingress"]}, lambda s, t: t[0] != "x"),
    ("deny all egress", {"policyTypes": ["Egress"]}, lambda s, t: s[0] != "x"),
    ("deny all", {"policyTypes": ["Ingress", "Egress"]}, lambda s, t: s[0] != "x" != t[0]),
    ("allow all ingress", {"ingress": [{}]}, lambda s, t: True),
    ("empty lists are everybody", {"ingress": [{"from": [], "ports": []}]}, lambda s, t: True),
    ("empty pod selector is the namespace", {"ingress": [{"from": [{"podSelector": {}}]}]},
     lambda s, t: t[0] != "x" or s[0] == "x"),
    ("every namespace", {"ingress": [{"from": [{"namespaceSelector": {}}]}]}, lambda s, t: True),
    ("to one pod only", {"podSelector": A, "ingress": []}, lambda s, t: t != "x/a"),
    ("by pod selector", {"podSelector": A, "ingress": [{"from": [pods(pod="b")]}]}, lambda s, t: t != "x/a" or s == "x/b"),
    ("by pod expressions",
     {"podSelector": A, "ingress": [{"from": [{"podSelector": {"matchExpressions": [
         {"key": "pod", "operator": "In", "values": ["b", "none"]}]}}]}]}, lambda s, t: t != "x/a" or s == "x/b"),
    ("by pod expressions that do not match",
     {"podSelector": {"matchExpressions": [{"key": "pod", "operator": "NotIn", "values": ["b", "c"]}]}, "ingress": []},
     lambda s, t: t != "x/a"),
    ("by namespace selector", {"podSelector": A, "ingress": [{"from": [spaces("y")]}]},
     lambda s, t: t != "x/a" or s[0] == "y"),
    ("by several namespaces", {"podSelector": A, "ingress": [{"from": [spaces("y", "z")]}]},
     lambda s, t: t != "x/a" or s[0] in "yz"),
    ("by namespaces without a label",
     {"podSelector": A, "ingress": [{"from": [{"namespaceSelector": {"matchExpressions": [
         {"key": "ns", "operator": "NotIn", "values": ["y"]}]}}]}]}, lambda s, t: t != "x/a" or s[0] != "y"),
    ("by the name that every namespace bears",
     {"podSelector": A, "ingress": [{"from": [
         {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "y"}}}]}]},
     lambda s, t: t != "x/a" or s[0] == "y"),
    ("egress to all namespaces but one, by its name",
     {"podSelector": A, "policyTypes": ["Egress"], "egress": [{"to": [{"namespaceSelector": {"matchExpressions": [
         {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["y"]}]}}]}]},
     lambda s, t: s != "x/a" or t[0] != "y"),
    ("by one or the other",
     {"podSelector": A, "ingress": [{"from": [pods(pod="b"), spaces("y")]}]},
     lambda s, t: t != "x/a" or s == "x/b" or s[0] == "y"),
    ("by both together",
     {"podSelector": A, "ingress": [{"from": [{**spaces("y", "z"), **pods(pod="b")}]}]},
     lambda s, t: t != "x/a" or s in ("y/b", "z/b")),
    ("by several of both",
     {"podSelector": A, "ingress": [{"from": [
         {**spaces("y"), "podSelector": {"matchExpressions": [{"key": "pod", "operator": "In", "values": ["b", "c"]}]}},
         {**spaces("x"), **pods(pod="c")}]}]}, lambda s, t: t != "x/a" or s in ("y/b", "y/c", "x/c")),
    ("egress by pod selector", {"podSelector": A, "egress": [{"to": [pods(pod="b")]}], "policyTypes": ["Egress"]},
     lambda s, t: s != "x/a" or t == "x/b"),
    ("egress by both", {"podSelector": A, "egress": [{"to": [{**spaces("y"), **pods(pod="a")}]}], "policyTypes": ["Egress"]},
     lambda s, t: s != "x/a" or t == "y/a"),
    ("ingress and egress in one", {"podSelector": A, "ingress": [{"from": [spaces("y")]}], "egress": [{"to": [spaces("z")]}]},
     lambda s, t: (t != "x/a" or s[0] == "y") and (s != "x/a" or t[0] == "z")),
    ("egress makes the types both", {"podSelector": A, "egress": [{"to": [spaces("y")]}]},
     lambda s, t: t != "x/a" and (s != "x/a" or t[0] == "y")),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_one_policy(world: World, body: Object, expected: Reaches) -> None:
    world.policy("case", "x", **body)
    world.reach(expected)


def test_without_policies_everybody_reaches_everybody_and_so_again_afterwards(world: World) -> None:
    world.reach(lambda s, t: True)
    world.reach(lambda s, t: True, "udp", 81)
    world.policy("deny", "x", policyTypes=["Ingress", "Egress"])
    world.reach(lambda s, t: s[0] != "x" != t[0])
    world.reach(lambda s, t: s[0] != "x" != t[0], "udp", 81)
    world("delete", kind="NetworkPolicy", name="deny", namespace="x")
    world.reach(lambda s, t: True)


PORTS: list[tuple[str, Object, dict[tuple[str, int], Reaches]]] = [
    ("a number", {"ingress": [{"ports": [TCP_80]}]}, {("tcp", 80): lambda s, t: True, ("tcp", 81): lambda s, t: t != "x/a"}),
    ("a name", {"ingress": [{"ports": [{"port": "serve-81-tcp"}]}]},
     {("tcp", 81): lambda s, t: True, ("tcp", 80): lambda s, t: t != "x/a"}),
    ("a name, from a namespace", {"ingress": [{"from": [spaces("y")], "ports": [{"port": "serve-81-tcp"}]}]},
     {("tcp", 81): lambda s, t: t != "x/a" or s[0] == "y", ("tcp", 80): lambda s, t: t != "x/a"}),
    ("a range", {"ingress": [{"ports": [{"port": 81, "endPort": 90}]}]},
     {("tcp", 81): lambda s, t: True, ("tcp", 80): lambda s, t: t != "x/a"}),
    ("a protocol", {"ingress": [{"ports": [{"protocol": "UDP"}]}]},
     {("udp", 80): lambda s, t: True, ("tcp", 80): lambda s, t: t != "x/a"}),
    ("UDP only", {"ingress": [{"ports": [{"protocol": "UDP", "port": 80}]}]},
     {("udp", 80): lambda s, t: True, ("udp", 81): lambda s, t: t != "x/a", ("tcp", 80): lambda s, t: t != "x/a"}),
    ("SCTP is not TCP", {"ingress": [{"ports": [{"protocol": "SCTP", "port": 80}]}]}, {("tcp", 80): lambda s, t: t != "x/a"}),
    ("SCTP isolates", {"ingress": [{"ports": [{"protocol": "SCTP"}]}]},
     {("tcp", 81): lambda s, t: t != "x/a", ("udp", 80): lambda s, t: t != "x/a"}),
    ("several rules", {"ingress": [{"ports": [TCP_80]}, {"from": [spaces("z")], "ports": [TCP_81]}]},
     {("tcp", 80): lambda s, t: True, ("tcp", 81): lambda s, t: t != "x/a" or s[0] == "z"}),
    ("egress by number", {"policyTypes": ["Egress"], "egress": [{"ports": [TCP_80]}]},
     {("tcp", 80): lambda s, t: True, ("tcp", 81): lambda s, t: s != "x/a"}),
    ("egress by name", {"policyTypes": ["Egress"], "egress": [{"to": [spaces("y")], "ports": [{"port": "serve-80-tcp"}]}]},
     {("tcp", 80): lambda s, t: s != "x/a" or t[0] == "y", ("tcp", 81): lambda s, t: s != "x/a"}),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in PORTS], ids=[case[0] for case in PORTS])
def test_ports(world: World, body: Object, expected: dict[tuple[str, int], Reaches]) -> None:
    world.policy("case", "x", podSelector=A, **body)
    for (protocol, port), reaches in expected.items():
        world.reach(reaches, protocol, port)


def test_stacked_policies_allow_what_any_allows(world: World) -> None:
    world.policy("some", "x", podSelector=A, ingress=[{"from": [spaces("y")], "ports": [TCP_80]}])
    world.reach(lambda s, t: t != "x/a" or s[0] == "y")
    world.policy("more", "x", podSelector=A, ingress=[{"from": [spaces("z")], "ports": [TCP_80]}])
    world.reach(lambda s, t: t != "x/a" or s[0] in "yz")
    world.policy("all", "x", ingress=[{}])
    world.reach(lambda s, t: True)
    world.policy("out", "x", policyTypes=["Egress"], egress=[{"ports": [TCP_80]}])
    world.reach(lambda s, t: s[0] != "x", port=81)
    world.policy("out-all", "x", policyTypes=["Egress"], egress=[{}])
    world.reach(lambda s, t: True, port=81)


def test_the_client_s_side_and_the_server_s_are_asked_both(world: World) -> None:
    world.policy("server", "y", podSelector=A, ingress=[{"from": [spaces("x")]}])
    world.policy("client", "x", podSelector=A, policyTypes=["Egress"], egress=[])
    world.reach(lambda s, t: (t != "y/a" or s[0] == "x") and s != "x/a")
    world.policy("client", "x", podSelector=A, policyTypes=["Egress"], egress=[{"to": [spaces("y")]}])
    world.reach(lambda s, t: (t != "y/a" or s[0] == "x") and (s != "x/a" or t[0] == "y"))


def test_blocks_of_addresses_and_what_they_except(world: World) -> None:
    addresses = world("addresses")
    v4, v6 = addresses["y/a"]
    narrow = [{"ipBlock": {"cidr": "10.99.0.0/18", "except": [f"{v4}/32"]}}]
    world.policy("blocks", "x", podSelector=A, policyTypes=["Egress"], egress=[{"to": narrow}])
    world.reach(lambda s, t: s != "x/a" or t != "y/a", version=4)
    world.reach(lambda s, t: s != "x/a", version=6)
    wide = [{"ipBlock": {"cidr": f"{v4}/32"}}, {"ipBlock": {"cidr": "::/0", "except": [f"{v6}/128"]}}]
    world.policy("again", "x", podSelector=A, policyTypes=["Egress"], egress=[{"to": wide}])
    world.reach(lambda s, t: True, version=4)
    world.reach(lambda s, t: s != "x/a" or t != "y/a", version=6)
    whole = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    world.policy("sources", "z", ingress=[{"from": whole}])
    world.reach(lambda s, t: True, version=4)
    world.reach(lambda s, t: t[0] != "z" and (s != "x/a" or t != "y/a"), version=6)


def test_what_changes_is_followed(world: World) -> None:
    world.policy(
        "team", "x", podSelector=A, ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"extra": "yes"}}}]}]
    )
    world.reach(lambda s, t: t != "x/a")
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "y", "labels": {"extra": "yes"}}}
    world("apply", objects=[namespace])
    world.reach(lambda s, t: t != "x/a" or s[0] == "y")
    world.policy("team", "x", podSelector=A, ingress=[{"from": [pods(extra="yes")]}])
    world.reach(lambda s, t: t != "x/a")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "b", "namespace": "x", "labels": {"extra": "yes"}}}
    world("apply", objects=[pod])
    world.reach(lambda s, t: t != "x/a" or s == "x/b")
    pod["metadata"]["labels"]["extra"] = None  # type: ignore[index]
    world("apply", objects=[pod])
    world.reach(lambda s, t: t != "x/a")
    pod["metadata"]["labels"]["pod"] = "a"  # type: ignore[index]
    world("apply", objects=[pod])
    world.reach(lambda s, t: t not in ("x/a", "x/b"))


def test_the_node_reaches_its_pods_and_they_reach_it(world: World) -> None:
    world.policy("deny", "x", policyTypes=["Ingress", "Egress"])
    world.reach(lambda s, t: s[0] != "x" != t[0])
    for address in world("addresses")["x/a"]:
        assert world("probe", source="node", protocol="tcp", host=address, port=80, seconds=20)
    for gateway in ("10.99.0.1", "fd99::1"):
        assert world("probe", source="x/a", protocol="tcp", host=gateway, port=80, seconds=20)


def test_behind_a_service_the_pod_s_own_address_and_port_count(world: World) -> None:
    services = ("10.99.64.1", "fd99:0:0:1::1")
    for service in services:
        assert world("probe", source="y/a", protocol="tcp", host=service, port=80, seconds=20)
        assert world("probe", source="x/a", protocol="tcp", host=service, port=80, seconds=20), "a pod reaches itself"
    world.policy(
        "server", "x", podSelector=A, ingress=[{"from": [{**spaces("y"), **pods(pod="b")}], "ports": [TCP_80]}]
    )
    world.reach(lambda s, t: t != "x/a" or s == "y/b")
    for service in services:
        assert world("probe", source="y/b", protocol="tcp", host=service, port=80, seconds=20)
        assert not world("probe", source="y/a", protocol="tcp", host=service, port=80)
        assert world("probe", source="x/a", protocol="tcp", host=service, port=80, seconds=20)
    world.policy(
        "client",
        "z",
        podSelector=A,
        policyTypes=["Egress"],
        egress=[{"to": [{"ipBlock": {"cidr": f"{services[0]}/32"}}]}],
    )
    world.reach(lambda s, t: (t != "x/a" or s == "y/b") and s != "z/a")
    assert not world("probe", source="z/a", protocol="tcp", host=services[0], port=80)


def test_what_is_connected_ends_when_it_is_forbidden_and_nothing_else_does(world: World) -> None:
    address = world("addresses")["x/a"][0]
    for source in ("y/a", "y/b"):
        assert world("keep", source=source, name="line", host=address, port=80)
        assert world("say", source=source, name="line", seconds=20)
    world.policy("some", "x", podSelector=A, ingress=[{"from": [{**spaces("y"), **pods(pod="b")}]}])
    world.reach(lambda s, t: t != "x/a" or s == "y/b")
    assert not world("say", source="y/a", name="line")
    assert world("say", source="y/b", name="line", seconds=20)


def test_a_new_pod_is_closed_before_it_is_reached_and_an_ended_one_leaves_its_address(world: World) -> None:
    world.policy("deny", "x", policyTypes=["Ingress"])
    world.policy("allow", "z", podSelector=A, ingress=[{"from": [spaces("x")]}])
    world.reach(lambda s, t: t[0] != "x" and (t != "z/a" or s[0] == "x"))
    address = (
        world("add", key="x/d", labels={"pod": "d"}, probe=["y/a", "10.99.0.2", 80]) and world("addresses")["x/d"][0]
    )
    assert world("remove", key="x/d") == 0
    # addresses go round: the next is one higher, and is tried before anybody has it
    following = address.rpartition(".")[0] + f".{int(address.rpartition('.')[2]) + 1}"
    trials = world("add", key="x/d", labels={"pod": "d"}, probe=["y/a", following, 80])
    assert world("addresses")["x/d"][0] == following
    assert len(trials) > 3 and not any(trials)
    assert not world("probe", source="y/a", protocol="tcp", host=following, port=80)
    assert world("probe", source="x/d", protocol="tcp", host=world("addresses")["z/a"][0], port=80, seconds=20)
    world("status", key="x/d", phase="Succeeded")
    world.eventually("an ended pod is no peer", lambda: following not in world("table"))
    world("remove", key="x/d")


def test_a_pod_that_the_api_does_not_know_gets_no_link(world: World) -> None:
    world.policy("any", "y", podSelector=A, ingress=[{}])
    world.reach(lambda s, t: True)
    code, said = world("unknown")
    assert code == 1 and said["code"] == 11 and "policies" in said["msg"]


def test_an_agent_that_ends_and_comes_back_opens_nothing(world: World) -> None:
    world.policy("deny", "x", podSelector=A, policyTypes=["Ingress"])
    world.policy("some", "y", podSelector=A, ingress=[{"from": [spaces("x")]}])
    world.reach(lambda s, t: t != "x/a" and (t != "y/a" or s[0] == "x"))
    trials = world("restart", source="y/a", host=world("addresses")["x/a"][0], port=80)
    assert len(trials) > 3 and not any(trials)
    world.policy("deny", "x", podSelector=A, ingress=[{"from": [spaces("z")]}])
    world.reach(lambda s, t: (t != "x/a" or s[0] == "z") and (t != "y/a" or s[0] == "x"))


@pytest.mark.skipif(not Path("/usr/lib/cni/ptp").exists(), reason="needs containernetworking-plugins")
def test_the_agent_alone_beside_another_network_plugin(tmp_path: Path) -> None:
    """``sampan net agent`` on what could be any Kubernetes: it knows pods from the API only."""
    world = World(tmp_path, "foreign")
    try:
        world.reach(lambda s, t: True)
        world.policy("some", "x", podSelector=A, ingress=[{"from": [spaces("y")], "ports": [{"port": "serve-80-tcp"}]}])
        world.reach(lambda s, t: t != "x/a" or s[0] == "y")
        world.reach(lambda s, t: t != "x/a", port=81)
        world("delete", kind="NetworkPolicy", name="some", namespace="x")
        world.reach(lambda s, t: True)
    finally:
        world.end()


def test_tiers_of_cluster_network_policies(world: World) -> None:
    world("apply", objects=[DEFINITION])
    world.eventually("the definition is established", lambda: bool(world("established")))
    everywhere = {"namespaces": {}}
    from_z = {"namespaces": {"matchLabels": {"ns": "z"}}}
    world("apply", objects=[tiered("no-z", "Admin", 10, ingress=[{"name": "no", "action": "Deny", "from": [from_z]}])])
    world.reach(lambda s, t: s[0] != "z")
    passing = [{"action": "Pass", "from": [{"pods": {"namespaceSelector": {}, "podSelector": A}}]}]
    world("apply", objects=[tiered("pass-a", "Admin", 5, ingress=passing)])
    world.reach(lambda s, t: s[0] != "z" or s == "z/a")
    # what no NetworkPolicy selects is the baseline's, the rest is not
    world("apply", objects=[tiered("closed", "Baseline", 1, ingress=[{"action": "Deny", "from": [everywhere]}])])
    world.reach(lambda s, t: False)
    world.policy("open", "x", podSelector=A, ingress=[{}])
    world.reach(lambda s, t: t == "x/a" and (s[0] != "z" or s == "z/a"))
    port_80 = [{"tcp": {"destinationPort": {"number": 80}}}]
    accept = {"action": "Accept", "to": [{"networks": ["10.99.0.0/16"]}], "protocols": port_80}
    deny = {"action": "Deny", "to": [{"networks": ["0.0.0.0/0", "::/0"]}]}
    world("apply", objects=[tiered("out", "Admin", 1, egress=[accept, deny])])
    world.reach(lambda s, t: t == "x/a" and (s[0] != "z" or s == "z/a"), version=4)
    world.reach(lambda s, t: False, version=6)
    world.reach(lambda s, t: False, port=81)
    world("delete", kind="CustomResourceDefinition", name=DEFINITION["metadata"]["name"])
    world.reach(lambda s, t: True)


def tiered(name: str, tier: str, priority: int, **rules: Any) -> Object:
    spec = {"tier": tier, "priority": priority, "subject": {"namespaces": {}}, **rules}
    return {
        "apiVersion": "policy.networking.k8s.io/v1beta1",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


NAMES = {"kind": "ClusterNetworkPolicy", "plural": "clusternetworkpolicies", "singular": "clusternetworkpolicy"}
SCHEMA = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "clusternetworkpolicies.policy.networking.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/network-policy-api/pull/300"},
    },
    "spec": {
        "group": "policy.networking.k8s.io",
        "scope": "Cluster",
        "names": NAMES,
        "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": SCHEMA}],
    },
}
