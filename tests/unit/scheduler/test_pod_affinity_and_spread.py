"""Affinity between pods and spread over topologies: namespaces, label keys, preferences, defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sampan.scheduler.cluster_state import ClusterState, cluster_of
from sampan.scheduler.configuration import ProfileSpec
from sampan.scheduler.cycle import Cycles, Refusal
from sampan.scheduler.framework import CycleState, Status
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import ProfileOn
from tests.unit.scheduler.made import PREFERRED, REQUIRED, node, pod, term

ZONES = [node("a1", labels={"zone": "a"}), node("a2", labels={"zone": "a"}), node("b1", labels={"zone": "b"})]
Choose = Callable[..., str]


@pytest.fixture
def choose(profile_on: ProfileOn) -> Choose:
    def run(waiting: Object, cluster: ClusterState, args: dict[str, Object] | None = None) -> str:
        profile = profile_on(cluster, spec=ProfileSpec(args=args or {}))
        found = Cycles(cluster).choose(profile, CycleState(), PodInfo(waiting))
        assert not isinstance(found, Status)
        return found.message if isinstance(found, Refusal) else found.name

    return run


def elsewhere(obj: Object, namespace: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}


@pytest.mark.parametrize(
    ("chosen", "outcome"),
    [
        ({}, "3 node(s) didn't match pod affinity rules"),
        ({"namespaces": ["other"]}, "b1"),
        ({"namespaceSelector": {}}, "b1"),
        ({"namespaceSelector": {"matchLabels": {"team": "red"}}}, "b1"),
        ({"namespaceSelector": {"matchLabels": {"team": "blue"}}}, "3 node(s) didn't match pod affinity rules"),
        ({"namespaces": ["other"], "namespaceSelector": {"matchLabels": {"team": "blue"}}}, "b1"),
    ],
)
def test_namespaces_of_a_term(choose: Choose, chosen: Object, outcome: str) -> None:
    cluster = cluster_of(ZONES, [elsewhere(pod("db", on="b1", labels={"app": "db"}), "other")])
    cluster.namespaces.update({"ns": {}, "other": {"team": "red"}})
    waiting = pod(affinity={"podAffinity": {REQUIRED: [{**term("zone", app="db"), **chosen}]}})
    assert outcome in choose(waiting, cluster)


@pytest.mark.parametrize(("field", "outcome"), [("matchLabelKeys", "a"), ("mismatchLabelKeys", "b1")])
def test_label_keys_narrow_a_term(choose: Choose, field: str, outcome: str) -> None:
    there = [
        pod("old", on="b1", labels={"app": "web", "hash": "1"}),
        pod("new", on="a1", labels={"app": "web", "hash": "2"}),
    ]
    wanted = {**term("zone", app="web"), field: ["hash"]}
    waiting = pod(labels={"app": "web", "hash": "2"}, affinity={"podAffinity": {REQUIRED: [wanted]}})
    assert choose(waiting, cluster_of(ZONES, there)).startswith(outcome)


def test_all_terms_must_mean_the_same_pod(choose: Choose) -> None:
    there = [pod("db", on="a1", labels={"app": "db"}), pod("cache", on="b1", labels={"app": "db", "fast": "yes"})]
    terms = [term("zone", app="db"), term("kubernetes.io/hostname", fast="yes")]
    assert choose(pod(affinity={"podAffinity": {REQUIRED: terms}}), cluster_of(ZONES, there)) == "b1"


def test_a_terminating_pod_still_repels_but_is_no_part_of_a_spread(choose: Choose) -> None:
    ending = pod("x", on="b1", labels={"app": "w"})
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    alone = {"podAntiAffinity": {REQUIRED: [term("zone", app="w")]}}
    assert choose(pod(affinity=alone), cluster_of(ZONES[2:], [ending])).endswith("anti-affinity rules.")
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
              "labelSelector": {"matchLabels": {"app": "w"}}}  # fmt: skip
    full = pod("y", on="a1", labels={"app": "w"})
    waiting = pod(labels={"app": "w"}, topologySpreadConstraints=[spread])
    assert choose(waiting, cluster_of(ZONES, [ending, full])) == "b1"


@pytest.mark.parametrize(("kind", "outcome"), [("podAffinity", "b1"), ("podAntiAffinity", "a")])
def test_preferred_affinity_of_the_pod_and_of_those_that_are_there(choose: Choose, kind: str, outcome: str) -> None:
    liked = {kind: {PREFERRED: [{"weight": 100, "podAffinityTerm": term("zone", app="db")}]}}
    there = pod("db", on="b1", labels={"app": "db"})
    assert choose(pod(affinity=liked), cluster_of(ZONES, [there])).startswith(outcome)
    guard = pod("guard", on="b1", affinity=liked)
    waiting = pod(labels={"app": "db"})
    assert choose(waiting, cluster_of(ZONES, [guard])).startswith(outcome)
    ignoring: dict[str, Object] = {"InterPodAffinity": {"ignorePreferredTermsOfExistingPods": True}}
    # without it the emptiest nodes are best
    assert choose(waiting, cluster_of(ZONES, [guard]), ignoring) in ("a1", "a2")


def test_required_affinity_of_those_that_are_there_draws(choose: Choose) -> None:
    follower = pod("f", on="b1", labels={"app": "db"}, affinity={"podAffinity": {REQUIRED: [term("zone", app="db")]}})
    assert choose(pod(labels={"app": "db"}), cluster_of(ZONES, [follower])) == "b1"
    none: dict[str, Object] = {"InterPodAffinity": {"hardPodAffinityWeight": 0}}
    assert choose(pod(labels={"app": "db"}), cluster_of(ZONES, [follower]), none) in ("a1", "a2")


def spread_over(key: str, **changes: Any) -> Object:
    whole = {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule"}
    return {**whole, "labelSelector": {"matchLabels": {"app": "w"}}, **changes}


@pytest.mark.parametrize(("least", "outcome"), [(1, "a"), (2, "a"), (3, "0/3")])
def test_too_few_domains_count_as_empty_ones(choose: Choose, least: int, outcome: str) -> None:
    there = [pod("1", on="a1", labels={"app": "w"}), pod("2", on="b1", labels={"app": "w"})]
    waiting = pod(labels={"app": "w"}, topologySpreadConstraints=[spread_over("zone", minDomains=least)])
    assert choose(waiting, cluster_of(ZONES, there)).startswith(outcome)


def test_label_keys_make_each_rollout_a_group(choose: Choose) -> None:
    there = [
        pod("old", on="b1", labels={"app": "w", "hash": "1"}),
        pod("new", on="a1", labels={"app": "w", "hash": "2"}),
    ]
    waiting = pod(
        labels={"app": "w", "hash": "2"}, topologySpreadConstraints=[spread_over("zone", matchLabelKeys=["hash"])]
    )
    assert choose(waiting, cluster_of(ZONES, there)) == "b1"


@pytest.mark.parametrize(("policy", "outcome"), [("Honor", "a"), ("Ignore", "0/3")])
def test_nodes_that_the_pod_may_not_be_on_are_domains_unless_honoured(
    choose: Choose, policy: str, outcome: str
) -> None:
    there = [pod("1", on="a1", labels={"app": "w"})]
    waiting = pod(
        labels={"app": "w"},
        nodeSelector={"zone": "a"},
        topologySpreadConstraints=[spread_over("zone", nodeAffinityPolicy=policy)],
    )
    assert choose(waiting, cluster_of(ZONES, there)).startswith(outcome)


def test_default_constraints_of_the_configuration_need_an_owner_or_service(choose: Choose) -> None:
    args: dict[str, Object] = {
        "PodTopologySpread": {
            "defaultingType": "List",
            "defaultConstraints": [
                {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            ],
        }
    }
    there = [pod("1", on="a1", labels={"app": "w"}), pod("2", on="a2", labels={"app": "w"})]
    # of a pod that nobody selects there is no group to spread
    assert choose(pod(labels={"app": "w"}), cluster_of(ZONES[:2], there), args).startswith("a")
