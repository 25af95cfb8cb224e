"""How many replicas metrics ask for, and what is done of it: hand-made tables, and laws that hold for all numbers."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.controllers import autoscaling_limits as limits
from sampan.controllers import autoscaling_replicas as replicas
from sampan.controllers import autoscaling_to_zero as to_zero
from sampan.controllers.autoscaling_metrics import Metrics
from sampan.controllers.autoscaling_proposals import Found, Proposals, Target
from sampan.controllers.autoscaling_replicas import Measured, MetricError, Proposal, Startup, Tolerance
from sampan.schema.objects import Object

NOW = 1_000_000.0
TEN_PERCENT = Tolerance()


def stamp(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(name: str, *, request: str = "1", phase: str = "Running", ready: bool = True, **more: Any) -> Object:
    """A pod that has been ready, or not, for an hour."""
    since = NOW - more.get("since", 3600)
    status = {
        "phase": phase,
        "startTime": stamp(NOW - more.get("age", 4000)),
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(since)}],
    }
    metadata: Object = {"name": name}
    if more.get("ending"):
        metadata["deletionTimestamp"] = stamp(NOW)
    container = {"name": "c", "resources": {"requests": {"cpu": request} if request else {}}}
    return {"metadata": metadata, "spec": {"containers": [container]}, "status": status}


def pods(count: int, **more: Any) -> list[Object]:
    return [pod(f"p{number}", **more) for number in range(count)]


def by_utilization(
    found: list[Object], values: list[int | None], current: int, target: int, tolerance: Tolerance = TEN_PERCENT
) -> Proposal:
    """Propose for pods whose n-th uses the n-th value in milli-CPU (None: nothing is known of it)."""
    metrics = {p["metadata"]["name"]: Measured(v, NOW, 30) for p, v in zip(found, values, strict=True) if v is not None}
    return replicas.of_utilization(
        found, metrics, current, target, resource="cpu", container="", tolerance=tolerance, startup=Startup(), now=NOW
    )


@pytest.mark.parametrize(
    ("values", "current", "target", "wanted", "percent"),
    [
        ([300, 500, 700], 3, 30, 5, 50),
        ([100, 300, 500, 250, 250], 5, 50, 3, 28),
        ([1010, 1030, 1020], 3, 100, 3, 102),  # within the tolerance
        ([900, 900, 910], 3, 100, 3, 90),  # 0.9 is still within
        ([890, 890, 890], 3, 100, 3, 89),  # beyond it, and three are the ceiling all the same
        ([500, 700], 2, 50, 3, 60),
        ([0, 0], 2, 50, 0, 0),
    ],
)
def test_utilization(values: list[int | None], current: int, target: int, wanted: int, percent: int) -> None:
    found = by_utilization(pods(len(values)), values, current, target)
    assert (found.replicas, found.utilization) == (wanted, percent)


def test_pods_that_are_not_ready_count_as_idle_when_it_would_grow() -> None:
    found = [pod("a", ready=False, since=10, age=20), pod("b"), pod("c")]
    assert by_utilization(found, [300, 500, 700], 3, 30).replicas == 4
    young = [pod("a", since=10, age=20), pod("b"), pod("c")]  # ready, but measured from before that
    assert by_utilization(young, [300, 500, 700], 3, 30).replicas == 4
    settled = [pod("a", since=40, age=100), pod("b"), pod("c")]
    assert by_utilization(settled, [300, 500, 700], 3, 30).replicas == 5
    pending = [pod("a", phase="Pending"), pod("b"), pod("c")]
    assert by_utilization(pending, [None, 500, 700], 3, 30).replicas == 4


def test_pods_that_were_ready_once_count_although_they_are_not_now() -> None:
    once = [pod("a", ready=False, since=100, age=4000), pod("b"), pod("c")]
    assert by_utilization(once, [300, 500, 700], 3, 30).replicas == 5
    never = [pod("a", ready=False, since=3990, age=4000), pod("b"), pod("c")]
    assert by_utilization(never, [300, 500, 700], 3, 30).replicas == 4


def test_pods_of_which_nothing_is_known() -> None:
    assert by_utilization(pods(3), [1000, None, None], 3, 60).replicas == 3  # idle: 1000 of 3000, which would shrink
    assert by_utilization(pods(4), [100, 100, None, None], 4, 50).replicas == 4  # busy: 2200 of 4000, grows: stays
    assert by_utilization(pods(4), [100, 100, 100, None], 4, 50).replicas == 3
    assert by_utilization(pods(4), [900, 900, 900, None], 4, 50).replicas == 6


def test_pods_that_end_or_failed_are_left_out() -> None:
    found = [pod("a"), pod("b"), pod("gone", ending=True), pod("dead", phase="Failed")]
    assert by_utilization(found, [800, 800, 5000, 5000], 2, 40).replicas == 4


def test_tolerances_of_each_direction() -> None:
    strict = Tolerance(up=0.0, down=0.5)
    assert by_utilization(pods(100), [510] * 100, 100, 50, strict).replicas == 102
    assert by_utilization(pods(100), [300] * 100, 100, 50, strict).replicas == 100


@pytest.mark.parametrize(
    ("found", "values", "message"),
    [
        ([], [], "no pods returned by selector while calculating replica count"),
        (pods(2, phase="Pending"), [None, None], "did not receive metrics for targeted pods (pods might be unready)"),
        (pods(1, request=""), [100], "missing request for cpu in container c of Pod p0"),
        (pods(1, request="0"), [100], "no metrics returned matched known pods"),
    ],
)
def test_why_nothing_is_proposed(found: list[Object], values: list[int | None], message: str) -> None:
    with pytest.raises(MetricError) as error:
        by_utilization(found, values, len(found), 50)
    assert str(error.value) == message


def test_averages_of_pods() -> None:
    def of(values: dict[str, int], current: int, target: int) -> Proposal:
        measured = {name: Measured(value) for name, value in values.items()}
        return replicas.of_average(
            pods(3), measured, current, target, resource="", tolerance=Tolerance(), startup=Startup(), now=NOW
        )

    assert of({"p0": 20000, "p1": 10000, "p2": 30000}, 3, 15000) == Proposal(4, 20000)
    assert of({"p0": 12000, "p1": 12000, "p2": 12000}, 3, 20000) == Proposal(2, 12000)
    assert of({"p0": 50000, "p1": 10000}, 3, 15000).replicas == 4  # the third counts as idle: 60000 / 45000 of three
    assert of({"p0": 4000, "p1": 4000}, 3, 20000).replicas == 2  # as busy: 28000 / 60000 of three


def test_values_of_others() -> None:
    assert replicas.of_total(8600, 3, 4400, 3, Tolerance()) == 6
    assert replicas.of_total(4500, 3, 4400, 3, Tolerance()) == 3
    assert replicas.of_total(8600, 0, 4400, 0, Tolerance()) == 2
    assert replicas.of_share(8600, 3, 2867, Tolerance()) == Proposal(3, 2867)
    assert replicas.of_share(8600, 3, 2150, Tolerance()) == Proposal(4, 2867)
    assert replicas.of_share(5000, 0, 1000, Tolerance()) == Proposal(5, 0)
    with pytest.raises(MetricError, match="no pods returned by selector"):
        replicas.ready_pods([])
    assert replicas.ready_pods([pod("a"), pod("b", ready=False), pod("c", phase="Pending")]) == 1


values = st.lists(st.one_of(st.none(), st.integers(0, 10_000)), min_size=1, max_size=12)


@given(values, st.integers(1, 200), st.data())
def test_what_is_not_known_never_makes_more_of_a_change(known: list[int | None], target: int, data: Any) -> None:
    """With pods missing or unready the proposal is between what there is and what the known ones alone ask for."""
    found = [pod(f"p{n}", ready=data.draw(st.booleans()), age=100, since=50) for n in range(len(known))]
    current = len(known)
    try:
        proposal = by_utilization(found, known, current, target)
    except MetricError:
        return
    certain = [
        v
        for p, v in zip(found, known, strict=True)
        if v is not None and p["status"]["conditions"][0]["status"] == "True"
    ]
    percent = sum(certain) * 100 // (1000 * len(certain))
    alone = percent / target
    if proposal.replicas > current:
        assert alone > 1.0
        assert proposal.replicas <= math.ceil(alone * current)
    elif proposal.replicas < current:
        assert alone < 1.0 or len(certain) < current


# limits


def spec(least: int = 1, most: int = 100, **behavior: Any) -> Object:
    return {"minReplicas": least, "maxReplicas": most, **({"behavior": behavior} if behavior else {})}


def rules(*policies: tuple[str, int, int], window: int | None = 0, select: str = "Max") -> Object:
    listed = [{"type": type, "value": value, "periodSeconds": period} for type, value, period in policies]
    made: Object = {"policies": listed, "selectPolicy": select}
    return made if window is None else {**made, "stabilizationWindowSeconds": window}


ANY = rules(("Percent", 100_000, 15))


@pytest.mark.parametrize(
    ("least", "most", "current", "desired", "wanted", "limit"),
    [
        (1, 100, 3, 5, 5, "DesiredWithinRange"),
        (1, 100, 3, 50, 6, "ScaleUpLimit"),
        (1, 100, 1, 50, 4, "ScaleUpLimit"),
        (1, 5, 3, 50, 5, "TooManyReplicas"),
        (3, 100, 5, 1, 3, "TooFewReplicas"),
        (0, 100, 5, 0, 0, "DesiredWithinRange"),
    ],
)
def test_without_a_behavior(least: int, most: int, current: int, desired: int, wanted: int, limit: str) -> None:
    found = limits.limited(spec(least, most), limits.History(), current, desired, NOW)
    assert (found.replicas, found.limit[0], found.limited) == (wanted, limit, wanted != desired)


def test_the_highest_recommendation_of_five_minutes_counts_when_it_shrinks() -> None:
    history = limits.History()
    history.begin(NOW, 10)
    found = limits.limited(spec(), history, 10, 2, NOW + 15)
    assert (found.replicas, found.able[0]) == (10, "ScaleDownStabilized")
    found = limits.limited(spec(), history, 10, 2, NOW + 301)
    assert (found.replicas, found.able[0]) == (2, "ReadyForNewScale")


def test_windows_of_a_behavior() -> None:
    behavior = {
        "scaleUp": {**ANY, "stabilizationWindowSeconds": 60},
        "scaleDown": {**rules(("Percent", 100, 15), window=30)},
    }
    history = limits.History()
    assert limits.limited(spec(**behavior), history, 3, 3, NOW).replicas == 3
    found = limits.limited(spec(**behavior), history, 3, 9, NOW + 30)
    assert (found.replicas, found.able[0]) == (3, "ScaleUpStabilized")
    assert limits.limited(spec(**behavior), history, 3, 8, NOW + 61).replicas == 8
    found = limits.limited(spec(**behavior), history, 8, 1, NOW + 70)
    assert (found.replicas, found.able[0]) == (8, "ScaleDownStabilized")
    assert limits.limited(spec(**behavior), history, 8, 1, NOW + 92).replicas == 1


def test_policies_count_what_was_done_within_their_period() -> None:
    behavior = {
        "scaleUp": rules(("Pods", 4, 60), ("Percent", 100, 60)),
        "scaleDown": rules(("Pods", 2, 60), ("Percent", 10, 60)),
    }
    history = limits.History()

    def go(current: int, desired: int, now: float) -> tuple[int, str]:
        found = limits.limited(spec(**behavior), history, current, desired, now)
        history.record(behavior, now, current, found.replicas)
        return found.replicas, found.limit[0]

    assert go(10, 100, NOW) == (20, "ScaleUpLimit")
    assert go(20, 100, NOW + 30) == (20, "ScaleUpLimit")
    assert go(20, 100, NOW + 61) == (40, "ScaleUpLimit")
    assert go(40, 1, NOW + 200) == (36, "ScaleDownLimit")
    assert go(36, 1, NOW + 201) == (36, "ScaleDownLimit")
    assert go(36, 1, NOW + 261) == (32, "ScaleDownLimit")


def test_the_policy_that_is_selected() -> None:
    few = {
        "scaleUp": rules(("Pods", 1, 15), ("Percent", 100, 15), select="Min"),
        "scaleDown": rules(("Pods", 1, 15), select="Disabled"),
    }
    assert limits.limited(spec(**few), limits.History(), 10, 100, NOW).replicas == 11
    assert limits.limited(spec(**few), limits.History(), 10, 1, NOW).replicas == 10
    down = {"scaleUp": ANY, "scaleDown": rules(("Pods", 1, 15), ("Percent", 50, 15), select="Min")}
    assert limits.limited(spec(**down), limits.History(), 10, 1, NOW).replicas == 9
    off = {"scaleUp": rules(("Pods", 1, 15), select="Disabled"), "scaleDown": rules(("Percent", 100, 15))}
    assert limits.limited(spec(**off), limits.History(), 10, 100, NOW).replicas == 10


counts = st.integers(1, 1000)
policies = st.tuples(st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.integers(1, 1800))
directions = st.builds(
    lambda chosen, window, select: rules(*chosen, window=window, select=select),
    st.lists(policies, min_size=1, max_size=3),
    st.integers(0, 600),
    st.sampled_from(["Max", "Min", "Disabled"]),
)


@given(
    counts,
    counts,
    st.lists(st.tuples(counts, st.integers(1, 400)), min_size=1, max_size=20),
    st.one_of(st.none(), st.tuples(directions, directions)),
)
def test_limits_hold_for_any_wishes(
    one: int, other: int, wishes: list[tuple[int, int]], given_rules: tuple[Object, Object] | None
) -> None:
    """Always within the least and the most, never further than asked for, and never against the direction."""
    least, most = min(one, other), max(one, other)
    behavior = {} if given_rules is None else {"scaleUp": given_rules[0], "scaleDown": given_rules[1]}
    history, current, now = limits.History(), least, NOW
    for wish, pause in wishes:
        now += pause
        found = limits.limited(spec(least, most, **behavior), history, current, wish, now)
        assert least <= found.replicas <= most
        if found.replicas > current:
            highest = max([wish, *(r.replicas for r in history.recommendations)])
            assert found.replicas <= max(highest, least)
        if found.replicas < current:
            assert wish < current
        history.record(behavior or None, now, current, found.replicas)
        current = found.replicas
    assert len(history.recommendations) <= len(wishes)


# the metrics APIs, and what is said


class Answers:
    """A client that answers GETs from a table: path with query → items, or a status."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.table, self.asked = table, []  # type: dict[str, Any], list[str]

    async def raw(self, method: str, path: str, *, query: Any = None, body: Any = None) -> tuple[int, bytes]:
        asked = path + ("?" + "&".join(f"{k}={v}" for k, v in query.items()) if query else "")
        self.asked.append(asked)
        found = self.table.get(asked)
        if found is None:
            return 404, orjson.dumps({"message": f"nothing at {asked}"})
        return 200, orjson.dumps({"items": found} if isinstance(found, list) else found)


