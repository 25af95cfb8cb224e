"""``sampan net trace`` and ``sampan net policies`` on a real cluster: what they say, and what a real packet then does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import Cluster

Object = dict[str, Any]
SERVE = "mkdir -p /w && echo hello > /w/index.html && httpd -p 8080 -h /w && echo up && sleep 3600"


def policy(name: str, **spec: Any) -> Object:
    metadata = {"name": name}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


class Shop:
    """Two web pods behind a Service, and a client."""

    def __init__(self, space: Space) -> None:
        self.space, self.cluster = space, space.cluster
        ports = {"ports": [{"name": "http", "containerPort": 8080}]}
        web = [pod(f"web{number}", SERVE, **ports) for number in range(2)]
        for one in web:
            one["metadata"]["labels"]["role"] = "web"
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"selector": {"role": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }
        space.apply(*web, pod("client", "sleep 3600"), service)
        for name in ("web0", "web1", "client"):
            space.ready(name)
        eventually("both endpoints", lambda: len(self.trace("web:http")[1]["branches"]) == 2)

    def net(self, *words: str) -> tuple[int, str]:
        done = self.cluster.sampan("net", *words, "--name", self.cluster.name, "-n", self.space.name, check=False)
        return done.returncode, done.stdout + done.stderr

    def trace(self, to: str, *words: str, client: str = "client") -> tuple[int, Any]:
        code, said = self.net("trace", "--from", client, "--to", to, "-o", "json", *words)
        return code, json.loads(said) if said.startswith("{") else said

    def answers(self, endpoint: str) -> bool:
        host, _, port = endpoint.rpartition(":")
        return self.space.run("exec", "client", "--", "sh", "-c", f"nc -w 2 {host} {port} < /dev/null").returncode == 0


@pytest.fixture
def shop(real_cluster: Cluster, space: Space) -> Iterator[Shop]:
    yield Shop(space)


def branch_of(found: Object, pod: str) -> Object:
    """Return a trace's branch to a pod: branches are in the order of addresses, which pods get as they start."""
    [branch] = [one for one in found["branches"] if one["where"] == f"pod {pod}"]
    return dict(branch)


def test_the_way_of_a_packet_and_who_stops_it(shop: Shop) -> None:
    space = shop.space.name
    code, found = shop.trace("web:http", "--live")
    endpoints = [branch["endpoint"] for branch in found["branches"]]
    assert all(map(shop.answers, endpoints))
    assert code == 0 and found["reached"] == "yes"
    assert found["to"]["name"] == f"web.{space}.svc.cluster.local" and found["to"]["translated"]
    assert [branch["share"] for branch in found["branches"]] == [0.5, 0.5]
    links = branch_of(found, f"{space}/web0")["links"]
    assert links[0].startswith("pod") and links[1] == "sampan0"
    assert found["live"]["outcome"] == "connected"
    assert found["live"]["translatedTo"] in [branch["endpoint"] for branch in found["branches"]]

    # closed to everybody: the verdict has the policy's name, and what would mend it
    shop.space.apply(policy("deny", podSelector={"matchLabels": {"role": "web"}}, policyTypes=["Ingress"]))
    eventually("the policy is in force", lambda: not any(map(shop.answers, endpoints)))
    code, found = shop.trace("web:80", "--live", "--timeout", "1")
    assert code == 1 and found["reached"] == "no" and found["live"]["outcome"] == "silent"
    [verdict] = [one for one in branch_of(found, f"{space}/web0")["verdicts"] if not one["allowed"]]
    assert verdict["direction"] == "ingress" and verdict["closedBy"] == [f"{space}/deny"]
    assert "TCP 8080" in verdict["remedy"] and f"{space}/client" in verdict["remedy"]
    dropped = found["live"]["rules"][-1]
    assert dropped["table"] == "inet sampan-policies" and dropped["verdict"] == "drop"

    # one of the two is open to the client: it depends
    client = {"podSelector": {"matchLabels": {"app": "client"}}}
    allow = policy("allow", podSelector={"matchLabels": {"app": "web0"}},
                   ingress=[{"from": [client], "ports": [{"port": "http"}]}])  # fmt: skip
    shop.space.apply(allow)
    code, found = shop.trace("web:80")
    assert code == 1 and found["reached"] == "sometimes"
    assert branch_of(found, f"{space}/web0")["verdicts"][1]["policy"] == f"NetworkPolicy {space}/allow"
    address = branch_of(found, f"{space}/web0")["endpoint"]
    eventually("web0 answers", lambda: shop.answers(address))
    code, found = shop.trace(address, "--live")
    assert code == 0 and found["live"]["outcome"] == "connected"
    assert any("allow ingress[0]" in rule["rule"] for rule in found["live"]["rules"])
    code, text = shop.net("trace", "--from", "client", "--to", "pod/web1:8080")
    assert code == 1 and f"denied: {space}/web1 is selected by {space}/deny" in text and "not reached" in text

    # egress, and the other ways to say where to
    block = [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]
    shop.space.apply(
        policy("out", podSelector={"matchLabels": {"app": "client"}}, policyTypes=["Egress"], egress=block)
    )
    code, found = shop.trace(f"web.{space}:80")
    assert code == 1 and [one["direction"] for one in found["branches"][0]["verdicts"]] == ["egress"]
    assert shop.trace("192.0.2.7:443")[1]["reached"] == "yes"
    assert shop.trace("192.0.3.7:443")[1]["reached"] == "no"
    code, found = shop.trace("kubernetes.default:443")
    assert code == 0 and found["branches"][0]["exempt"] == "a pod always reaches its own node"
    code, text = shop.net("policies", "client")
    assert code == 0 and f"NetworkPolicy {space}/out" in text and "192.0.2.0/24" in text and "ingress: open" in text


def test_the_example(shop: Shop) -> None:
    """``examples/policies/shop.yaml``, as ``docs/network-policy.md`` shows it."""
    shop.space("apply", "-f", str(Path(__file__).parents[2] / "examples" / "policies" / "shop.yaml"))
    code, found = shop.trace("web:80")
    assert code == 0, found
    endpoint = found["branches"][0]["endpoint"]
    eventually("the client reaches the web", lambda: shop.answers(endpoint))
    code, text = shop.net("trace", "--from", "web0", "--to", "pod/client:80")
    assert code == 1 and "deny-all" in text and "egress" in text
    code, text = shop.net("policies", "web0")
    assert code == 0 and "web-from-clients" in text and "TCP http" in text


def test_what_is_not_there_is_said(shop: Shop) -> None:
    for to, word in (
        ("wep:80", "web"),
        ("web:81", "http 80/TCP"),
        ("web:80x", "http 80/TCP"),
        ("pod/none:80", "no pod"),
        ("pod/web0:0", "no port"),
        ("10.0.0.1", "no port"),
        (":80", "no destination"),
    ):
        code, said = shop.trace(to)
        assert code == 1 and word in said, (to, said)
    code, said = shop.trace("web:80", client="nobody")
    assert code == 1 and "there is no pod" in said
    code, said = shop.trace("web:80", "--protocol", "udp")
    assert code == 1 and "has no UDP port" in said
