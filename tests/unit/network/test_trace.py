"""What a trace says, from objects alone: destinations of every kind, chances, verdicts and what would mend them."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.network.policy_model import cluster_network_policy, network_policy
from sampan.network.trace import NO, SOMETIMES, YES, Links, Trace, document, trace
from sampan.network.trace_live import read_packets
from sampan.network.trace_target import TraceError
from sampan.network.trace_world import World

Object = dict[str, Any]


def pod(key: str, number: int, **labels: str) -> Object:
    namespace, name = key.split("/")
    return {
        "metadata": {"namespace": namespace, "name": name, "uid": name, "labels": labels},
        "spec": {"nodeName": "node", "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIPs": [{"ip": f"10.0.0.{number}"}, {"ip": f"fd00::{number}"}]},
    }


def service(name: str, cluster_ip: str = "10.0.64.1", **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"}]
    whole = {"clusterIP": cluster_ip, "clusterIPs": [cluster_ip, "fd00:1::1"], "ports": ports, **spec}
    return {"metadata": {"namespace": "shop", "name": name}, "spec": whole}


def piece(name: str, family: str, *endpoints: Object) -> Object:
    labels = {"kubernetes.io/service-name": name}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    metadata = {"namespace": "shop", "name": name, "labels": labels}
    return {"metadata": metadata, "addressType": family, "ports": ports, "endpoints": list(endpoints)}


def endpoint(address: str, ready: bool = True, **more: Any) -> Object:
    return {"addresses": [address], "conditions": {"ready": ready}, "nodeName": "node", **more}


def policy(name: str, **spec: Any) -> Object:
    return {"metadata": {"namespace": "shop", "name": name}, "spec": {"podSelector": {}, **spec}}


@pytest.fixture
def world() -> World:
    host = pod("shop/agent", 254)
    host["spec"]["hostNetwork"] = True
    host["status"]["podIPs"] = [{"ip": "10.0.255.2"}]
    pods = [pod("shop/client", 2, app="client"), pod("shop/web0", 3, app="web"), pod("shop/web1", 4, app="web"), host]
    slices = [
        piece("web", "IPv4", endpoint("10.0.0.3"), endpoint("10.0.0.4"), endpoint("10.0.0.9", ready=False)),
        piece("web", "IPv6", endpoint("fd00::3")),
        piece("db", "IPv4", endpoint("10.0.0.3", hostname="db-0"), endpoint("10.0.0.4", hostname="db-1")),
        piece("own", "IPv4", endpoint("10.0.0.2")),
    ]
    addresses = [{"type": "InternalIP", "address": "10.0.255.2"}]
    return World(
        pods={f"shop/{one['metadata']['name']}": one for one in pods},
        namespaces={"shop": {"kubernetes.io/metadata.name": "shop"}},
        services={
            "shop/web": service("web"),
            "shop/db": service("db", "None", clusterIPs=["None"]),
            "shop/none": service("none", "10.0.64.3"),
            "shop/local": service("local", "10.0.64.4", internalTrafficPolicy="Local", sessionAffinity="ClientIP"),
            "shop/own": service("own", "10.0.64.5"),
            "shop/far": {
                "metadata": {"namespace": "shop", "name": "far"},
                "spec": {"type": "ExternalName", "externalName": "127.0.0.1"},
            },
        },
        slices=slices,
        nodes=[{"metadata": {"name": "node"}, "status": {"addresses": addresses}}],
    )  # fmt: skip


def ask(world: World, to: str, client: str = "shop/client", protocol: str = "tcp", version: int = 0) -> Trace:
    links = Links({"shop/client": "poda", "shop/web0": "podb"}, "sampan0", "uplink")
    return trace(world, client, to, protocol, version, links)


NAMES = (
    "web:80", "web:http", "web", "web.shop:80", "svc/web:80", "shop/web:80", "web.shop.svc:80",
    "web.shop.svc.cluster.local:80", "web.shop.svc.cluster.local.:80", "10.0.64.1:80",
)  # fmt: skip


@pytest.mark.parametrize("to", NAMES)
def test_a_service_by_all_its_names(world: World, to: str) -> None:
    found = ask(world, to)
    assert found.reached == YES and found.target.service == "shop/web"
    assert [str(branch.endpoint) for branch in found.branches] == ["10.0.0.3:8080", "10.0.0.4:8080"]
    assert [branch.share for branch in found.branches] == [0.5, 0.5]
    assert [(str(one), why) for one, why in found.target.unused] == [("10.0.0.9:8080", "not ready")]
    assert found.branches[0].links == ("poda", "sampan0", "podb")


def test_other_kinds_of_destinations(world: World) -> None:
    assert [str(one.endpoint) for one in ask(world, "web:80", version=6).branches] == ["[fd00::3]:8080"]
    assert str(ask(world, "[fd00:1::1]:80").branches[0].endpoint) == "[fd00::3]:8080"
    node_port = ask(world, "10.0.255.2:30080")
    assert node_port.target.translated and node_port.target.service == "shop/web"
    assert [str(one.endpoint) for one in ask(world, "db:5432").branches] == ["10.0.0.3:5432", "10.0.0.4:5432"]
    assert [str(one.endpoint) for one in ask(world, "db-1.db.shop.svc:5432").branches] == ["10.0.0.4:5432"]
    assert ask(world, "pod/web1:8080").branches[0].where == "pod shop/web1"
    outside = ask(world, "192.0.2.1:443")
    assert outside.branches[0].where == "the world" and "host" in outside.branches[0].source_seen
    assert outside.branches[0].links == ("poda", "sampan0", "uplink")
    assert str(ask(world, "far:80").branches[0].endpoint) == "127.0.0.1:80"
    node = ask(world, "10.0.255.2:6443")
    assert node.branches[0].exempt == "a pod always reaches its own node"
    own = ask(world, "own:80")
    assert own.branches[0].exempt == "a pod always reaches itself" and "masqueraded" in own.branches[0].source_seen


def external(world: World, name: str, to: str) -> None:
    spec = {"type": "ExternalName", "externalName": to}
    world.services[f"shop/{name}"] = {"metadata": {"namespace": "shop", "name": name}, "spec": spec}


def test_an_alias_of_the_cluster_is_followed(world: World) -> None:
    """It was looked up by the host's resolver, which knows nothing of the cluster, and told not to be reached."""
    external(world, "alias", "web.shop.svc.cluster.local.")
    external(world, "again", "alias.shop.svc.cluster.local")
    for name in ("alias", "again"):
        found = ask(world, f"{name}:80")
        assert found.reached == YES and found.target.translated and found.target.service == "shop/web"
        assert found.target.name == f"{name}.shop.svc.cluster.local"
        assert found.target.what.endswith(", Service shop/web")
    external(world, "one", "db-1.db.shop.svc.cluster.local")
    assert [str(one.endpoint) for one in ask(world, "one:5432").branches] == ["10.0.0.4:5432"]
    external(world, "gone", "nobody.shop.svc.cluster.local")
    assert "there is no Service 'nobody'" in ask(world, "gone:80").target.problem
    external(world, "web2", "web3.shop.svc.cluster.local")
    external(world, "web3", "web2.shop.svc.cluster.local")
    assert "is a circle" in ask(world, "web2:80").target.problem