class Kinds:
    async def of_kind(self, api_version: str, kind: str) -> Any:
        from sampan.client.protocol import ResourceType

        group, _, version = api_version.rpartition("/")
        return ResourceType(group, version, kind.lower() + "s", kind, kind != "Node")


def value(amount: str, name: str = "") -> Object:
    return {"describedObject": {"name": name}, "timestamp": stamp(NOW), "value": amount}


CUSTOM = "/apis/custom.metrics.k8s.io"
EXTERNAL = "/apis/external.metrics.k8s.io/v1beta1/namespaces/ns"
HITS = {"name": "hits", "selector": {"matchLabels": {"verb": "GET"}}}
TABLE = {
    CUSTOM: {"preferredVersion": {"groupVersion": "custom.metrics.k8s.io/v1beta2"}},
    f"{CUSTOM}/v1beta2/namespaces/ns/pods/*/hits?labelSelector=app=web&metricLabelSelector=verb=GET": [
        value("20", "p0"), value("10", "p1"), value("30", "p2")
    ],
    f"{CUSTOM}/v1beta2/namespaces/ns/ingresss.networking.k8s.io/main/hits": [value("30")],
    f"{CUSTOM}/v1beta2/namespaces/blue/metrics/hits": [value("30")],
    f"{CUSTOM}/v1beta2/nodes/n1/hits": [value("2500m")],
    f"{EXTERNAL}/queue?labelSelector=verb=GET": [value("8"), value("7")],
    f"{EXTERNAL}/empty": [],
    "/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods?labelSelector=app=web": [
        {"metadata": {"name": f"p{n}"}, "timestamp": stamp(NOW), "window": "30s",
         "containers": [{"name": "c", "usage": {"cpu": "400m", "memory": "100Mi"}},
                        {"name": "side", "usage": {"cpu": "300m", "memory": "1Mi"}}]}
        for n in range(3)
    ],
}  # fmt: skip


