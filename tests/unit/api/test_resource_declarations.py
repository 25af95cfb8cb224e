"""Declarations as pure functions: defaults, validation and cells of the built-in kinds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.resources import declarations
from sampan.api.resources.apps import DEPLOYMENT
from sampan.api.resources.autoscaling_versions import to_v1, to_v2
from sampan.api.resources.batch import JOB
from sampan.api.resources.definitions import validate_definition
from sampan.api.resources.events import from_core, to_core
from sampan.api.resources.pod_cells import summary
from sampan.api.resources.pod_spec import default_pod, image_tag
from sampan.api.resources.pods import POD, grace_period, qos_class
from sampan.api.resources.services import SERVICE, external_address, port_cell

Object = dict[str, Any]


def causes(resource: Any, obj: Object, old: Object | None = None) -> dict[str, str]:
    return {cause.field: cause.message for cause in resource.validate(obj, old)}


def pod(**spec: Any) -> Object:
    obj: Object = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    default_pod(obj)
    return obj


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("nginx", "latest"),
        ("nginx:1.25", "1.25"),
        ("host:5000/nginx", "latest"),
        ("host:5000/nginx:v1", "v1"),
        ("nginx@sha256:abc", ""),
    ],
)
def test_the_tag_decides_the_pull_policy(image: str, tag: str) -> None:
    assert image_tag(image) == tag


def test_defaulting_twice_changes_nothing() -> None:
    once = pod(hostNetwork=True, volumes=[{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}])
    again = __import__("copy").deepcopy(once)
    default_pod(again)
    assert again == once
    assert once["spec"]["volumes"][0]["emptyDir"] == {} and once["spec"]["volumes"][1]["secret"]["defaultMode"] == 420


def test_limits_become_requests() -> None:
    obj: Object = {"spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}]}}
    default_pod(obj)
    assert obj["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}


def test_quality_of_service() -> None:
    both = {"cpu": "1", "memory": "1Gi"}

    def of(resources: Object) -> str:
        return qos_class({"containers": [{"resources": resources}]})

    assert of({}) == "BestEffort"
    assert of({"requests": {"cpu": "1"}}) == "Burstable"
    assert of({"limits": both, "requests": both}) == "Guaranteed"


def test_grace_periods() -> None:
    scheduled = pod(nodeName="n")
    assert grace_period(scheduled, None) == 30 and grace_period(scheduled, 5) == 5 and grace_period(scheduled, -1) == 1
    assert grace_period(pod(), None) == 0
    assert grace_period({**scheduled, "status": {"phase": "Failed"}}, 30) == 0


def test_pod_validation_names_every_field() -> None:
    bad = pod(restartPolicy="Sometimes", volumes=[{"name": "v", "configMap": {}}])
    bad["spec"]["containers"][0] |= {
        "name": "C",
        "ports": [{"containerPort": 70000, "protocol": "TCP"}],
        "volumeMounts": [{"name": "nope", "mountPath": "/x"}],
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
        "livenessProbe": {"successThreshold": 2},
    }
    found = causes(POD, bad)
    assert (
        found["spec.containers[0].ports[0].containerPort"]
        == "Invalid value: 70000: must be between 1 and 65535, inclusive"
    )
    assert found["spec.containers[0].volumeMounts[0].name"] == 'Not found: "nope"'
    assert (
        found["spec.containers[0].resources.requests"]
        == 'Invalid value: "2": must be less than or equal to cpu limit of 1'
    )
    assert found["spec.containers[0].livenessProbe"] == "Required value: must specify a handler type"
    assert found["spec.containers[0].livenessProbe.successThreshold"] == "Invalid value: 2: must be 1"
    assert found["spec.volumes[0].configMap.name"] == "Required value"
    assert "spec.restartPolicy" in found and "spec.containers[0].name" in found


def test_only_images_and_a_few_more_fields_of_a_pod_change() -> None:
    old = pod()
    new = pod()
    new["spec"]["containers"][0]["image"] = "other"
    assert causes(POD, new, old) == {}
    new["spec"]["dnsPolicy"] = "Default"
    message = causes(POD, new, old)["spec"]
    assert message.startswith("Forbidden: pod updates may not change fields other than `spec.containers[*].image`")


def test_pod_cells() -> None:
    two = {"metadata": {}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    assert summary({**two, "status": {"phase": "Pending"}}) == ("0/2", "Pending", "0")
    ended = (datetime.now(UTC) - timedelta(minutes=5, seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    crashed = {
        "name": "a",
        "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": ended}},
    }
    running = {"name": "b", "ready": True, "restartCount": 0, "state": {"running": {}}}
    status = {"phase": "Running", "containerStatuses": [crashed, running]}
    cells = summary({**two, "status": status})
    assert cells[:2] == ("1/2", "CrashLoopBackOff") and cells[2].startswith("3 (5m")
    gone = {**two, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": status}
    assert summary(gone)[1] == "Terminating"
    waiting = {"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}
    first = {"metadata": {}, "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}}
    assert summary({**first, "status": {"phase": "Pending", "initContainerStatuses": [waiting]}})[1] == "Init:0/1"


def test_deployment_rules() -> None:
    obj: Object = {
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "c"}}, "spec": pod()["spec"]},
        },
    }
    assert DEPLOYMENT.default is not None
    DEPLOYMENT.default(obj)
    assert obj["spec"]["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    found = causes(DEPLOYMENT, obj)
    assert (
        found["spec.template.metadata.labels"]
        == 'Invalid value: {"a":"c"}: `selector` does not match template `labels`'
    )
    obj["spec"]["strategy"]["rollingUpdate"] = {"maxUnavailable": 0, "maxSurge": 0}
    assert "spec.strategy.rollingUpdate.maxUnavailable" in causes(DEPLOYMENT, obj)


def test_a_job_finds_its_pods_by_its_uid() -> None:
    job: Object = {"metadata": {"name": "j", "uid": "u"}, "spec": {"template": {"spec": {}}}}
    assert JOB.prepare is not None and JOB.default is not None
    JOB.prepare(job, None)
    JOB.default(job)
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert job["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 1


def test_service_cells() -> None:
    spec = {"type": "LoadBalancer", "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}]}
    assert external_address({"spec": spec}) == "<pending>" and port_cell({"spec": spec}) == "80:30080/TCP"
    status = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
    assert external_address({"spec": spec, "status": status}) == "10.0.0.1"
    bare = {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}
    assert causes(SERVICE, {"spec": bare}) == {"spec.ports": "Required value"}


def test_events_are_one_storage_in_two_forms() -> None:
    event: Object = {"apiVersion": "events.k8s.io/v1", "regarding": {"kind": "Pod"}, "note": "hello", "reason": "R"}
    stored = dict(event)
    to_core(stored)
    assert stored["involvedObject"] == {"kind": "Pod"} and stored["message"] == "hello" and stored["apiVersion"] == "v1"
    from_core(stored)
    assert {**stored, "apiVersion": "events.k8s.io/v1"} == event


def test_autoscalers_convert() -> None:
    obj: Object = {"spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}}
    to_v2(obj)
    assert obj["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    to_v1(obj)
    assert obj["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}


def test_definitions_are_judged() -> None:
    bad: Object = {
        "metadata": {"name": "x"},
        "spec": {
            "group": "a.b",
            "scope": "Cluster",
            "names": {"plural": "xs", "kind": "X"},
            "versions": [{"name": "v1"}],
        },
    }
    fields = {cause.field for cause in validate_definition(bad, None)}
    assert {"metadata.name", "spec.versions", "spec.versions[0].schema.openAPIV3Schema"} <= fields


def test_declarations_are_unique() -> None:
    keys = [(resource.group, resource.version, resource.plural) for resource in declarations()]
    assert len(keys) == len(set(keys)) > 60


WILD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.dictionaries(
        st.sampled_from(["spec", "status", "metadata", "name", "type", "state"]), inner, max_size=3
    ),
    max_leaves=6,
)


@given(WILD)
def test_cells_bear_any_status(wild: Any) -> None:
    obj = {"metadata": {"name": "x"}, "spec": {}, "status": wild if isinstance(wild, dict) else {}}
    for resource in declarations():
        for column in resource.columns:
            if callable(column.value):
                column.value(obj)
