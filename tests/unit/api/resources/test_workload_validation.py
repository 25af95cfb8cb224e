"""apps/v1 and batch/v1: selectors, strategies, templates under their prefix, what stays, what a status counts."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources.daemon_sets import prepare_daemon_set
from sampan.api.resources.jobs import prepare_job

from .conftest import causes, changed, declared

LABELS = {"app": "web"}
POD = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
WORK: dict[str, Any] = {
    "metadata": {"name": "w", "uid": "u"},
    "spec": {"selector": {"matchLabels": LABELS}, "template": POD},
}
JOB: dict[str, Any] = {
    "metadata": {"name": "j", "uid": "u"},
    "spec": {"template": changed(POD, "spec.restartPolicy", "Never")},
}
CRON: dict[str, Any] = {
    "metadata": {"name": "c"},
    "spec": {
        "schedule": "* * * * *",
        "jobTemplate": {"spec": {"template": changed(POD, "spec.restartPolicy", "Never")}},
    },
}
KINDS = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet")
T = "spec.template.spec"


def apps(kind: str, **version: int) -> Any:
    return declared(kind, "apps", **version)


def job(path: str = "spec.suspend", value: Any = False) -> dict[str, Any]:
    made = changed(JOB, path, value)
    prepare_job(made, None)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_good_ones_have_no_complaint(kind: str) -> None:
    assert causes(apps(kind), WORK) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_selector_and_template(kind: str) -> None:
    resource = apps(kind)
    mismatch = 'Invalid value: {"app":"web"}: `selector` does not match template `labels`'
    missing = {"spec.template.metadata.labels": mismatch}
    if kind != "DaemonSet":
        missing["spec.selector"] = "Required value"
    assert causes(resource, changed(WORK, "spec.selector", None)) == missing
    other = changed(WORK, "spec.selector.matchLabels", {"a": "b"})
    assert causes(resource, other)["spec.template.metadata.labels"] == mismatch
    wrong = changed(WORK, "spec.selector.matchExpressions", [{"key": "app"}])
    found = causes(resource, wrong)
    assert found["spec.selector.matchExpressions[0].operator"] == 'Invalid value: "": not a valid selector operator'
    assert "spec.template.metadata.labels" not in found
    bare = {key: value for key, value in WORK["spec"].items() if key != "template"} | {
        "template": {"metadata": WORK["spec"]["template"]["metadata"]}
    }
    idle = {**WORK, "spec": bare}
    resource.default(idle)
    assert causes(resource, idle) == {"spec.template.spec.containers": "Required value"}
    once = changed(WORK, "spec.template.spec.restartPolicy", "Never")
    assert causes(resource, once) == {f"{T}.restartPolicy": 'Unsupported value: "Never": supported values: "Always"'}
    unnamed = changed(WORK, "spec.template.spec.containers.0.name", None)
    assert causes(resource, unnamed) == {f"{T}.containers[0].name": "Required value"}
    empty = causes(resource, changed(WORK, "spec.selector", {}))["spec.selector"]
    said = {"Deployment": "deployment", "ReplicaSet": "deployment"}.get(kind, kind.lower())
    assert empty == f"Invalid value: {{}}: empty selector is invalid for {said}"


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "DaemonSet"])
def test_a_selector_stays(kind: str) -> None:
    old = changed(changed(WORK, "spec.selector.matchLabels", {"a": "b"}), "spec.template.metadata.labels", {"a": "b"})
    assert causes(apps(kind), WORK, old) == {
        "spec.selector": 'Invalid value: {"matchLabels":{"app":"web"}}: field is immutable'
    }


def test_most_of_a_stateful_set_stays() -> None:
    resource = apps("StatefulSet")
    assert causes(resource, changed(WORK, "spec.replicas", 3), WORK) == {}
    (message,) = causes(resource, changed(WORK, "spec.serviceName", "x"), WORK).values()
    assert message == (
        "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
        "forbidden"
    )


def test_old_versions_do_not_look_into_the_pods_of_a_stateful_set() -> None:
    unnamed = changed(WORK, "spec.template.spec.containers.0.name", None)
    assert causes(apps("StatefulSet", minor=30), unnamed) == {}


@pytest.mark.parametrize(
    ("kind", "path", "value", "field", "message"),
    [
        ("Deployment", "spec.strategy", {"type": "Recreate", "rollingUpdate": {}}, "spec.strategy.rollingUpdate",
         "Forbidden: may not be specified when strategy `type` is 'Recreate'"),
        ("Deployment", "spec.strategy", {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}},
         "spec.strategy.rollingUpdate.maxUnavailable", "Invalid value: 0: may not be 0 when `maxSurge` is 0"),
        ("Deployment", "spec.strategy", {"rollingUpdate": {"maxUnavailable": "101%"}},
         "spec.strategy.rollingUpdate.maxUnavailable", 'Invalid value: "101%": must not be greater than 100%'),
        ("Deployment", "spec.progressDeadlineSeconds", 0, "spec.progressDeadlineSeconds",
         "Invalid value: 0: must be greater than minReadySeconds"),
        ("ReplicaSet", "spec.replicas", -1, "spec.replicas", "Invalid value: -1: must be greater than or equal to 0"),
        ("DaemonSet", "spec.updateStrategy", {"type": "Never"}, "spec.updateStrategy",
         'Unsupported value: {"Type":"Never","RollingUpdate":null}: supported values: "RollingUpdate", "OnDelete"'),
        ("DaemonSet", "spec.updateStrategy", {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
         "spec.updateStrategy.rollingUpdate.maxSurge",
         "Invalid value: 1: may not be set when maxUnavailable is non-zero"),
        ("StatefulSet", "spec.podManagementPolicy", "Random", "spec.podManagementPolicy",
         "Invalid value: \"Random\": must be 'OrderedReady' or 'Parallel'"),
        ("StatefulSet", "spec.updateStrategy", {"rollingUpdate": {"partition": -1}},
         "spec.updateStrategy.rollingUpdate.partition", "Invalid value: -1: must be greater than or equal to 0"),
        ("StatefulSet", "spec.persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Keep"},
         "spec.persistentVolumeClaimRetentionPolicy.whenDeleted",
         'Unsupported value: "Keep": supported values: "Retain", "Delete"'),
    ],
)  # fmt: skip
def test_one_wrong_thing(kind: str, path: str, value: Any, field: str, message: str) -> None:
    assert causes(apps(kind), changed(WORK, path, value)) == {field: message}


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
def test_a_status_counts_no_part_above_the_whole(kind: str) -> None:
    status = {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}
    found = causes(apps(kind), {**WORK, "status": status}, WORK, "status")
    assert found["status.readyReplicas"] == "Invalid value: 2: cannot be greater than status.replicas"
    assert found["status.availableReplicas"].endswith("cannot be greater than readyReplicas")


def test_a_daemon_set_counts_its_templates() -> None:
    new = changed(WORK, "spec.minReadySeconds", 0)
    prepare_daemon_set(new, None)
    key = "deprecated.daemonset.template.generation"
    assert new["metadata"]["annotations"] == {key: "1"}
    other = changed(new, "spec.template.spec.containers.0.image", "j")
    other["metadata"].pop("annotations")
    prepare_daemon_set(other, new)
    assert other["metadata"]["annotations"] == {key: "2"}


def test_names_that_make_no_host_names_are_warned_of() -> None:
    resource = apps("Deployment")
    assert resource.warn is not None
    (text,) = resource.warn(changed(WORK, "metadata.name", "a.b"), None)
    assert text == (
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is "
        "recommended: [must not contain dots]"
    )


# jobs


def test_a_job_owns_its_pods_by_its_uid() -> None:
    made = job()
    assert causes(declared("Job", "batch"), made) == {}
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    foreign = job("spec.template.metadata.labels", {"controller-uid": "other"})
    assert causes(declared("Job", "batch"), foreign)["spec.template.metadata.labels[controller-uid]"].endswith(
        "must be 'u'"
    )


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.template.spec.restartPolicy", "Always", f"{T}.restartPolicy",
         'Required value: valid values: "OnFailure", "Never"'),
        ("spec.completionMode", "Indexed", None, None),
        ("spec.backoffLimitPerIndex", 1, "spec.backoffLimitPerIndex",
         "Invalid value: 1: requires indexed completion mode"),
        ("spec.podFailurePolicy", {"rules": [{"action": "Ignore"}]}, "spec.podFailurePolicy.rules[0]",
         "Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
        ("spec.podFailurePolicy", {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [2, 1]}}]},
         "spec.podFailurePolicy.rules[0].onExitCodes.values", "Invalid value: [2,1]: must be ordered"),
        ("spec.parallelism", -1, "spec.parallelism", "Invalid value: -1: must be greater than or equal to 0"),
        ("spec.managedBy", "me", "spec.managedBy",
         'Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")'),
        ("spec.podReplacementPolicy", "Now", "spec.podReplacementPolicy",
         'Unsupported value: "Now": supported values: "Failed", "TerminatingOrFailed"'),
    ],
)  # fmt: skip
def test_one_wrong_thing_of_a_job(path: str, value: Any, field: str | None, message: str | None) -> None:
    assert causes(declared("Job", "batch"), job(path, value)) == ({} if field is None else {field: message})


def test_a_success_policy_names_indexes() -> None:
    made = job("spec.completionMode", "Indexed")
    made["spec"] |= {"completions": 5, "parallelism": 5, "successPolicy": {"rules": [{"succeededIndexes": "1,3-7"}]}}
    assert causes(declared("Job", "batch"), made) == {
        "spec.successPolicy.rules[0].succeededIndexes": 'Invalid value: "1,3-7": error parsing succeededIndexes: too large '
        'index: "7"'
    }


def test_a_job_keeps_its_template_unless_it_has_not_begun() -> None:
    resource, old = declared("Job", "batch"), job("spec.suspend", True)
    moved = changed(old, "spec.template.spec.nodeSelector", {"a": "b"})
    assert causes(resource, moved, old) == {}
    begun = changed(old, "status.startTime", "2026-01-01T00:00:00Z")
    assert list(causes(resource, moved, begun)) == ["spec.template"]
    image = changed(old, "spec.template.spec.containers.0.image", "other")
    assert list(causes(resource, image, old)) == ["spec.template"]


def test_a_suspended_job_may_ask_for_more_since_1_36() -> None:
    old = job("spec.suspend", True)
    bigger = changed(old, "spec.template.spec.containers.0.resources", {"requests": {"cpu": "2"}})
    assert causes(declared("Job", "batch", minor=36), bigger, old) == {}
    assert list(causes(declared("Job", "batch", minor=35), bigger, old)) == ["spec.template"]
    begun = {"startTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]}
    resource = declared("Job", "batch", minor=36)
    assert causes(resource, bigger, changed(old, "status", begun)) == {}
    assert list(causes(resource, bigger, changed(old, "status", {**begun, "active": 1}))) == ["spec.template"]


START, END = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def told(*kinds: str) -> list[dict[str, str]]:
    return [{"type": kind, "status": "True"} for kind in kinds]


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ({"startTime": START, "active": 1}, {"startTime": START, "succeeded": 1, "ready": 0}, {}),
        (
            {"startTime": START, "succeeded": 1},
            {
                "startTime": START,
                "succeeded": 1,
                "completionTime": END,
                "conditions": told("SuccessCriteriaMet", "Complete"),
            },
            {},
        ),
        (
            {},
            {"active": 1, "conditions": told("Complete")},
            {
                "status.conditions": "Invalid value: cannot set Complete=True condition without the "
                "SuccessCriteriaMet=true condition",
                "status.completionTime": "Required value: completionTime is required for Complete jobs",
                "status.active": "Invalid value: 1: active>0 is invalid for finished job",
                "status.startTime": "Required value: startTime is required for finished job",
            },
        ),
        (
            {"startTime": START, "conditions": told("FailureTarget", "Failed")},
            {"startTime": START, "conditions": told("FailureTarget")},
            {"status.conditions": "Invalid value: cannot disable the terminal Failed=True condition"},
        ),
        (
            {"startTime": START},
            {"startTime": END, "completionTime": START, "conditions": told("SuccessCriteriaMet", "Complete")},
            {
                "status.completionTime": f'Invalid value: "{START}": completionTime cannot be set before startTime',
                "status.startTime": "Required value: startTime cannot be removed for unsuspended job",
            },
        ),
        (
            {"failed": 2, "succeeded": 1},
            {"failed": 1, "succeeded": 1, "ready": 1},
            {
                "status.failed": "Invalid value: 1: cannot decrease the failed counter",
                "status.ready": "Invalid value: 1: cannot set more ready pods than active",
            },
        ),
        (
            {},
            {"completedIndexes": "1", "failedIndexes": "2"},
            {
                "status.completedIndexes": 'Invalid value: "1": cannot set non-empty completedIndexes when non-indexed '
                "completion mode",
                "status.failedIndexes": 'Invalid value: "2": cannot set non-null failedIndexes when backoffLimitPerIndex '
                "is null",
            },
        ),
    ],
)
def test_the_status_of_a_job_does_not_lie(before: Any, after: Any, wrong: dict[str, str]) -> None:
    old = changed(job("spec.completions", 3), "status", before)
    new = changed(old, "status", after)
    found = causes(declared("Job", "batch"), new, old, "status")
    assert {field: message for field, message in found.items() if field in wrong} == wrong
    assert bool(found) == bool(wrong)
    assert not causes(declared("Job", "batch", minor=31), new, old, "status")


def test_indexes_succeed_or_fail() -> None:
    old = job("spec.completionMode", "Indexed")
    old["spec"] |= {"completions": 5, "parallelism": 5, "backoffLimitPerIndex": 1}
    new = changed(old, "status", {"completedIndexes": "0,2-4", "failedIndexes": "1,3"})
    assert causes(declared("Job", "batch"), new, old, "status") == {
        "status.failedIndexes": 'Invalid value: "1,3": failedIndexes and completedIndexes overlap at index: 3'
    }
    new = changed(old, "status", {"completedIndexes": "0,7"})
    assert causes(declared("Job", "batch"), new, old, "status") == {
        "status.completedIndexes": 'Invalid value: "0,7": error parsing completedIndexes: too large index: "7"'
    }


def test_the_status_of_a_deployment_says_nothing_of_labels() -> None:
    old = {"metadata": {"labels": {"a": "b"}}}
    new = {"metadata": {"labels": {"a": "c"}, "annotations": {"x": "y"}}}
    declared("Deployment", "apps").prepares["status"](new, old)
    assert new["metadata"] == {"labels": {"a": "b"}, "annotations": {"x": "y"}}


# cron jobs


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("@never", "unrecognized descriptor: @never"),
        ("@every soon", 'failed to parse duration @every soon: time: invalid duration "soon"'),
        ("*/5 8-18 * jan mon-fri", ""),
        ("@hourly", ""),
        ("@every 1h30m", ""),
    ],
)
def test_schedules(schedule: str, message: str) -> None:
    found = causes(declared("CronJob", "batch"), changed(CRON, "spec.schedule", schedule))
    assert found == ({"spec.schedule": f'Invalid value: "{schedule}": {message}'} if message else {})


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.timeZone", "Mars/Base", "spec.timeZone", 'Invalid value: "Mars/Base": unknown time zone Mars/Base'),
        ("spec.timeZone", "Local", "spec.timeZone", None),
        ("spec.concurrencyPolicy", "Maybe", "spec.concurrencyPolicy",
         'Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"'),
        ("metadata.name", "n" * 53, "metadata.name", None),
        ("spec.jobTemplate.spec.template.spec.containers", [],
         "spec.jobTemplate.spec.template.spec.containers", "Required value"),
    ],
)  # fmt: skip
def test_one_wrong_thing_of_a_cron_job(path: str, value: Any, field: str, message: str | None) -> None:
    found = causes(declared("CronJob", "batch"), changed(CRON, path, value))
    assert list(found) == [field] and (message is None or found[field] == message)