async def proposed(metric: Object, current: int = 3) -> Found:
    target = Target("ns", "app=web", pods(3), current, current)
    metrics = Metrics(Answers(TABLE), Kinds())  # type: ignore[arg-type]
    return await Proposals(metrics, target, Tolerance(), Startup(), NOW).of(metric)


def reference(kind: str, name: str, api_version: str = "v1") -> Object:
    return {"kind": kind, "name": name, "apiVersion": api_version}


@pytest.mark.parametrize(
    ("metric", "wanted", "name", "current"),
    [
        ({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}, 5,
         "cpu resource utilization (percentage of request)", {"averageUtilization": 70, "averageValue": "700m"}),
        ({"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "50Mi"}}}, 7,
         "memory resource", {"averageValue": "105906176"}),
        ({"type": "ContainerResource",
          "containerResource": {"name": "cpu", "container": "c", "target": {"averageUtilization": 20}}}, 6,
         "cpu container resource utilization (percentage of request)",
         {"averageUtilization": 40, "averageValue": "400m"}),
        ({"type": "Pods", "pods": {"metric": HITS, "target": {"averageValue": "15"}}}, 4,
         "pods metric hits", {"averageValue": "20"}),
        ({"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"value": "20"},
          "describedObject": reference("Ingress", "main", "networking.k8s.io/v1")}}, 5,
         "Ingress metric hits", {"value": "30"}),
        ({"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"averageValue": "5"},
          "describedObject": reference("Namespace", "blue")}}, 6,
         "external metric hits(nil)", {"averageValue": "10"}),
        ({"type": "Object", "object": {"metric": {"name": "hits"}, "target": {"value": "500m"},
          "describedObject": reference("Node", "n1")}}, 15,
         "Node metric hits", {"value": "2500m"}),
        ({"type": "External", "external": {"metric": {**HITS, "name": "queue"}, "target": {"averageValue": "5"}}}, 3,
         "external metric queue(&LabelSelector{MatchLabels:map[string]string{verb:GET},MatchExpressions:[],})",
         {"averageValue": "5"}),
        ({"type": "External", "external": {"metric": {**HITS, "name": "queue"}, "target": {"value": "5"}}}, 9,
         "external metric queue(&LabelSelector{MatchLabels:map[string]string{verb:GET},MatchExpressions:[],})",
         {"value": "15"}),
    ],
)  # fmt: skip
async def test_kinds_of_metrics(metric: Object, wanted: int, name: str, current: Object) -> None:
    found = await proposed(metric)
    assert (found.error, found.replicas, found.metric) == (None, wanted, name)
    (shown,) = [entry for key, entry in found.status.items() if key != "type"]
    assert shown["current"] == current
    assert found.status["type"] == metric["type"]


