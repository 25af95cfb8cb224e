"""What kubectl shows of quotas and of Pod Security: refusals, warnings, ``describe``."""

from __future__ import annotations

from typing import Any

from .conftest import Kubectl


def pod(name: str, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    containers = [{"name": "web", "image": "shop:1", "resources": resources}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def test_a_quota_bounds_what_kubectl_creates(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "quota", "small", "--hard=pods=1,requests.cpu=1,count/configmaps=50")
    kubectl("-n", namespace, "wait", "quota/small", "--for=jsonpath={.status.used.pods}=0", "--timeout=60s")
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod("one"))
    refused = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=pod("two"))
    assert refused.code == 1
    assert (
        'pods "two" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
        in refused.err
    )
    described = kubectl("-n", namespace, "describe", "quota", "small")
    rows = {line.split()[0]: line.split()[1:] for line in described.splitlines() if len(line.split()) == 3}
    assert rows["pods"] == ["1", "1"]
    assert rows["requests.cpu"] == ["100m", "1"]
    assert "requests.cpu: 100m/1" in kubectl("-n", namespace, "get", "quota", "small")
    kubectl("-n", namespace, "delete", "pod", "one", "--grace-period=0", "--force")
    kubectl("-n", namespace, "wait", "quota/small", "--for=jsonpath={.status.used.pods}=0", "--timeout=60s")


def test_pod_security_refuses_and_warns(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod("early", hostNetwork=True))
    labels = ["pod-security.kubernetes.io/enforce=baseline", "pod-security.kubernetes.io/warn=restricted"]
    labelled = kubectl.run("label", "namespace", namespace, *labels)
    assert labelled.code == 0
    assert (
        f'Warning: existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "baseline:latest"'
        in labelled.err
    )
    assert "Warning: early: host namespaces" in labelled.err
    refused = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=pod("late", hostPID=True))
    assert refused.code == 1
    assert (
        'pods "late" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true)'
        in refused.err
    )
    warned = kubectl.run("-n", namespace, "create", "deployment", "web", "--image=shop:1")
    assert warned.code == 0
    assert 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in warned.err
    dry = kubectl.run("label", "--dry-run=server", "--overwrite", "namespace", namespace, f"{labels[0][:-8]}restricted")
    assert dry.code == 0 and "violate the new PodSecurity enforce level" in dry.err


def test_limits_are_filled_in_and_bound(kubectl: Kubectl, namespace: str) -> None:
    limits = [{"type": "Container", "default": {"memory": "64Mi"}, "max": {"memory": "128Mi"}}]
    limit_range = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": limits}}
    kubectl("-n", namespace, "apply", "-f", "-", stdin=limit_range)
    kubectl("-n", namespace, "run", "filled", "--image=shop:1")
    (container,) = kubectl.json("-n", namespace, "get", "pod", "filled")["spec"]["containers"]
    assert container["resources"]["limits"] == {"memory": "64Mi"}
    body = pod("greedy")
    body["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Gi"}}
    refused = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=body)
    assert "maximum memory usage per Container is 128Mi, but limit is 1Gi" in refused.err
