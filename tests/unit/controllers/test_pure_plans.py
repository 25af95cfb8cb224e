"""The pure parts of controllers: rolling arithmetic, ranks, slices, taints, back-off."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.controllers import deployment_plan as plan
from sampan.controllers import node_conditions, pod_ranking, replica_set
from sampan.controllers.ownership import with_condition
from sampan.controllers.service_endpoints import endpoints_of, legacy_subsets, port_number, within_capacity
from sampan.schema.objects import Object


def deployment(replicas: int, surge: Any = "25%", unavailable: Any = "25%") -> Object:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c"}]}},
        },
    }


def owned(name: str, replicas: int, available: int, **annotations: str) -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": f"2026-01-01T00:00:0{len(name) % 10}Z", "annotations": annotations},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available, "replicas": replicas},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, 0, 0, (0, 1)),
        (4, "0%", "10%", (0, 1)),
        (5, 2, 1, (2, 1)),
    ],
)
def test_limits_round_up_for_surge_and_down_for_unavailable(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    assert plan.limits(deployment(replicas, surge, unavailable)) == expected


amounts = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda share: f"{share}%"))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), amounts, amounts, st.randoms(use_true_random=False))
def test_a_rollout_stays_within_its_limits_and_ends(
    wanted: int, before: int, surge: Any, unavailable: Any, chance: Any
) -> None:
    """Whatever becomes available in whatever order: never more than wanted+surge nor fewer than wanted-unavailable."""
    target = deployment(wanted, surge, unavailable)
    extra, missing = plan.limits(target)
    new, old = owned("new", 0, 0), owned("older", wanted, wanted)
    for _ in range(200):
        sizes = plan.rolling(target, new, [old])
        for rs in (new, old):
            rs["spec"]["replicas"] = sizes.get(rs["metadata"]["name"], rs["spec"]["replicas"])
            rs["status"]["availableReplicas"] = min(rs["status"]["availableReplicas"], rs["spec"]["replicas"])
        assert new["spec"]["replicas"] + old["spec"]["replicas"] <= wanted + extra
        assert new["status"]["availableReplicas"] + old["status"]["availableReplicas"] >= wanted - missing
        if old["spec"]["replicas"] == 0 and new["status"]["availableReplicas"] == wanted:
            return
        if new["status"]["availableReplicas"] < new["spec"]["replicas"]:
            room = new["spec"]["replicas"] - new["status"]["availableReplicas"]
            new["status"]["availableReplicas"] += chance.randint(1, room)
    raise AssertionError("the rollout did not end")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(0, 30), amounts)
def test_proportional_scaling_reaches_what_is_allowed(sizes: list[int], wanted: int, surge: Any) -> None:
    target = deployment(wanted, surge, "50%") | {"status": {"replicas": sum(sizes)}}
    sets = [owned("x" * (number + 1), size, size) for number, size in enumerate(sizes)]
    result = plan.proportional(target, sets)
    allowed = wanted + plan.limits(target)[0] if wanted else 0
    assert sum(result.values()) == allowed
    assert all(size >= 0 for size in result.values())


def test_proportional_scaling_shares_by_size() -> None:
    sets = [owned("a", 8, 8, **{plan.MAX: "10"}), owned("bb", 2, 2, **{plan.MAX: "10"})]
    assert plan.proportional(deployment(20, 0, 1), sets) == {"a": 16, "bb": 4}


def test_of_equal_sets_the_newer_grows_and_the_older_shrinks() -> None:
    sets = [owned("older-one", 5, 5, **{plan.MAX: "10"}), owned("new", 5, 5, **{plan.MAX: "10"})]
    sets[0]["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    assert plan.proportional(deployment(11, 0, 1), sets) == {"new": 6, "older-one": 5}, "5.5 is 6"
    assert plan.proportional(deployment(9, 0, 1), sets) == {"older-one": 4, "new": 5}, "both round to 5"


def test_when_the_new_set_is_all_there_the_old_ones_go() -> None:
    target = deployment(3)
    new = owned("new", 3, 3, **{plan.DESIRED: "3"})
    assert plan.scaled(target, new, [owned("old", 2, 2, **{plan.DESIRED: "2"})]) == {"old": 0}


def test_what_is_unavailable_is_what_was_asked_for_and_is_not() -> None:
    new = owned("new", 10, 3) | {"status": {"replicas": 4, "availableReplicas": 3}}
    status = plan.status_of(deployment(10), new, [new], "2026-01-01T00:00:00Z")
    assert status["unavailableReplicas"] == 7


def test_unhealthy_old_pods_go_first() -> None:
    sizes = plan.rolling(deployment(3, 1, 0), owned("new", 1, 0), [owned("broken", 3, 0)])
    assert sizes == {}, "nothing is available: nothing may go"
    sizes = plan.rolling(deployment(3, 1, 1), owned("new", 1, 1), [owned("older", 2, 2), owned("broken", 1, 0)])
    assert sizes == {"broken": 0, "older": 1}


def test_the_hash_and_the_template() -> None:
    target = deployment(3)
    made = plan.new_replica_set(target, 1, {"uid": "u"}, 0)
    suffix = made["metadata"]["labels"]["pod-template-hash"]
    assert made["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": suffix}
    assert plan.same_template(target, made)
    assert plan.template_hash(target["spec"]["template"], 1) != suffix
    target = copy.deepcopy(target)
    target["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    assert not plan.same_template(target, made)


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    first = with_condition([], {"type": "A", "status": "True"}, "t1")
    same = with_condition(first, {"type": "A", "status": "True", "reason": "R"}, "t2")
    assert same == [{"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "t1"}]
    assert with_condition(same, {"type": "A", "status": "False"}, "t3")[0]["lastTransitionTime"] == "t3"


def pod(name: str, **changes: Any) -> Object:
    status = {"phase": changes.get("phase", "Running"), "conditions": []}
    if changes.get("ready", True):
        status["conditions"] = [{"type": "Ready", "status": "True"}]
    if "ip" in changes:
        status["podIP"] = changes["ip"]
    metadata: Object = {
        "name": name,
        "namespace": "ns",
        "uid": name,
        "labels": changes.get("labels", {"app": "web"}),
        "creationTimestamp": changes.get("created", "2026-01-01T00:00:00Z"),
        "annotations": changes.get("annotations", {}),
    }
    if changes.get("leaving"):
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"nodeName": changes.get("node", "n"), "containers": changes.get("containers", [])}
    return {"metadata": metadata, "spec": {**spec, **changes.get("spec", {})}, "status": status}


def test_which_pods_a_replica_set_deletes_first() -> None:
    cost = {pod_ranking.DELETION_COST: "-5"}
    restarted = pod("restarted")
    restarted["status"]["containerStatuses"] = [{"restartCount": 3}]
    pods = [
        pod("old"),
        pod("young", created="2026-06-02T00:00:00Z"),
        restarted,
        pod("cheap", annotations=cost),
        pod("unready", ready=False),
        pod("pending", phase="Pending", ready=False),
        pod("unassigned", phase="Pending", ready=False, node=""),
    ]
    in_order = [p["metadata"]["name"] for p in pod_ranking.ranked(pods)]
    assert in_order == ["unassigned", "pending", "unready", "cheap", "restarted", "young", "old"]
    wanted = replica_set.desired(
        {"spec": {"replicas": 5}}, [*pods, pod("gone", leaving=True), pod("done", phase="Failed")]
    )
    assert [p["metadata"]["name"] for p in wanted.delete] == ["unassigned", "pending"]
    assert replica_set.desired({"spec": {"replicas": 9}}, pods) == (2, [])


def since(found: Object, moment: str) -> Object:
    found["status"]["conditions"][0]["lastTransitionTime"] = moment
    return found


def test_of_a_node_with_many_pods_one_goes_first() -> None:
    pods = [pod("a", node="one"), pod("b", node="two"), pod("c", node="two"), pod("d", node="three")]
    # pods of the Deployment's other ReplicaSets count, those that end do not
    others = [pod("x", node="three"), pod("y", node="three"), pod("z", node="one", leaving=True)]
    wanted = replica_set.desired({"spec": {"replicas": 2}}, pods, [*pods, *others])
    assert [p["metadata"]["name"] for p in wanted.delete] == ["d", "b"]


def test_who_is_ready_for_a_shorter_time_goes_first_within_powers_of_two() -> None:
    def ago(**delta: float) -> str:
        return (datetime.now(UTC) - timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")

    moments = (("minutes", ago(minutes=3)), ("weeks", ago(days=20)), ("days", ago(days=3)))
    pods = [since(pod(name), moment) for name, moment in moments]
    assert [p["metadata"]["name"] for p in pod_ranking.ranked(pods)] == ["minutes", "days", "weeks"]
    # about as old: by chance, not always the youngest
    pods = [since(pod("b"), ago(days=20)), since(pod("a"), ago(days=21))]
    assert [p["metadata"]["name"] for p in pod_ranking.ranked(pods)] == ["a", "b"]


def service(*ports: Object, **spec: Any) -> Object:
    return {
        "metadata": {"name": "web", "namespace": "ns"},
        "spec": {"selector": {"app": "web"}, "ports": list(ports), **spec},
    }


def test_ports_by_number_and_by_name() -> None:
    named = pod("a", containers=[{"ports": [{"name": "http", "containerPort": 8080}]}])
    assert port_number({"port": 80}, named) == 80
    assert port_number({"port": 80, "targetPort": 0}, named) == 80
    assert port_number({"port": 80, "targetPort": "http"}, named) == 8080
    assert port_number({"port": 80, "targetPort": "http", "protocol": "UDP"}, named) is None
    assert port_number({"port": 80, "targetPort": "none"}, named) is None


def test_conditions_of_endpoints() -> None:
    pods = [
        pod("ready", ip="10.0.0.1"),
        pod("starting", ip="10.0.0.2", ready=False),
        pod("leaving", ip="10.0.0.3", leaving=True),
        pod("done", ip="10.0.0.4", phase="Succeeded"),
        pod("other", ip="10.0.0.5", labels={}),
        pod("nowhere"),
    ]
    ((_, endpoints),) = endpoints_of(service({"port": 80}), pods).values()
    found = {e["addresses"][0]: tuple(e["conditions"].values()) for e in endpoints}
    assert found == {
        "10.0.0.1": (True, True, False),
        "10.0.0.2": (False, False, False),
        "10.0.0.3": (False, True, True),
    }
    (subset,) = legacy_subsets(endpoints_of(service({"port": 80}), pods).values())
    assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
    assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.2"]
    ((_, endpoints),) = endpoints_of(service({"port": 80}, publishNotReadyAddresses=True), pods).values()
    assert all(e["conditions"]["ready"] for e in endpoints)


def test_pods_with_other_numbers_for_a_name_are_in_other_slices() -> None:
    def numbered(name: str, number: int, ip: str) -> Object:
        return pod(name, ip=ip, containers=[{"ports": [{"name": "http", "containerPort": number}]}])

    chunks = endpoints_of(
        service({"port": 80, "targetPort": "http"}), [numbered("a", 1, "10.0.0.1"), numbered("b", 2, "10.0.0.2")]
    ).values()
    assert [[port["port"] for port in ports] for ports, _ in chunks] == [[1], [2]]


def test_taints_follow_the_condition() -> None:
    def node(status: str, **spec: Any) -> Object:
        return {"spec": spec, "status": {"conditions": [{"type": "Ready", "status": status}]}}

    def keys(obj: Object) -> list[tuple[str, str]]:
        return [(t["key"].rpartition("/")[2], t["effect"]) for t in node_conditions.wanted_taints(obj, "now")]

    assert keys(node("True")) == []
    assert keys(node("True", unschedulable=True)) == [("unschedulable", "NoSchedule")]
    assert keys(node("False")) == [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]
    mine = {"key": "mine", "effect": "NoSchedule"}
    lost = node(
        "Unknown", taints=[mine, {"key": node_conditions.UNREACHABLE, "effect": "NoExecute", "timeAdded": "then"}]
    )
    assert keys(lost) == [("mine", "NoSchedule"), ("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]
    assert node_conditions.wanted_taints(lost, "now")[2]["timeAdded"] == "then"


def test_how_long_a_pod_may_stay() -> None:
    taint = {"key": node_conditions.NOT_READY, "effect": "NoExecute"}

    def stays(*tolerations: Object) -> float | None:
        return node_conditions.toleration_left({"spec": {"tolerations": list(tolerations)}}, [taint])

    assert stays() == 0
    assert stays({"operator": "Exists"}) is None
    assert stays({"key": node_conditions.NOT_READY, "operator": "Exists", "tolerationSeconds": 300}) == 300


def test_endpoints_of_both_families_zones_and_wishes() -> None:
    pods = [
        {
            "metadata": {"name": "a", "namespace": "ns", "uid": "a", "labels": {"app": "web"}},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {
                "podIP": "10.0.0.1",
                "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
    ]
    service: Object = {"metadata": {"name": "web", "namespace": "ns"}, "spec": {"selector": {"app": "web"}}}
    service["spec"]["trafficDistribution"] = "PreferSameNode"
    for family, address in (("IPv4", "10.0.0.1"), ("IPv6", "fd00::1")):
        ((_, (endpoint,)),) = endpoints_of(service, pods, family, {"n1": "z"}).values()
        assert endpoint["addresses"] == [address]
        assert (endpoint["zone"], endpoint["hints"]) == (
            "z",
            {"forZones": [{"name": "z"}], "forNodes": [{"name": "n1"}]},
        )
    service["spec"]["trafficDistribution"] = "PreferClose"
    ((_, (endpoint,)),) = endpoints_of(service, pods, "IPv4", {"n1": "z"}).values()
    assert endpoint["hints"] == {"forZones": [{"name": "z"}]}
    ((_, (endpoint,)),) = endpoints_of(service, pods, "IPv4", {}).values()
    assert "hints" not in endpoint and "zone" not in endpoint


def test_an_endpoints_object_holds_so_many_and_ready_ones_first() -> None:
    endpoints = [{"addresses": [f"10.0.0.{n}"], "conditions": {"ready": n > 2}} for n in range(6)]
    kept, over = within_capacity([([], endpoints)], 4)
    assert over and [one["addresses"][0][-1] for one in kept[0][1]] == ["3", "4", "5", "0"]
    assert within_capacity([([], endpoints)], 6) == ([([], endpoints)], False)