async def test_from_zero_by_a_metric_of_others() -> None:
    metric = {"type": "External", "external": {"metric": {**HITS, "name": "queue"}, "target": {"value": "5"}}}
    assert (await proposed(metric, current=0)).replicas == 3


@pytest.mark.parametrize(
    ("metric", "reason", "message"),
    [
        ({"type": "Wrong"}, "InvalidMetricSourceType", 'unknown metric source type "Wrong"'),
        ({"type": "External", "external": {"metric": {"name": "empty"}, "target": {"value": "1"}}},
         "FailedGetExternalMetric",
         "failed to get external metric empty: unable to get external metric ns/empty/nil: "
         "no metrics returned from external metrics API"),
        ({"type": "Pods", "pods": {"metric": {"name": "gone"}, "target": {"averageValue": "1"}}},
         "FailedGetPodsMetric",
         "failed to get pods metric value: unable to get metric gone: unable to fetch metrics from custom metrics API: "
         f"nothing at {CUSTOM}/v1beta2/namespaces/ns/pods/*/gone?labelSelector=app=web"),
        ({"type": "ContainerResource",
          "containerResource": {"name": "cpu", "container": "none", "target": {"averageUtilization": 20}}},
         "FailedGetContainerResourceMetric",
         "failed to get cpu utilization: unable to get metrics for resource cpu: "
         "container none not present in metrics for pod ns/p0"),
    ],
)  # fmt: skip
async def test_why_a_metric_proposes_nothing(metric: Object, reason: str, message: str) -> None:
    found = await proposed(metric)
    assert (found.reason, found.error, found.status) == (reason, message, {"type": ""})