def test_a_probe_goes_to_the_port_that_was_asked(world: World) -> None:
    """A NodePort's probe went to the Service's port at the node."""
    assert ask(world, "10.0.255.2:30080").target.port == 30080
    assert ask(world, "web:http").target.port == 80


def test_services_that_lead_nowhere_and_those_that_choose(world: World) -> None:
    found = ask(world, "none:80")
    assert found.reached == NO and "no endpoint is ready" in found.target.problem
    assert ask(world, "10.0.64.1:81").target.problem == "the Service has no TCP port 81: refused"
    world.slices[0]["metadata"]["labels"]["kubernetes.io/service-name"] = "local"
    world.slices[0]["endpoints"][1]["nodeName"] = "elsewhere"
    found = ask(world, "local:80")
    assert [str(branch.endpoint) for branch in found.branches] == ["10.0.0.3:8080"]
    assert [note.partition(":")[0] for note in found.target.notes] == [
        "internalTrafficPolicy Local",
        "sessionAffinity ClientIP",
    ]
    world.slices[0]["endpoints"][0]["nodeName"] = "elsewhere"
    assert "no endpoint on this node" in ask(world, "local:80").target.problem


def test_verdicts_have_names_and_remedies(world: World) -> None:
    world.policies = [network_policy(policy("deny", policyTypes=["Ingress"]))]
    found = ask(world, "web:80")
    assert found.reached == NO
    [egress, ingress] = document(found)["branches"][0]["verdicts"]
    assert egress["allowed"] and "no policy selects" in egress["text"]
    assert ingress["closedBy"] == ["shop/deny"] and "shop/web0 is selected by shop/deny" in ingress["text"]
    assert "from pod shop/client, TCP 8080" in ingress["remedy"]
    one = {"matchLabels": {"app": "web"}}
    allow = policy("allow", podSelector=one, ingress=[{}, {"ports": [{"port": "http"}]}])
    allow["spec"]["ingress"][0] = {"from": [{"ipBlock": {"cidr": "10.0.0.4/32"}}]}
    world.policies.append(network_policy(allow))
    [_, ingress] = document(ask(world, "web:80"))["branches"][0]["verdicts"]
    assert ingress["policy"] == "NetworkPolicy shop/allow" and ingress["rule"] == 1
    world.pods["shop/web1"]["metadata"]["labels"] = {}
    assert ask(world, "web:80").reached == SOMETIMES
    # what the node sends to its own pods is nobody's to forbid
    assert ask(world, "pod/web1:8080", client="shop/agent").branches[0].exempt == "the node always reaches its pods"
    rules = [{"name": "no", "action": "Deny", "to": [{"networks": ["10.0.0.0/8"]}]}]
    spec = {"tier": "Admin", "priority": 7, "subject": {"namespaces": {}}, "egress": rules}
    world.policies.append(cluster_network_policy({"metadata": {"name": "closed"}, "spec": spec}))
    [egress] = document(ask(world, "web:80"))["branches"][0]["verdicts"]
    assert egress["policy"] == "ClusterNetworkPolicy closed" and "Admin tier, priority 7" in egress["text"]
    assert "priority below 7" in egress["remedy"]


