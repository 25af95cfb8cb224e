"""What a Job does next, by its pods alone: counts, policies, indexes, pauses; and that each end is counted once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.controllers.job import job_pod
from sampan.controllers.job_indexes import FAILURES, IGNORED, INDEX, intervals, parsed, pending
from sampan.controllers.job_plan import New, plan, settled, tracked
from sampan.controllers.job_policies import success_of, verdict_on
from sampan.controllers.job_view import TRACKING, End, View, backoff_left
from sampan.controllers.ttl_after_finished import seconds_left
from sampan.schema.objects import Object

NOW = 1_700_000_000.0


def stamp(seconds_ago: float = 0) -> str:
    return datetime.fromtimestamp(NOW - seconds_ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(status: Object | None = None, **spec: Any) -> Object:
    restart = spec.pop("restartPolicy", "Never")
    template = {"spec": {"restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}}
    metadata = {"name": "j", "namespace": "default", "uid": "uid-of-j"}
    full = {"parallelism": 1, "backoffLimit": 6, "template": template, **spec}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": full, "status": status or {}}


def pod(name: str, phase: str = "Running", index: int | None = None, **more: Any) -> Object:
    annotations: dict[str, str] = {} if index is None else {INDEX: str(index)}
    if "failures" in more:
        annotations[FAILURES] = str(more["failures"])
    metadata: Object = {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": annotations}
    metadata |= {"creationTimestamp": stamp(100), "finalizers": [TRACKING] if more.get("tracked", True) else []}
    if more.get("ending"):
        metadata["deletionTimestamp"] = stamp(1000)
    status: Object = {"phase": phase, "conditions": more.get("conditions") or []}
    if phase in ("Succeeded", "Failed"):
        code = more.get("code", 0 if phase == "Succeeded" else 1)
        ended = {"exitCode": code, "finishedAt": stamp(more.get("ago", 1000))}
        status["containerStatuses"] = [{"name": more.get("container", "c"), "state": {"terminated": ended}}]
    elif "restarts" in more:
        status["containerStatuses"] = [{"name": "c", "restartCount": more["restarts"], "state": {"running": {}}}]
    return {"metadata": metadata, "spec": {}, "status": status}


def made(found: Object, pods: list[Object]) -> list[New]:
    return plan(View(found, pods), NOW).create


def deleted(found: Object, pods: list[Object]) -> list[str]:
    return [one["metadata"]["name"] for one in plan(View(found, pods), NOW).delete]


def end_of(found: Object, pods: list[Object]) -> tuple[str, str]:
    view = View(found, pods)
    end = view.end() or view.completed(len(view.active))
    return (end.type, end.reason) if end else ("", "")


def test_as_many_pods_as_are_missing() -> None:
    three = job(completions=3, parallelism=2)
    assert made(three, []) == [New(), New()]
    assert made(three, [pod("a", "Succeeded"), pod("b", "Succeeded")]) == [New()]
    assert made(three, [pod("a"), pod("b")]) == []
    assert made(job(parallelism=3), [pod("a", "Succeeded"), pod("b")]) == []  # one has succeeded: the rest may end
    assert made(job(parallelism=3), [pod("b")]) == [New(), New()]
    counted = job({"succeeded": 2}, completions=3, parallelism=2)
    assert made(counted, [pod("a", "Succeeded", tracked=False)]) == [New()]


def test_pods_that_are_too_many_go() -> None:
    ready = [{"type": "Ready", "status": "True"}]
    assert deleted(job(completions=5), [pod("a", conditions=ready), pod("b")]) == ["b"]
    assert deleted(job(completions=5, suspend=True, parallelism=2), [pod("a"), pod("b")]) == ["a", "b"]
    indexed = job(completions=2, parallelism=2, completionMode="Indexed")
    twice = [pod("a", index=0, conditions=ready), pod("b", index=0), pod("c", index=7)]
    assert sorted(deleted(indexed, twice)) == ["b", "c"]


def test_how_it_ends() -> None:
    assert end_of(job(completions=1), [pod("a", "Succeeded")]) == ("SuccessCriteriaMet", "CompletionsReached")
    assert end_of(job(completions=1), [pod("a", "Succeeded"), pod("b")]) == ("", "")
    assert end_of(job(parallelism=3), [pod("a", "Succeeded"), pod("b")]) == ("", "")
    assert end_of(job(completions=1, backoffLimit=0), [pod("a", "Failed")]) == ("FailureTarget", "BackoffLimitExceeded")
    assert end_of(job({"failed": 6}, completions=1), [pod("a", "Failed")])[1] == "BackoffLimitExceeded"
    assert end_of(job({"failed": 6}, completions=1), [pod("a", "Failed", tracked=False)]) == ("", "")
    announced = {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "Why"}]}
    assert end_of(job(announced, completions=1), [pod("a", "Succeeded")]) == ("FailureTarget", "Why")


@pytest.mark.parametrize(("limit", "restarts", "ends"), [(0, 0, False), (0, 1, True), (2, 1, False), (2, 2, True)])
def test_restarts_within_pods_count_against_the_limit(limit: int, restarts: int, ends: bool) -> None:
    found = job(completions=1, backoffLimit=limit, restartPolicy="OnFailure")
    assert (end_of(found, [pod("a", restarts=restarts)])[1] == "BackoffLimitExceeded") is ends


def test_deleted_pods_are_replaced_at_once_or_when_they_have_failed() -> None:
    going = [pod("a", ending=True)]
    assert made(job(completions=1), going) == [New()]
    assert View(job(completions=1), going).failed == 1
    patient = job(completions=1, podReplacementPolicy="Failed")
    assert made(patient, going) == []
    assert View(patient, going).failed == 0
    assert made(patient, [pod("a", "Failed", ending=True)]) == [New()]
    indexed = job(completions=2, parallelism=2, completionMode="Indexed", podReplacementPolicy="Failed")
    assert made(indexed, [pod("a", index=0, ending=True)]) == [New(1)]


# policies

RULES = [
    {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "Count", "onExitCodes": {"operator": "In", "values": [3]}},
    {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [5, 6]}},
]
DISRUPTED = [{"type": "DisruptionTarget", "status": "True"}]


@pytest.mark.parametrize(
    ("failed", "action", "message"),
    [
        (pod("p", "Failed", container="main", code=42), "FailJob",
         "Container main for pod default/p failed with exit code 42 matching FailJob rule at index 0"),
        (pod("p", "Failed", container="side", code=42), "FailIndex", ""),
        (pod("p", "Failed", code=5, conditions=DISRUPTED), "Ignore", ""),
        (pod("p", "Failed", code=3), "Count", ""),
        (pod("p", "Failed", code=5), "", ""),
        (pod("p", "Failed", code=0), "", ""),
    ],
)  # fmt: skip
def test_the_first_rule_that_matches(failed: Object, action: str, message: str) -> None:
    found = verdict_on(job(podFailurePolicy={"rules": RULES}), failed)
    assert (found.action, found.message, found.counts) == (action, message, action != "Ignore")


def test_a_condition_may_fail_the_job() -> None:
    rules = [{"action": "FailJob", "onPodConditions": [{"type": "ConfigIssue"}]}]
    broken = pod("p", "Failed", conditions=[{"type": "ConfigIssue", "status": "True"}])
    found = job(completions=1, podFailurePolicy={"rules": rules})
    end = View(found, [broken]).end()
    assert end == End(
        "FailureTarget", "PodFailurePolicy", "Pod default/p has condition ConfigIssue matching FailJob rule at index 0"
    )


def test_ignored_failures_are_not_counted() -> None:
    found = job(completions=1, backoffLimit=0, podFailurePolicy={"rules": RULES})
    view = View(found, [pod("a", "Failed", conditions=DISRUPTED, code=9)])
    assert (view.failed, view.end()) == (0, None)
    noted = tracked(view, None, deleting=False)
    assert noted.status["uncountedTerminatedPods"] == {}
    assert [one["metadata"]["name"] for one in noted.release] == ["a"]


@pytest.mark.parametrize(
    ("rules", "succeeded", "message"),
    [
        ([{"succeededIndexes": "0,2-3"}], {0, 2, 3}, "Matched rules at index 0"),
        ([{"succeededIndexes": "0,2-3"}], {0, 1, 2}, ""),
        ([{"succeededIndexes": "0,2-3", "succeededCount": 2}], {0, 3}, "Matched rules at index 0"),
        ([{"succeededIndexes": "0"}, {"succeededCount": 3}], {1, 2, 3}, "Matched rules at index 1"),
        ([{"succeededCount": 3}], {1, 2}, ""),
    ],
)
def test_success_policies(rules: list[Object], succeeded: set[int], message: str) -> None:
    assert success_of(job(completions=5, successPolicy={"rules": rules}), succeeded) == message


# indexes


def per_index(status: Object | None = None, **spec: Any) -> Object:
    full = {"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 1, **spec}
    return job(status, **full)


def test_an_index_is_tried_again_with_its_count_of_failures() -> None:
    failed = pod("a", "Failed", index=1, failures=0)
    found = plan(View(per_index(), [failed, pod("b", index=0), pod("c", index=2)]), NOW)
    assert found.create == [New(1, 1)]
    held = tracked(View(per_index(), [failed, pod("b", index=0)]), None, deleting=False)
    assert held.release == []  # until its successor is there
    after = [failed, pod("b", index=0), pod("c", index=2), pod("d", index=1, failures=1)]
    assert [one["metadata"]["name"] for one in tracked(View(per_index(), after), None, deleting=False).release] == ["a"]


def test_an_index_waits_for_itself_only() -> None:
    fresh = pod("a", "Failed", index=1, failures=0, ago=4)
    found = plan(View(per_index(), [fresh, pod("c", index=2)]), NOW)
    assert found.create == [New(0, 0)]
    assert found.wait == pytest.approx(6)


def test_indexes_that_are_lost() -> None:
    lost = pod("a", "Failed", index=1, failures=1)
    view = View(per_index(), [lost, pod("b", index=0)])
    assert view.failed_indexes == {1}
    assert view.end() is None
    status = tracked(view, None, deleting=False).status
    assert (status["failedIndexes"], status["uncountedTerminatedPods"]) == ("1", {"failed": ["uid-a"]})
    assert made(per_index(), [lost, pod("b", index=0)]) == [New(2, 0)]
    assert end_of(per_index(maxFailedIndexes=0), [lost])[1] == "MaxFailedIndexesExceeded"
    others = [pod("b", "Succeeded", index=0), pod("c", "Succeeded", index=2)]
    assert end_of(per_index(), [lost, *others])[1] == "FailedIndexes"
    rules = [{"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [9]}}]
    at_once = per_index(podFailurePolicy={"rules": rules}, backoffLimitPerIndex=5)
    assert View(at_once, [pod("a", "Failed", index=2, failures=0, code=9)]).failed_indexes == {2}


def test_ignored_failures_of_an_index_are_told_apart() -> None:
    rules = [{"action": "Ignore", "onPodConditions": DISRUPTED}]
    found = per_index(podFailurePolicy={"rules": rules})
    gone = pod("a", "Failed", index=0, failures=1, conditions=DISRUPTED)
    assert View(found, [gone]).failed_indexes == set()
    assert made(found, [gone, pod("b", index=1), pod("c", index=2)]) == [New(0, 1, 1)]


def test_a_smaller_job_forgets_the_indexes_that_it_has_no_more() -> None:
    found = job({"completedIndexes": "0,2-4", "succeeded": 4}, completions=3, parallelism=3, completionMode="Indexed")
    view = View(found, [pod("x", index=1), pod("y", "Succeeded", index=4)])
    assert view.succeeded == 2
    status = tracked(view, None, deleting=False).status
    assert (status["completedIndexes"], status["succeeded"]) == ("0,2", 2)


@given(st.sets(st.integers(0, 60)))
def test_intervals_are_read_as_they_are_written(indexes: set[int]) -> None:
    written = intervals(indexes)
    assert parsed(written, 100) == indexes
    assert parsed(written, 30) == {index for index in indexes if index < 30}
    assert pending(61, indexes, 3) == [index for index in range(61) if index not in indexes][:3]


def test_intervals() -> None:
    assert intervals([0, 1, 2, 5, 7, 8]) == "0-2,5,7,8"
    assert intervals([]) == ""


# pauses


def test_pauses_double_with_failures_that_no_success_came_after() -> None:
    found = job(completions=5)

    def left(*pods: Object) -> float:
        return backoff_left(found, pods, NOW)

    assert left() == 0.0
    assert left(pod("a", "Failed", ago=3)) == pytest.approx(7)
    assert left(pod("a", "Failed", ago=3), pod("b", "Failed", ago=50)) == pytest.approx(17)
    assert left(pod("a", "Failed", ago=30), pod("b", "Succeeded", ago=20)) == 0.0
    assert left(pod("a", "Failed", ago=5), pod("b", "Succeeded", ago=20)) == pytest.approx(5)
    assert left(*(pod(f"p{n}", "Failed", ago=n) for n in range(12))) == pytest.approx(600)
    waiting = plan(View(found, [pod("a", "Failed", ago=3)]), NOW)
    assert (waiting.create, waiting.wait) == ([], pytest.approx(7))


# counting


@given(
    st.lists(st.tuples(st.sampled_from(["Succeeded", "Failed"]), st.booleans(), st.booleans()), max_size=20), st.data()
)
def test_each_end_is_counted_once_whatever_is_lost_in_between(ends: list[tuple[str, bool, bool]], data: Any) -> None:
    """Status writes, and finalizers taken away, may each be the last thing before a crash."""
    found = job({}, completions=100, parallelism=0)
    pods = [pod(f"p{number}", phase) for number, (phase, _, _) in enumerate(ends)]
    for _ in range(6):
        view = View(found, pods)
        noted = tracked(view, None, deleting=False)
        if data.draw(st.booleans()):  # before the status was written
            continue
        found = {**found, "status": noted.status}
        gone = [one for one in noted.release if data.draw(st.booleans())]
        for one in gone:
            one["metadata"]["finalizers"] = []
        if data.draw(st.booleans()):  # before the counts were written
            continue
        left = {one["metadata"]["uid"] for one in pods if one["metadata"]["finalizers"]}
        found = {**found, "status": settled(noted.status, left, counts_succeeded=True)}
        total = view.failed + view.succeeded
        assert total == len(ends)
    for one in tracked(View(found, pods), None, deleting=False).release:
        one["metadata"]["finalizers"] = []
    last = tracked(View(found, pods), None, deleting=False)
    final = tracked(View({**found, "status": last.status}, pods), None, deleting=False).status
    noted_now = final["uncountedTerminatedPods"]
    for name, phase in (("succeeded", "Succeeded"), ("failed", "Failed")):
        assert final.get(name, 0) + len(noted_now.get(name, [])) <= sum(end[0] == phase for end in ends)


def test_everything_that_still_goes_counts_as_failed_when_the_job_ends() -> None:
    view = View(job({"active": 2}, completions=3, parallelism=2), [pod("a"), pod("b", "Succeeded")])
    noted = tracked(view, End("FailureTarget", "DeadlineExceeded", ""), deleting=False)
    assert noted.status["uncountedTerminatedPods"] == {"succeeded": ["uid-b"], "failed": ["uid-a"]}
    assert len(noted.release) == 2


def test_what_a_success_makes_superfluous_has_not_failed() -> None:
    view = View(job({"active": 1}, completions=3, parallelism=2), [pod("a"), pod("b", "Succeeded"), pod("c", "Failed")])
    noted = tracked(view, End("SuccessCriteriaMet", "SuccessPolicy", ""), deleting=False)
    assert noted.status["uncountedTerminatedPods"] == {"succeeded": ["uid-b"], "failed": ["uid-c"]}
    assert len(noted.release) == 3


def test_pods_of_indexes_know_their_index() -> None:
    long = job(completions=1, completionMode="Indexed")
    long["metadata"]["name"] = "j" * 63
    found = job_pod(long, New(3, 1, 2))
    metadata = found["metadata"]
    assert len(metadata["name"]) == 63
    assert metadata["generateName"] == "j" * 55 + "-3-"
    assert {metadata["annotations"][name] for name in (INDEX, FAILURES, IGNORED)} == {"3", "1", "2"}
    assert metadata["labels"][INDEX] == "3"
    assert metadata["finalizers"] == [TRACKING]
    (variable,) = found["spec"]["containers"][0]["env"]
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{INDEX}']"


def test_when_a_job_goes() -> None:
    over = [{"type": "Complete", "status": "True", "lastTransitionTime": "2000-01-01T00:00:00Z"}]
    assert seconds_left(job({"conditions": over})) is None
    assert seconds_left(job({}, ttlSecondsAfterFinished=5)) is None
    left = seconds_left(job({"conditions": over}, ttlSecondsAfterFinished=5))
    assert left is not None
    assert left < 0