def test_what_a_pod_requests() -> None:
    """One that says so as a whole (KEP-2837) is taken at its word, unless one of its containers is asked about."""
    containers = [{"name": name, "resources": {"requests": {"cpu": "300m"}}} for name in ("web", "proxy")]
    sidecar = {"name": "log", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    one = pod("one")
    one["spec"] = {"containers": containers, "initContainers": [sidecar]}
    assert replicas.requests_of([one], "cpu", "") == {"one": 700}
    assert replicas.requests_of([one], "cpu", "log") == {"one": 100}
    with pytest.raises(MetricError, match=r"^container none not found in Pod one$"):
        replicas.requests_of([one], "cpu", "none")
    one["spec"] |= {"resources": {"requests": {"cpu": "2"}}, "overhead": {"cpu": "10m"}}
    assert replicas.requests_of([one], "cpu", "") == {"one": 2000}, "without overhead (kubernetes #142154)"
    assert replicas.requests_of([one], "cpu", "web") == {"one": 300}
    one["spec"]["resources"] = {"requests": {"memory": "1Gi"}}
    assert replicas.requests_of([one], "cpu", "") == {"one": 700}
    with pytest.raises(MetricError, match=r"^missing pod-level request for hugepages-2Mi in Pod one$"):
        replicas.requests_of([one], "hugepages-2Mi", "")


@pytest.mark.parametrize(
    ("minor", "gate", "least", "metric", "by_us", "wakes"),
    [
        (37, True, 0, "External", True, True),
        (37, True, 0, "External", False, False),  # somebody wants it off
        (37, True, 0, "Resource", True, False),
        (37, True, 2, "Resource", True, True),  # minReplicas was raised meanwhile
        (37, True, 2, "External", False, False),
        (36, False, 0, "External", True, False),
        (35, False, 0, "External", False, True),
        (35, True, 1, "External", False, False),
    ],
)
def test_who_wakes_a_target_at_zero(minor: int, gate: bool, least: int, metric: str, by_us: bool, wakes: bool) -> None:
    spec = {"minReplicas": least, "maxReplicas": 5, "metrics": [{"type": metric}]}
    conditions = {"ScaledToZero": {"status": str(by_us)}}
    assert to_zero.wakes(to_zero.zero_of(minor, gate), spec, conditions) == wakes
