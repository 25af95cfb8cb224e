"""What the conformance suite does to every kind: create, list by label, patch, status, replace, delete the collection.

Source: kubernetes test/e2e (test/conformance/testdata/conformance.yaml), the tests named "lifecycle" and "API operations".
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.server import ApiConfig, open_api

from .conftest import Asgi, HeaderAuthenticator

LABELS = {"app": "web"}
MERGE = {"content-type": "application/merge-patch+json"}
STRATEGIC = {"content-type": "application/strategic-merge-patch+json"}
POD = {"containers": [{"name": "web", "image": "nginx"}], "automountServiceAccountToken": False}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
SELECTOR = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
JOB = {"template": {"metadata": {"labels": LABELS}, "spec": {**POD, "restartPolicy": "Never"}}}
CONDITIONS = {
    "conditions": [{"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from e2e test"}]
}
DATED = {"lastTransitionTime": "2026-01-01T00:00:00Z"}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/data"}}
REFERENCE = {"kind": "Pod", "name": "web", "namespace": "default"}
INGRESS_STATUS = {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}}
PODS_CREATED: dict[str, Any] = {
    "resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["podtemplates"]}
    ]
}
WEBHOOK: dict[str, Any] = {
    "name": "hook.example.com",
    "clientConfig": {"url": "https://127.0.0.1:1/"},
    "sideEffects": "None",
    "failurePolicy": "Ignore",
    "admissionReviewVersions": ["v1"],
}
RULES = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
ROLE = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "/api/v1 Pod pods": ({"spec": POD}, {"conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}),
    "/api/v1 ConfigMap configmaps": ({"data": {"a": "1"}}, None),
    "/api/v1 Secret secrets": ({"data": {"a": "MQ=="}}, None),
    "/api/v1 ServiceAccount serviceaccounts": ({}, None),
    "/api/v1 PodTemplate podtemplates": ({"template": TEMPLATE}, None),
    "/api/v1 LimitRange limitranges": ({"spec": {"limits": [{"type": "Container", "max": {"cpu": "8"}}]}}, None),
    "/api/v1 ResourceQuota resourcequotas": ({"spec": {"hard": {"pods": "99"}}}, {"hard": {"pods": "98"}}),
    "/api/v1 ReplicationController replicationcontrollers": (
        {"spec": {"selector": LABELS, "template": TEMPLATE}},
        {"replicas": 1, "readyReplicas": 1},
    ),
    "/api/v1 Service services": ({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}, INGRESS_STATUS),
    "/api/v1 Endpoints endpoints": (
        {"subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80}]}]},
        None,
    ),
    "/api/v1 Event events": (
        {"involvedObject": REFERENCE, "message": "a test", "reason": "Test", "type": "Normal"},
        None,
    ),
    "/api/v1 PersistentVolumeClaim persistentvolumeclaims": (
        {"spec": CLAIM},
        {"phase": "Pending", "conditions": [{"type": "StatusUpdate", "status": "True"}]},
    ),
    "/apis/apps/v1 Deployment deployments": ({"spec": SELECTOR}, {**CONDITIONS, "replicas": 1}),
    "/apis/apps/v1 ReplicaSet replicasets": ({"spec": SELECTOR}, {**CONDITIONS, "replicas": 1}),
    "/apis/apps/v1 StatefulSet statefulsets": (
        {"spec": {**SELECTOR, "serviceName": "web"}},
        {**CONDITIONS, "replicas": 1},
    ),
    "/apis/apps/v1 DaemonSet daemonsets": (
        {"spec": SELECTOR},
        {
            **CONDITIONS,
            "currentNumberScheduled": 0,
            "desiredNumberScheduled": 1,
            "numberMisscheduled": 0,
            "numberReady": 0,
        },
    ),
    "/apis/apps/v1 ControllerRevision controllerrevisions": ({"data": {"a": "b"}, "revision": 1}, None),
    "/apis/batch/v1 Job jobs": (
        {"spec": JOB},
        {"startTime": "2026-01-01T00:00:00Z", "active": 1, "uncountedTerminatedPods": {}},
    ),
    "/apis/batch/v1 CronJob cronjobs": (
        {"spec": {"schedule": "*/1 * * * *", "jobTemplate": {"spec": JOB}}},
        {"lastScheduleTime": "2026-01-01T00:00:00Z"},
    ),
    "/apis/autoscaling/v2 HorizontalPodAutoscaler horizontalpodautoscalers": (
        {"spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}},
        {"currentReplicas": 1, "desiredReplicas": 2},
    ),
    "/apis/policy/v1 PodDisruptionBudget poddisruptionbudgets": (
        {"spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}}},
        {"disruptionsAllowed": 1, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1},
    ),
    "/apis/networking.k8s.io/v1 Ingress ingresses": ({"spec": {"defaultBackend": BACKEND}}, INGRESS_STATUS),
    "/apis/networking.k8s.io/v1 NetworkPolicy networkpolicies": (
        {"spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]}},
        None,
    ),
    "/apis/networking.k8s.io/v1 IngressClass ingressclasses": (
        {"spec": {"controller": "example.com/controller"}},
        None,
    ),
    "/apis/networking.k8s.io/v1 IPAddress ipaddresses": (
        {"name": "192.168.1.2", "spec": {"parentRef": {"resource": "services", "name": "web", "namespace": "default"}}},
        None,
    ),
    "/apis/networking.k8s.io/v1 ServiceCIDR servicecidrs": (
        {"spec": {"cidrs": ["10.99.0.0/24"]}},
        {"conditions": [{"type": "Ready", "status": "True", **DATED}]},
    ),
    "/apis/discovery.k8s.io/v1 EndpointSlice endpointslices": (
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"name": "http", "port": 80}]},
        None,
    ),
    "/apis/events.k8s.io/v1 Event events": (
        {
            "eventTime": "2026-01-01T00:00:00.000001Z",
            "reportingController": "test-controller",
            "reportingInstance": "test-node",
            "action": "Do",
            "reason": "Test",
            "regarding": REFERENCE,
            "note": "This is a test event",
            "type": "Normal",
        },
        None,
    ),
    "/api/v1 PersistentVolume persistentvolumes": (
        {"spec": VOLUME},
        {"phase": "Available", "message": "a", "reason": "b"},
    ),
    "/api/v1 Node nodes": (
        {"spec": {}},
        {"conditions": [{"type": "Ready", "status": "True", **DATED}]},
    ),
    "/apis/flowcontrol.apiserver.k8s.io/v1 FlowSchema flowschemas": (
        {
            "spec": {
                "matchingPrecedence": 10000,
                "priorityLevelConfiguration": {"name": "global-default"},
                "rules": [
                    {
                        "subjects": [{"kind": "User", "user": {"name": "example-e2e-non-existent-user"}}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                    }
                ],
            }
        },
        {"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "Rpatch", "message": "m", **DATED}]},
    ),
    "/apis/flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration prioritylevelconfigurations": (
        {
            "spec": {
                "type": "Limited",
                "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}},
            }
        },
        {"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "Rpatch", "message": "m", **DATED}]},
    ),
    "/apis/admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy validatingadmissionpolicies": (
        {"spec": {"matchConstraints": PODS_CREATED, "validations": [{"expression": "true"}]}},
        {"conditions": [{"type": "PatchStatusFailed", "status": "False", "reason": "Rpatch", "message": "m", **DATED}]},
    ),
    "/apis/admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings": (
        {"spec": {"policyName": "none", "validationActions": ["Deny"]}},
        None,
    ),
    "/apis/admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration validatingwebhookconfigurations": (
        {"webhooks": [{**WEBHOOK, "rules": PODS_CREATED["resourceRules"]}]},
        None,
    ),
    "/apis/admissionregistration.k8s.io/v1 MutatingWebhookConfiguration mutatingwebhookconfigurations": (
        {"webhooks": [{**WEBHOOK, "rules": PODS_CREATED["resourceRules"]}]},
        None,
    ),
    "/apis/apiregistration.k8s.io/v1 APIService apiservices": (
        {
            "name": "v1.e2e.example.com",
            "spec": {
                "group": "e2e.example.com",
                "version": "v1",
                "groupPriorityMinimum": 2000,
                "versionPriority": 200,
                "service": {"name": "sample-api", "namespace": "default", "port": 7443},
                "insecureSkipTLSVerify": True,
            },
        },
        {"conditions": [{"type": "StatusUpdated", "status": "True", "reason": "E2E", "message": "Set", **DATED}]},
    ),
    "/apis/apiextensions.k8s.io/v1 CustomResourceDefinition customresourcedefinitions": (
        {
            "name": "foos.e2e.example.com",
            "spec": {
                "group": "e2e.example.com",
                "scope": "Namespaced",
                "names": {"plural": "foos", "kind": "Foo"},
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                ],
            },
        },
        {"conditions": [{"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set", **DATED}]},
    ),
    "/apis/rbac.authorization.k8s.io/v1 Role roles": ({"rules": RULES}, None),
    "/apis/rbac.authorization.k8s.io/v1 ClusterRole clusterroles": ({"rules": RULES}, None),
    "/apis/rbac.authorization.k8s.io/v1 RoleBinding rolebindings": ({"roleRef": ROLE, "subjects": []}, None),
    "/apis/rbac.authorization.k8s.io/v1 ClusterRoleBinding clusterrolebindings": ({"roleRef": ROLE}, None),
    "/apis/node.k8s.io/v1 RuntimeClass runtimeclasses": ({"handler": "test-handler"}, None),
    "/apis/coordination.k8s.io/v1 Lease leases": (
        {"spec": {"holderIdentity": "holder", "leaseDurationSeconds": 30, "leaseTransitions": 0}},
        None,
    ),
    "/apis/scheduling.k8s.io/v1 PriorityClass priorityclasses": ({"value": 1000}, None),
    "/apis/storage.k8s.io/v1 StorageClass storageclasses": ({"provisioner": "e2e.example.com"}, None),
    "/apis/storage.k8s.io/v1 CSIDriver csidrivers": ({"spec": {"attachRequired": False}}, None),
    "/apis/storage.k8s.io/v1 CSINode csinodes": ({"spec": {"drivers": []}}, None),
    "/apis/storage.k8s.io/v1 CSIStorageCapacity csistoragecapacities": ({"storageClassName": "fast"}, None),
    "/apis/storage.k8s.io/v1 VolumeAttachment volumeattachments": (
        {"spec": {"attacher": "e2e.example.com", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}},
        {"attached": True},
    ),
    "/apis/resource.k8s.io/v1 ResourceClaim resourceclaims": (
        {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}},
        {},
    ),
    "/apis/resource.k8s.io/v1 ResourceClaimTemplate resourceclaimtemplates": (
        {"spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}},
        None,
    ),
    "/apis/resource.k8s.io/v1 DeviceClass deviceclasses": ({"spec": {}}, None),
    "/apis/resource.k8s.io/v1 ResourceSlice resourceslices": (
        {
            "spec": {
                "driver": "e2e.example.com",
                "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
                "nodeName": "n",
                "devices": [],
            }
        },
        None,
    ),
    "/api/v1 Namespace namespaces": ({}, {"phase": "Active", "conditions": [{"type": "E2E", "status": "True"}]}),
}
CLUSTER_WIDE = {
    *("persistentvolumes", "nodes", "namespaces", "ingressclasses", "ipaddresses", "servicecidrs", "runtimeclasses"),
    *("flowschemas", "prioritylevelconfigurations", "validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    *("validatingwebhookconfigurations", "mutatingwebhookconfigurations", "apiservices", "customresourcedefinitions"),
    *("clusterroles", "clusterrolebindings", "priorityclasses", "storageclasses", "csidrivers", "csinodes"),
    *("volumeattachments", "deviceclasses", "resourceslices"),
}


Runs = tuple[asyncio.Runner, Asgi]


@pytest.fixture(scope="module", params=["1.25", "1.31", "1.37"])
def shared(throwaway_pki: Path, request: pytest.FixtureRequest) -> Iterator[Runs]:
    with asyncio.Runner() as runner:
        api = runner.run(open_api(ApiConfig(pki_dir=throwaway_pki, kubernetes_version=request.param)))
        api.authenticator = HeaderAuthenticator()
        yield runner, Asgi(api)
        runner.run(api.close())


def answered(response: Any) -> dict[str, Any]:
    assert response.status in (200, 201, 202), response.body
    found = json.loads(response.body)
    assert isinstance(found, dict)
    return found


def contains(have: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(have, dict) and all(contains(have.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(have, list) and all(any(contains(one, value) for one in have) for value in wanted)
    return bool(have == wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_life(shared: Runs, kind: str) -> None:
    runner, http = shared
    version, _, plural = kind.partition(" ")
    served = json.loads(runner.run(http("GET", version)).body).get("resources", [])
    if plural.partition(" ")[2] not in [resource["name"] for resource in served]:
        pytest.skip("not in this version")
    runner.run(life(http, kind))


async def life(http: Asgi, kind: str) -> None:
    base, name, plural = kind.split()
    spec, status = copy.deepcopy(KINDS[kind])
    called = spec.pop("name", "test")
    everywhere = f"{base}/{plural}"
    collection = everywhere if plural in CLUSTER_WIDE else f"{base}/namespaces/default/{plural}"
    path = f"{collection}/{called}"
    version = base.removeprefix("/apis/").removeprefix("/api/")
    body = {"apiVersion": version, "kind": name, "metadata": {"name": called, "labels": {"e2e": "yes"}}, **spec}

    made = answered(await http("POST", collection, body))
    assert made["metadata"]["uid"] and made["metadata"]["creationTimestamp"]
    assert (await http("POST", collection, body)).status == 409
    assert answered(await http("GET", path)) == made
    found = answered(await http("GET", f"{everywhere}?labelSelector=e2e=yes"))
    assert [item["metadata"]["name"] for item in found["items"]] == [called]
    assert found["kind"] == f"{name}List"

    patched = answered(await http("PATCH", path, {"metadata": {"annotations": {"patched": "true"}}}, headers=MERGE))
    assert patched["metadata"]["annotations"]["patched"] == "true"
    labelled = answered(await http("PATCH", path, {"metadata": {"labels": {"e2e": "new"}}}, headers=STRATEGIC))
    assert labelled["metadata"]["labels"]["e2e"] == "new"
    stale = await http("PUT", path, {**made, "metadata": {**made["metadata"], "labels": {"e2e": "old"}}})
    assert stale.status == 409
    replaced = answered(await http("PUT", path, {**labelled, "metadata": {**labelled["metadata"], "annotations": {}}}))
    assert "patched" not in (replaced["metadata"].get("annotations") or {})
    generation = replaced["metadata"].get("generation")

    if status is not None:
        inner = f"{path}/status"
        assert answered(await http("GET", inner))["metadata"]["uid"] == made["metadata"]["uid"]
        patch = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": status}
        seen = answered(await http("PATCH", inner, patch, headers=MERGE))
        assert contains(seen["status"], status)
        assert seen["metadata"]["annotations"]["patchedstatus"] == "true"
        assert seen.get("spec") == replaced.get("spec")
        assert seen["metadata"].get("generation") == generation
        updated = answered(await http("PUT", inner, seen))
        assert updated["status"] == seen["status"]
    else:
        assert (await http("GET", f"{path}/status")).status == 404

    if plural == "namespaces":
        assert (await http("DELETE", everywhere)).status == 405
        return
    answered(await http("DELETE", f"{collection}?labelSelector=e2e=new"))
    left = answered(await http("GET", f"{everywhere}?labelSelector=e2e=new"))
    assert [item for item in left["items"] if "deletionTimestamp" not in item["metadata"]] == []
