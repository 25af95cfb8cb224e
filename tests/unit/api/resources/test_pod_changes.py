"""What may become of a pod: updates, status, ephemeral containers, resize; and what its author is warned about."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api.resources.pod_changes import prepare_ephemeral, prepare_resize, prepare_status
from sampan.api.resources.pods import prepare

from .conftest import causes, changed, declared

POD = declared("Pod")
AMOUNTS = {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"cpu": "200m", "memory": "2Gi"}}
OLD: dict[str, Any] = {
    "metadata": {"name": "web", "annotations": {}},
    "spec": {
        "containers": [{"name": "web", "image": "nginx", "resources": AMOUNTS}],
        "activeDeadlineSeconds": 100,
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}],
    },
    "status": {"phase": "Running", "qosClass": "Burstable"},
}
GATED = changed(OLD, "spec.schedulingGates", [{"name": "a"}, {"name": "b"}])
ONLY = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.containers.0.image", "nginx:latest"),
        ("spec.activeDeadlineSeconds", 50),
        ("spec.tolerations.0.tolerationSeconds", 99),
        ("spec.tolerations", [*OLD["spec"]["tolerations"], {"key": "b", "operator": "Exists"}]),
        ("metadata.labels", {"a": "b"}),
    ],
)
def test_what_an_update_may_change(path: str, value: Any) -> None:
    assert causes(POD, changed(OLD, path, value), OLD) == {}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.nodeName", "n1", "spec", ONLY + '+ nodeName: "n1"'),
        (
            "spec.containers.0.env",
            [{"name": "A", "value": "b"}],
            "spec",
            ONLY + '+ containers[0].env: [{"name":"A","value":"b"}]',
        ),
        (
            "spec.containers",
            [*OLD["spec"]["containers"], {"name": "b", "image": "i"}],
            "spec.containers",
            "Forbidden: pod updates may not add or remove containers",
        ),
        (
            "spec.activeDeadlineSeconds",
            200,
            "spec.activeDeadlineSeconds",
            "Invalid value: 200: must be less than or equal to previous value",
        ),
        (
            "spec.activeDeadlineSeconds",
            None,
            "spec.activeDeadlineSeconds",
            'Invalid value: "null": must not update from a positive integer to nil value',
        ),
        (
            "spec.tolerations",
            [],
            "spec.tolerations",
            "Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ),
        (
            "metadata.annotations",
            {"kubernetes.io/config.mirror": "x"},
            "metadata.annotations[kubernetes.io/config.mirror]",
            'Invalid value: "x": must set spec.nodeName if mirror pod annotation is set | '
            "Forbidden: may not add mirror pod annotation",
        ),
        (
            "spec.schedulingGates",
            [{"name": "new"}],
            "spec.schedulingGates[0].name",
            "Forbidden: only deletion is allowed, but found new scheduling gate 'new'",
        ),
    ],
)
def test_what_an_update_may_not_change(path: str, value: Any, field: str, message: str) -> None:
    assert causes(POD, changed(OLD, path, value), OLD) == {field: message}


def test_a_gated_pod_may_be_narrowed() -> None:
    assert causes(POD, changed(GATED, "spec.schedulingGates", [{"name": "b"}]), GATED) == {}
    assert causes(POD, changed(GATED, "spec.nodeSelector", {"a": "b"}), GATED) == {}
    term = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    narrowed = changed(GATED, "spec.affinity", affinity)
    assert causes(POD, narrowed, GATED) == {}
    (message,) = causes(POD, GATED, narrowed).values()
    assert message.endswith("no additions/deletions to non-empty NodeSelectorTerms list are allowed")
    selected = changed(GATED, "spec.nodeSelector", {"a": "b"})
    assert "spec.nodeSelector" in causes(POD, GATED, selected)


def test_a_new_gated_pod_says_so_in_its_status() -> None:
    new = copy.deepcopy(GATED)
    prepare(new, None)
    assert new["status"]["conditions"][0]["reason"] == "SchedulingGated"
    assert new["status"]["phase"] == "Pending" and new["status"]["qosClass"] == "Burstable"


def test_match_label_keys_become_part_of_the_selector() -> None:
    term = {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["app"]}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    new = changed(changed(OLD, "metadata.labels", {"app": "web"}), "spec.affinity", {"podAffinity": {required: [term]}})
    prepare(new, None)
    selector = new["spec"]["affinity"]["podAffinity"][required][0]["labelSelector"]
    assert selector == {"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]}


# status


def test_a_status_keeps_quality_owners_and_generations() -> None:
    old = changed(OLD, "status.conditions", [{"type": "Ready", "status": "True", "observedGeneration": 3}])
    new = changed(OLD, "status", {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]})
    new["metadata"]["ownerReferences"] = [{"name": "x"}]
    prepare_status(new, old)
    assert new["status"]["qosClass"] == "Burstable" and "ownerReferences" not in new["metadata"]
    assert new["status"]["conditions"][0]["observedGeneration"] == 3


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("status.qosClass", "Guaranteed", "status.qosClass", 'Invalid value: "Guaranteed": field is immutable'),
        (
            "status.podIPs",
            [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
            "status.podIPs",
            'Invalid value: [{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}]: may specify no more than one IP for each IP family',
        ),
        ("status.hostIPs", [{"ip": "10.0.0.1"}], "status.hostIPs[0].ip", None),
        ("status.resourceClaimStatuses", [{"name": "x"}], "status.resourceClaimStatuses[0].name", None),
    ],
)
def test_a_status_is_checked(path: str, value: Any, field: str, message: str | None) -> None:
    found = causes(POD, changed(OLD, path, value), OLD, "status")
    assert list(found) == [field]
    assert message is None or found[field] == message


def test_the_spec_is_not_judged_with_a_status() -> None:
    assert causes(POD, changed(OLD, "spec.containers.0.name", "X"), OLD, "status") == {}


def test_a_container_that_is_done_stays_so() -> None:
    done = changed(changed(OLD, "spec.restartPolicy", "Never"), "status.containerStatuses", [{"name": "web"}])
    done["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 1}}
    alive = changed(done, "status.containerStatuses.0.state", {"running": {}})
    why = "Forbidden: may not be transitioned to non-terminated state"
    assert causes(POD, alive, done, "status") == {"status.containerStatuses[0].state": why}
    done["spec"]["restartPolicy"] = "OnFailure"
    assert causes(POD, alive, done, "status") == {}


# ephemeral containers


def test_ephemeral_containers_are_only_added() -> None:
    debugger = {"name": "debugger", "image": "busybox", "targetContainerName": "web"}
    new = changed(changed(OLD, "spec.ephemeralContainers", [debugger]), "spec.nodeName", "elsewhere")
    prepare_ephemeral(new, OLD)
    assert "nodeName" not in new["spec"]
    assert causes(POD, new, OLD, "ephemeralcontainers") == {}
    assert causes(POD, OLD, new, "ephemeralcontainers") == {
        "spec.ephemeralContainers": 'Forbidden: existing ephemeral containers "debugger" may not be removed\n'
    }
    other = changed(new, "spec.ephemeralContainers.0.image", "other")
    (message,) = causes(POD, other, new, "ephemeralcontainers").values()
    assert message.startswith('Forbidden: existing ephemeral containers "debugger" may not be changed\n')


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("ports", [{"containerPort": 1}], "Forbidden: cannot be set for an Ephemeral Container"),
        ("targetContainerName", "nope", 'Not found: "nope"'),
        ("name", "web", 'Duplicate value: "web"'),
    ],
)
def test_what_an_ephemeral_container_may_not_be(part: str, value: Any, message: str) -> None:
    debugger = {"name": "debugger", "image": "busybox", part: value}
    found = causes(POD, changed(OLD, "spec.ephemeralContainers", [debugger]), OLD, "ephemeralcontainers")
    assert found == {f"spec.ephemeralContainers[0].{part}": message}


# resize


def resized(path: str, value: Any) -> dict[str, Any]:
    new = changed(OLD, f"spec.containers.0.{path}", value)
    prepare_resize(new, OLD)
    return new


def test_a_resize_changes_cpu_and_memory_and_nothing_else() -> None:
    assert causes(POD, resized("resources.requests.cpu", "150m"), OLD, "resize") == {}
    assert resized("image", "other")["spec"]["containers"][0]["image"] == "nginx"
    assert causes(POD, resized("resources.limits", {"cpu": "200m"}), OLD, "resize") == {
        "spec.containers[0].resources.limits": "Forbidden: resource limits cannot be removed"
    }
    new = resized("resources", {**AMOUNTS, "requests": AMOUNTS["limits"]})
    why = 'Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing'
    assert causes(POD, new, OLD, "resize") == {"spec": why}
    more = {"requests": {**AMOUNTS["requests"], "ephemeral-storage": "1Gi"}, "limits": AMOUNTS["limits"]}
    assert causes(POD, resized("resources", more), OLD, "resize")["spec"].startswith(
        "Forbidden: only cpu and memory resources are mutable"
    )


def test_memory_shrinks_without_a_restart_in_newer_versions() -> None:
    new = resized("resources.limits.memory", "1536Mi")
    assert causes(POD, new, OLD, "resize") == {}
    why = "Forbidden: memory limits cannot be decreased unless resizePolicy is RestartContainer"
    assert causes(declared("Pod", minor=33), new, OLD, "resize") == {"spec.containers[0].resources.limits[memory]": why}


# warnings


def test_what_an_author_is_warned_about() -> None:
    pod = copy.deepcopy(OLD)
    pod["metadata"] |= {"name": "a.b", "annotations": {"seccomp.security.alpha.kubernetes.io/pod": "x"}}
    pod["spec"] |= {
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "imagePullSecrets": [{"name": "s"}, {"name": "s"}, {}],
        "volumes": [{"name": "g", "gitRepo": {"repository": "r"}}],
        "topologySpreadConstraints": [{"topologyKey": "zone"}],
        "terminationGracePeriodSeconds": -1,
    }
    pod["spec"]["containers"][0] |= {
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
        "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 1, "protocol": "TCP"}],
        "resources": {"limits": {"memory": "100m"}},
    }
    assert POD.warn is not None
    found = list(POD.warn(pod, None))
    assert found[0].startswith("metadata.name: this is used in the Pod's hostname")
    assert found[1:] == [
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
        'spec.imagePullSecrets[1].name: duplicate name "s"',
        'spec.imagePullSecrets[2].name: invalid empty name ""',
        "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "
        '"seccompProfile" field instead',
        'spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer',
        'spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply',
        "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
    ]
    assert list(POD.warn(pod, pod)) == []
