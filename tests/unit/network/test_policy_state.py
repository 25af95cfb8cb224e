"""Whose an address is, and for how long a pod is subject to its policies."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.network import policy_agent
from sampan.network.nft import NftError
from sampan.network.policy_agent import NotAdmitted, PolicyAgent
from sampan.network.policy_model import cluster_network_policy, network_policy, pod_facts
from sampan.network.policy_state import PolicyState

Object = dict[str, Any]
FIRST, SECOND = ip_address("10.0.0.1"), ip_address("10.0.0.2")


def pod(name: str, uid: str, address: str = "", phase: str = "Running", **spec: Any) -> Object:
    metadata = {"namespace": "x", "name": name, "uid": uid, "labels": {"app": name}}
    status = {"phase": phase, "podIPs": [{"ip": address}] if address else []}
    return {"metadata": metadata, "spec": {"nodeName": "node", **spec}, "status": status}


@pytest.fixture
def state() -> PolicyState:
    made = PolicyState("node")
    made.set_namespace("x", {})
    peers = [{"podSelector": {"matchLabels": {"app": "b"}}}]
    deny = {"metadata": {"namespace": "x", "name": "p"}, "spec": {"podSelector": {}, "ingress": [{"from": peers}]}}
    parsed = network_policy(deny)
    made.set_policy(parsed.owner, parsed)
    made.flush()
    return made


def closed(state: PolicyState) -> set[str]:
    """Return the addresses whose packets are asked about."""
    state.flush()
    return {key for (name, key), _ in state.ledger.elements.now() if name == "ingress-4"}


def peers(state: PolicyState) -> set[str]:
    state.flush()
    return {key for (name, key), _ in state.ledger.elements.now() if name.startswith("pods-")}


def test_an_address_is_whose_the_plugin_gave_it_to(state: PolicyState) -> None:
    state.set_pod("x/b", pod_facts(pod("b", "1", "10.0.0.1")))
    assert closed(state) == peers(state) == {"10.0.0.1"}
    # a new pod has the address, though the old one's status says otherwise still
    state.set_pod("x/a", pod_facts(pod("a", "2")))
    state.attach("x/a", "2", (FIRST,))
    assert closed(state) == {"10.0.0.1"} and peers(state) == set() and state.holder(FIRST) == "x/a"
    state.detach("x/a")
    state.set_pod("x/a", None)
    assert peers(state) == {"10.0.0.1"} and state.holder(FIRST) == "x/b"


def test_without_a_plugin_the_last_to_come_has_it(state: PolicyState) -> None:
    state.set_pod("x/b", pod_facts(pod("b", "1", "10.0.0.1")))
    state.set_pod("x/a", pod_facts(pod("a", "2", "10.0.0.1")))
    assert state.holder(FIRST) == "x/a" and peers(state) == set()


def test_a_pod_deleted_by_force_is_closed_until_its_link_goes(state: PolicyState) -> None:
    state.set_pod("x/a", pod_facts(pod("a", "1")))
    state.attach("x/a", "1", (FIRST,))
    state.set_pod("x/a", None)
    assert closed(state) == {"10.0.0.1"}
    state.detach("x/a")
    assert closed(state) == set() and not state.holders and not state.pods


def test_a_pod_made_anew_has_not_the_old_one_s_address(state: PolicyState) -> None:
    state.set_pod("x/a", pod_facts(pod("a", "1")))
    state.attach("x/a", "1", (FIRST,))
    state.set_pod("x/a", None)
    state.set_pod("x/a", pod_facts(pod("a", "2")))
    assert closed(state) == set()
    state.attach("x/a", "2", (SECOND,))
    assert closed(state) == {"10.0.0.2"}


def test_who_joins_the_peers_of_a_denying_rule_is_looked_at(state: PolicyState) -> None:
    """Its connections were left tracked: only those who left a set were looked at."""
    peers = [{"pods": {"namespaceSelector": {}, "podSelector": {"matchLabels": {"quarantine": "yes"}}}}]
    rules = [{"action": "Deny", "from": peers}]
    spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": rules}
    parsed = cluster_network_policy({"metadata": {"name": "deny"}, "spec": spec})
    state.set_policy(parsed.owner, parsed)
    state.set_pod("x/c", pod_facts(pod("c", "1", "10.0.0.1")))
    state.tightened = False
    ill = pod("c", "1", "10.0.0.1")
    ill["metadata"]["labels"]["quarantine"] = "yes"
    state.set_pod("x/c", pod_facts(ill))
    assert state.tightened


def test_pods_that_ended_host_network_pods_and_those_elsewhere(state: PolicyState) -> None:
    state.attach("x/b", "1", (FIRST,))
    state.set_pod("x/b", pod_facts(pod("b", "1", "10.0.0.1", "Succeeded")))
    assert closed(state) == peers(state) == set()
    assert pod_facts(pod("h", "3", "10.0.0.9", hostNetwork=True)) is None
    elsewhere = pod("b", "1", "10.0.0.1")
    elsewhere["spec"]["nodeName"] = "other"
    state.detach("x/b")
    state.set_pod("x/b", pod_facts(elsewhere))
    assert closed(state) == set() and peers(state) == {"10.0.0.1"}


def test_a_static_pod_is_known_by_what_its_mirror_says() -> None:
    mirror = pod("a", "api")
    mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "digest"}
    facts = pod_facts(mirror)
    assert facts is not None and facts.uid == "digest"


async def test_nobody_is_admitted_before_the_policies_are_known() -> None:
    client: Any = SimpleNamespace(streams_lists=False)
    agent = PolicyAgent(client, admission_seconds=0.01)
    with pytest.raises(NotAdmitted, match="policies"):
        await agent.admit("x/a", "1", (FIRST,))
    agent._listed.set()
    await asyncio.wait_for(agent.admit("x/a", "1", (FIRST,)), 60)  # there is no policy
    assert agent.state.attached["x/a"] == ("1", (FIRST,))


async def test_what_an_earlier_run_left_is_removed_though_the_kernel_refuses_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stayed in force, with no policy behind it, until somebody made one."""
    texts: list[str] = []

    def run(text: str) -> None:
        texts.append(text)
        if len(texts) == 1:
            raise NftError("busy")

    monkeypatch.setattr(policy_agent.nft, "run", run)
    monkeypatch.setattr(policy_agent, "FIRST_PAUSE_SECONDS", 0)
    client: Any = SimpleNamespace(streams_lists=False)
    await PolicyAgent(client)._clear()
    assert len(texts) == 2 and "delete table inet" in texts[1]
