"""What a user of kubectl reads of the built-in resources: refusals, warnings, columns, and the subresources it uses."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Kubectl


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    made = {"containers": [{"name": "web", "image": "shop:1"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": made}


def test_a_refused_pod_is_told_all_its_causes(kubectl: Kubectl, namespace: str) -> None:
    container = {
        "name": "Web",
        "image": "",
        "ports": [{"containerPort": 99999}],
        "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
    }
    bad = pod("bad", containers=[container], restartPolicy="Sometimes")
    done = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=bad)
    assert done.code == 1
    lines = done.err.splitlines()
    assert lines[0] == 'The Pod "bad" is invalid: '
    assert "* spec.containers[0].image: Required value" in lines
    assert (
        "* spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive"
        in (lines)
    )
    why = '* spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'
    assert why in lines
    supported = 'supported values: "Always", "OnFailure", "Never"'
    assert f'* spec.restartPolicy: Unsupported value: "Sometimes": {supported}' in lines


def test_a_pod_changes_only_what_a_pod_may(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod())
    kubectl("-n", namespace, "set", "image", "pod/web", "web=shop:2")
    done = kubectl.run("-n", namespace, "patch", "pod", "web", "-p", '{"spec":{"hostNetwork":true}}')
    assert done.code == 1
    assert "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`" in done.err
    assert "hostnetwork" in done.err.lower()


def test_a_pod_is_resized(kubectl: Kubectl, namespace: str) -> None:
    container = {"name": "web", "image": "shop:1", "resources": {"requests": {"cpu": "100m"}}}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod(containers=[container]))
    kubectl("-n", namespace, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    more = '{"spec":{"containers":[{"name":"web","resources":{"requests":{"cpu":"200m"}}}]}}'
    kubectl("-n", namespace, "patch", "pod", "web", "--subresource=resize", "-p", more)
    given = "--for=jsonpath={.status.containerStatuses[0].allocatedResources.cpu}=200m"
    kubectl("-n", namespace, "wait", "pod/web", given, "--timeout=60s")
    less = more.replace('"200m"', "null")
    done = kubectl.run("-n", namespace, "patch", "pod", "web", "--subresource=resize", "-p", less)
    assert "Pod QOS Class may not change as a result of resizing" in done.err


def test_a_pod_is_debugged_by_an_ephemeral_container(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod())
    kubectl("-n", namespace, "debug", "web", "--image=tools:1", "--container=look", "--target=web")
    made = kubectl.json("-n", namespace, "get", "pod", "web")["spec"]["ephemeralContainers"]
    assert [(one["name"], one["targetContainerName"]) for one in made] == [("look", "web")]


@pytest.mark.parametrize(
    ("made", "warning"),
    [
        (
            pod(nodeSelector={"beta.kubernetes.io/os": "linux"}),
            'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        ),
        (
            pod(containers=[{"name": "a", "image": "a", "env": [{"name": "X", "value": "1"}, {"name": "X"}]}]),
            'spec.containers[0].env[1]: hides previous definition of "X", which may be dropped when using apply',
        ),
        (
            pod(containers=[{"name": "a", "image": "a", "resources": {"requests": {"memory": "100m"}}}]),
            'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
        ),
        (
            {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "old"}},
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ),
    ],
)
def test_kubectl_shows_a_warning(kubectl: Kubectl, namespace: str, made: dict[str, Any], warning: str) -> None:
    done = kubectl.run("-n", namespace, "create", "--dry-run=server", "-f", "-", stdin=made)
    assert done.code == 0
    assert f"Warning: {warning}" in done.err.splitlines()


def test_a_deployment_is_rolled_back_and_restarted(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "deployment", "web", "--image=shop:1", "--replicas=2")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("-n", namespace, "set", "image", "deployment/web", "shop=shop:2")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    assert len(kubectl("-n", namespace, "rollout", "history", "deployment/web").split("\n")) >= 4
    kubectl("-n", namespace, "rollout", "undo", "deployment/web")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert kubectl("-n", namespace, "get", "deployment", "web", "-o", image) == "shop:1"
    kubectl("-n", namespace, "rollout", "pause", "deployment/web")
    kubectl("-n", namespace, "rollout", "resume", "deployment/web")
    kubectl("-n", namespace, "rollout", "restart", "deployment/web")
    done = kubectl.run(
        "-n", namespace, "patch", "deployment", "web", "-p", '{"spec":{"selector":{"matchLabels":{"a":"b"}}}}'
    )
    assert "field is immutable" in done.err


def test_a_quota_that_refuses_pods_keeps_nothing_busy(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "quota", "q", "--hard=cpu=2")
    kubectl("-n", namespace, "create", "deployment", "web", "--image=shop:1")
    kubectl("-n", namespace, "wait", "deployment/web", "--for=condition=ReplicaFailure", "--timeout=60s")
    for replicas in range(2, 5):  # each would lose to a controller that writes the status without end
        patch = f'{{"spec":{{"replicas":{replicas}}}}}'
        kubectl("-n", namespace, "patch", "deployment", "web", "-p", patch)


def test_columns_are_those_of_kubernetes(kubectl: Kubectl, namespace: str) -> None:
    in_namespace = ("-n", namespace)
    kubectl(*in_namespace, "create", "deployment", "web", "--image=shop:1")
    kubectl(*in_namespace, "expose", "deployment/web", "--port=80")
    kubectl(*in_namespace, "autoscale", "deployment/web", "--min=1", "--max=5", "--cpu=50%")
    kubectl(*in_namespace, "create", "pdb", "web", "--selector=app=web", "--min-available=1")
    kubectl(*in_namespace, "create", "quota", "web", "--hard=pods=10")
    kubectl(*in_namespace, "create", "ingress", "web", "--rule=a.example/*=web:80", "--class=own")
    kubectl(*in_namespace, "create", "cronjob", "web", "--image=shop:1", "--schedule=@yearly")
    rows = {
        kind: kubectl(*in_namespace, "get", kind, "--no-headers").split()[:-1]
        for kind in ("hpa", "pdb", "quota", "ingress", "cronjob", "service")
    }
    assert rows["hpa"][:6] == ["web", "Deployment/web", "cpu:", "<unknown>/50%", "1", "5"]
    assert rows["pdb"][:3] == ["web", "1", "N/A"]
    assert rows["quota"] == ["web", "pods:", rows["quota"][2]] and rows["quota"][2].endswith("/10")
    assert rows["ingress"] == ["web", "own", "a.example", "80"]
    assert rows["cronjob"] == ["web", "@yearly", "<none>", "False", "0", "<none>"]
    assert rows["service"][1] == "ClusterIP" and rows["service"][3:] == ["<none>", "80/TCP"]


def test_wide_columns_are_those_of_kubernetes(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "deployment", "web", "--image=shop:1")
    kubectl("-n", namespace, "create", "job", "once", "--image=shop:1")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    wide = {
        kind: kubectl("-n", namespace, "get", kind, "-o", "wide").splitlines()[0].split()
        for kind in ("deployments", "replicasets", "jobs", "pods", "nodes")
    }
    assert wide["deployments"][-3:] == ["CONTAINERS", "IMAGES", "SELECTOR"]
    assert wide["replicasets"][1:5] == ["DESIRED", "CURRENT", "READY", "AGE"]
    assert wide["jobs"][:5] == ["NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"]
    assert wide["pods"][5:] == ["IP", "NODE", "NOMINATED", "NODE", "READINESS", "GATES"]
    assert wide["nodes"][5:8] == ["INTERNAL-IP", "EXTERNAL-IP", "OS-IMAGE"]


def test_a_field_that_cannot_be_selected_is_refused(kubectl: Kubectl, namespace: str) -> None:
    done = kubectl.run("-n", namespace, "get", "pods", "--field-selector=spec.image=a")
    assert "field label not supported: spec.image" in done.err
    kubectl("-n", namespace, "get", "pods", "--field-selector=spec.nodeName=a,status.phase!=Running")


def test_a_token_is_of_at_least_ten_minutes(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    assert kubectl("-n", namespace, "create", "token", "default", "--duration=10m").count(".") == 2
    done = kubectl.run("-n", namespace, "create", "token", "default", "--duration=1m")
    assert "may not specify a duration less than 10 minutes" in done.err


def test_an_immutable_map_stays(kubectl: Kubectl, namespace: str) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "immutable": True, "data": {"a": "1"}}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=made)
    done = kubectl.run("-n", namespace, "apply", "-f", "-", stdin={**made, "data": {"a": "2"}})
    assert "data: Forbidden: field is immutable when `immutable` is set" in done.err