@pytest.mark.parametrize(("to", "word"), [
    ("wbe:80", "there are shop/web"), ("web:81", "it has http 80/TCP"), ("pod/wbe0:80", "web0"), ("pod/web0", "number"),
    ("10.0.0.3:99999", "number"), (":80", "SERVICE:PORT"), ("db:x", "number"),
])  # fmt: skip
def test_what_cannot_be_asked(world: World, to: str, word: str) -> None:
    with pytest.raises(TraceError) as raised:
        ask(world, to)
    assert word in f"{raised.value} {raised.value.hint}"


def test_pods_without_addresses(world: World) -> None:
    with pytest.raises(TraceError, match="no pod"):
        ask(world, "web:80", client="shop/nobody")
    world.pods["shop/client"]["status"] = {"phase": "Pending"}
    with pytest.raises(TraceError, match="no IPv6 address"):
        ask(world, "web:80")
    world.pods["shop/web0"]["status"]["phase"] = "Succeeded"
    world.pods["shop/client"]["status"] = {"podIPs": [{"ip": "10.0.0.2"}]}
    assert ask(world, "pod/web0:80").target.problem == "it has ended"


def test_packets_that_the_kernel_tells_of() -> None:
    """Two packets under one id: the first was dropped, the second was led elsewhere."""
    one = (
        'trace id 1a inet sampan-trace-1 prerouting packet: iif "b" ip saddr 10.0.0.2 ip daddr 10.0.64.1 tcp dport 80\n'
        'trace id 1a ip services prerouting packet: iif "b" ip saddr 10.0.0.2 ip daddr 10.0.64.1 tcp sport 5 tcp dport 80\n'
        "trace id 1a ip services pick rule dnat to x (verdict accept)\n"
        'trace id 1a inet sampan-policies forward packet: iif "b" ip saddr 10.0.0.2 ip daddr 10.0.0.4 tcp dport 8080\n'
        'trace id 1a inet sampan-policies in rule counter packets 3 bytes 9 drop comment "x" (verdict drop)\n'
    )
    two = one.replace("10.0.0.4", "10.0.0.3").replace("drop", "accept")
    first, second = read_packets(one + two, "sampan-trace-1")
    assert first.dropped and first.went == "10.0.0.4:8080" and not second.dropped and second.went == "10.0.0.3:8080"
    assert first.steps[-1].rule == 'drop comment "x"'
    assert read_packets("nonsense\n", "t") == ()
