"""Every kind that the definitions of a Kubernetes version have: served, or listed here with the reason why not; created from
a minimal example, read in every other version, listed as a Table, and explained by OpenAPI."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from sampan.api.feature_gates import FeatureGates
from sampan.api.flags import FlagError, Flags
from sampan.api.resources import served
from sampan.schema.switched_off import DROPPED
from sampan.schema.types import VERSIONS, type_system

from .conftest import everything

NOT_SERVED = {
    "APIGroup": "an answer of discovery",
    "APIVersions": "an answer of discovery",
    "Status": "an answer",
    "Scale": "the body of /scale",
    "TokenRequest": "the body of serviceaccounts/token",
    ("policy", "Eviction"): "the body of pods/eviction",
}
"""Kinds of the definitions that are no resource."""

LATER = {
    ("autoscaling", "v2beta2", "HorizontalPodAutoscaler"),
    ("networking.k8s.io", "v1alpha1", "ClusterCIDR"),
}


def signing_request(*, der: bool = False) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    form = serialization.Encoding.DER if der else serialization.Encoding.PEM
    return base64.b64encode(made.public_bytes(form)).decode()


def proven_key(pod_uid: str) -> dict[str, str]:
    key = ed25519.Ed25519PrivateKey.generate()
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    parts = {"pkixPublicKey": der, "proofOfPossession": key.sign(pod_uid.encode())}
    return {name: base64.b64encode(content).decode() for name, content in parts.items()}


def authority() -> str:
    import datetime

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime.datetime(2020, 1, 1))
    builder = builder.not_valid_after(datetime.datetime(2050, 1, 1))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


LABELS = {"app": "a"}
POD = {"containers": [{"name": "c", "image": "i"}]}
TEMPLATE = {"metadata": {"labels": LABELS}, "spec": POD}
WORKLOAD = {"selector": {"matchLabels": LABELS}, "template": TEMPLATE}
JOB = {"template": {"spec": {**POD, "restartPolicy": "Never"}}}
STORAGE = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]}
EXACTLY = {"deviceClassName": "gpu"}
MATCH = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["pods"]}]}
TARGET = {"pod": {"name": "p", "uid": "1"}}
HOOK = {
    "name": "a.b.c",
    "clientConfig": {"url": "https://x.example/y"},
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
}
MUTATION = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/x'}]"}}
GANG = {"gang": {"minCount": 2}}
POD_REQUEST = {
    "signerName": "example.com/s",
    "podName": "p",
    "podUID": "1",
    "serviceAccountName": "s",
    "serviceAccountUID": "2",
    "nodeName": "n",
    "nodeUID": "3",
}
EXAMPLES: dict[str, Any] = {
    "Binding": None,
    "ComponentStatus": None,
    "ConfigMap": {"data": {"k": "v"}},
    "Endpoints": {},
    "Event": {"involvedObject": {"kind": "Pod", "namespace": "default"}, "reason": "R", "type": "Normal"},
    "LimitRange": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    "Namespace": {},
    "Node": {},
    "PersistentVolume": {
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    },
    "PersistentVolumeClaim": {"spec": STORAGE},
    "Pod": {"spec": POD},
    "PodTemplate": {"template": TEMPLATE},
    "ReplicationController": {"spec": {"selector": LABELS, "template": TEMPLATE}},
    "ResourceQuota": {"spec": {"hard": {"pods": "100"}}},
    "Secret": {},
    "Service": {"spec": {"ports": [{"port": 80}]}},
    "ServiceAccount": {},
    "ControllerRevision": {"revision": 1, "data": {}},
    "DaemonSet": {"spec": WORKLOAD},
    "Deployment": {"spec": WORKLOAD},
    "ReplicaSet": {"spec": WORKLOAD},
    "StatefulSet": {"spec": {**WORKLOAD, "serviceName": "s"}},
    "HorizontalPodAutoscaler": {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}
    },
    "CronJob": {"spec": {"schedule": "@daily", "jobTemplate": {"spec": JOB}}},
    "Job": {"spec": JOB},
    "CertificateSigningRequest": {
        "spec": {"request": signing_request(), "signerName": "example.com/s", "usages": ["client auth"]}
    },
    "ClusterTrustBundle": {"spec": {"trustBundle": authority()}},
    "PodCertificateRequest": {"spec": {**POD_REQUEST, "stubPKCS10Request": signing_request(der=True)}},
    "Lease": {"spec": {"holderIdentity": "me"}},
    "LeaseCandidate": {
        "spec": {
            "leaseName": "l",
            "strategy": "OldestEmulationVersion",
            "binaryVersion": "1.30.0",
            "emulationVersion": "1.30.0",
        }
    },
    ("v1alpha1", "LeaseCandidate"): {
        "spec": {
            "leaseName": "l",
            "preferredStrategies": ["OldestEmulationVersion"],
            "binaryVersion": "1.30.0",
            "emulationVersion": "1.30.0",
        }
    },
    "EndpointSlice": {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]},
    ("events.k8s.io", "Event"): {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "x.example/y",
        "reportingInstance": "i",
        "action": "A",
        "reason": "R",
        "type": "Normal",
        "regarding": {"kind": "Pod", "namespace": "default"},
    },
    "FlowSchema": {
        "spec": {
            "priorityLevelConfiguration": {"name": "catch-all"},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "u"}}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        }
    },
    "PriorityLevelConfiguration": {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}
    },
    "StorageVersion": {"metadata": {"name": "apps.deployments"}, "spec": {}},
    ("lifecycle.k8s.io", "Eviction"): {"spec": {"target": TARGET}},
    "EvictionRequest": {"spec": {"target": TARGET, "requester": "r.example", "intent": "Eviction"}},
    "Ingress": {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
    "IngressClass": {"spec": {"controller": "example.com/c"}},
    "IPAddress": {
        "metadata": {"name": "10.0.0.9"},
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": "default", "name": "x"}},
    },
    "NetworkPolicy": {"spec": {"podSelector": {}}},
    "ServiceCIDR": {"spec": {"cidrs": ["10.200.0.0/24"]}},
    "RuntimeClass": {"handler": "runc"},
    "PodDisruptionBudget": {"spec": {"selector": {"matchLabels": LABELS}, "minAvailable": 1}},
    "ClusterRole": {"rules": []},
    "ClusterRoleBinding": {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
    "Role": {"rules": []},
    "RoleBinding": {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
    "DeviceClass": {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
    "DeviceTaintRule": {"spec": {"taint": {"key": "a.b/c", "effect": "NoSchedule"}}},
    "ResourceClaim": {"spec": {"devices": {"requests": [{"name": "r", "exactly": EXACTLY}]}}},
    "ResourceClaimTemplate": {"spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": EXACTLY}]}}}},
    "ResourceSlice": {
        "spec": {
            "driver": "d.example",
            "nodeName": "n",
            "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
            "devices": [
                {"name": "g", "attributes": {"model": {"string": "x"}}, "capacity": {"memory": {"value": "1Gi"}}}
            ],
        }
    },
    "ResourceClass": {"driverName": "d.example"},
    "PodScheduling": {"spec": {"selectedNode": "n"}},
    "PodSchedulingContext": {"spec": {"selectedNode": "n"}},
    "ResourceClaimParameters": {"shareable": True},
    "ResourceClassParameters": {},
    "ResourcePoolStatusRequest": {"spec": {"driver": "d.example"}},
    "PriorityClass": {"value": 7},
    "Workload": {"spec": {"podGroupTemplates": [{"name": "g", "schedulingPolicy": GANG}]}},
    ("v1alpha1", "Workload"): {"spec": {"podGroups": [{"name": "g", "policy": GANG}]}},
    "PodGroup": {"spec": {"schedulingPolicy": GANG}},
    "CompositePodGroup": {
        "spec": {
            "schedulingPolicy": {"gang": {"minGroupCount": 1}},
            "workloadRef": {"workloadName": "w", "templateName": "t"},
        }
    },
    "CSIDriver": {"spec": {}},
    "CSINode": {"spec": {"drivers": []}},
    "CSIStorageCapacity": {"storageClassName": "fast"},
    "StorageClass": {"provisioner": "p.example"},
    "VolumeAttachment": {"spec": {"attacher": "a.example", "nodeName": "n", "source": {"persistentVolumeName": "pv"}}},
    "VolumeAttributesClass": {"driverName": "d.example", "parameters": {"k": "v"}},
    "StorageVersionMigration": {"spec": {"resource": {"group": "apps", "resource": "deployments"}}},
    ("v1alpha1", "StorageVersionMigration"): {
        "spec": {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}}
    },
    "MutatingWebhookConfiguration": {"webhooks": [HOOK]},
    "ValidatingWebhookConfiguration": {"webhooks": [HOOK]},
    "ValidatingAdmissionPolicy": {"spec": {"matchConstraints": MATCH, "validations": [{"expression": "true"}]}},
    "ValidatingAdmissionPolicyBinding": {"spec": {"policyName": "p", "validationActions": ["Deny"]}},
    "MutatingAdmissionPolicy": {
        "spec": {"matchConstraints": MATCH, "mutations": [MUTATION], "reinvocationPolicy": "Never"}
    },
    "MutatingAdmissionPolicyBinding": {"spec": {"policyName": "p"}},
    "CustomResourceDefinition": {
        "metadata": {"name": "xs.example.com"},
        "spec": {
            "group": "example.com",
            "names": {"plural": "xs", "kind": "X"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    },
    "APIService": {
        "metadata": {"name": "v1.other.example"},
        "spec": {
            "group": "other.example",
            "version": "v1",
            "groupPriorityMinimum": 100,
            "versionPriority": 10,
            "service": {"name": "s", "namespace": "default"},
            "insecureSkipTLSVerify": True,
        },
    },
    "TokenReview": {"spec": {"token": "x"}},
    "SelfSubjectReview": {},
    "SelfSubjectAccessReview": {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/x"}}},
    "SubjectAccessReview": {"spec": {"user": "u", "nonResourceAttributes": {"verb": "get", "path": "/x"}}},
    "LocalSubjectAccessReview": {
        "spec": {"user": "u", "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}}
    },
    "SelfSubjectRulesReview": {"spec": {"namespace": "default"}},
}
"""Kind → what it needs beside a name; ``(version, kind)`` or ``(group, kind)`` where a version or group differs."""

OLD_POD_REQUEST = {"spec": {**POD_REQUEST, **proven_key(POD_REQUEST["podUID"])}}
FIRST_CLAIM = {"spec": {"resourceClassName": "c"}}


def example(group: str, version: str, kind: str) -> Any:
    if group == "resource.k8s.io" and version in ("v1alpha1", "v1alpha2"):
        if kind == "ResourceClaim":
            return FIRST_CLAIM
        if kind == "ResourceClaimTemplate":
            return {"spec": FIRST_CLAIM}
        if kind == "ResourceSlice":
            return {"driverName": "d.example", "nodeName": "n", "namedResources": {"instances": []}}
    found = EXAMPLES.get((version, kind)) or EXAMPLES.get((group, kind)) or EXAMPLES.get(kind, KeyError)
    assert found is not KeyError, f"no example of {group}/{version} {kind}"
    made = copy.deepcopy(found)
    if group == "resource.k8s.io" and version in ("v1beta1", "v1alpha3"):
        flatten(made, kind, version)
    return made


def flatten(made: Any, kind: str, version: str) -> None:
    """The older shape of claims and slices."""
    spec = made["spec"]
    if kind in ("ResourceClaim", "ResourceClaimTemplate"):
        claim = spec["spec"] if kind.endswith("Template") else spec
        claim["devices"]["requests"] = [{"name": "r", **EXACTLY}]
    if kind == "ResourceSlice":
        (device,) = spec["devices"]
        basic = {key: value for key, value in device.items() if key != "name"}
        if version == "v1alpha3":
            basic["capacity"] = {"memory": "1Gi"}
        spec["devices"] = [{"name": "g", "basic": basic}]


def kinds(version: str) -> list[tuple[str, str, str]]:
    types = type_system(version)
    definitions = types.definitions
    return sorted(
        (group, at, kind)
        for group, at, kind in types.kinds()
        if not kind.endswith("List")
        and len(definitions[types.definition_name(group, at, kind)]["x-kubernetes-group-version-kind"]) == 1
    )


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_kind(version: str, open_whole: Any) -> None:
    call = await open_whole(kubernetes_version=version, flags=everything(version))
    problems: list[str] = []
    documents: dict[tuple[str, str], Any] = {}
    for group, at, kind in kinds(version):
        if kind in NOT_SERVED or (group, kind) in NOT_SERVED:
            continue
        found = call.api.catalog.by_kind(group, at, kind)
        if found is None:
            if (group, at, kind) not in LATER:
                problems.append(f"{group}/{at} {kind}: not served")
            continue
        resource = found.resource
        base = f"/apis/{group}/{at}" if group else "/api/v1"
        path = f"{base}/namespaces/default/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"
        name = f"{kind.lower()}-{at}"
        body = example(group, at, kind)
        if kind == "PodCertificateRequest" and "stubPKCS10Request" not in found.type.fields["spec"].fields:
            body = copy.deepcopy(OLD_POD_REQUEST)
        if body is not None:
            body.setdefault("metadata", {}).setdefault("name", name)
            if "get" not in resource.verbs:
                del body["metadata"]["name"]
            code, made = await call("POST", path, body)
            if code != 201 or (made["kind"], made["apiVersion"]) != (kind, resource.api_version):
                problems.append(f"{group}/{at} {kind}: {code} {made.get('message')}")
                continue
            if "get" in resource.verbs:
                problems += await read_everywhere(call, resource, path, made)
        if "list" in resource.verbs:
            table = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
            code, listed = await call("GET", path, headers=table)
            if code != 200 or listed["kind"] != "Table" or (body is not None and not listed["rows"]):
                problems.append(f"{group}/{at} {kind}: no table: {code} {str(listed)[:200]}")
            elif any(len(row["cells"]) != len(listed["columnDefinitions"]) for row in listed["rows"]):
                problems.append(f"{group}/{at} {kind}: rows do not fit the columns")
        if body is not None and "get" in resource.verbs:
            code, _ = await call("DELETE", f"{path}/{made['metadata']['name']}")
            if code not in (200, 202):
                problems.append(f"{group}/{at} {kind}: not deleted: {code}")
        if (group, at) not in documents:
            documents[group, at] = (await call("GET", f"/openapi/v3{base}"))[1]
        schemas = documents[group, at]["components"]["schemas"]
        wanted = {"group": group, "version": at, "kind": kind}
        if not any(wanted in schema.get("x-kubernetes-group-version-kind", ()) for schema in schemas.values()):
            problems.append(f"{group}/{at} {kind}: not explained")
    assert not problems, "\n".join(problems)


async def read_everywhere(call: Any, resource: Any, path: str, made: Any) -> list[str]:
    """Read an object in its own version and in every other one."""
    problems = []
    name = made["metadata"]["name"]
    for other in list(call.api.catalog):
        if (other.resource.group, other.resource.kind) != (resource.group, resource.kind):
            continue
        there = path.replace(f"/{resource.version}/", f"/{other.resource.version}/")
        code, read = await call("GET", f"{there}/{name}")
        if code != 200 or read["apiVersion"] != other.resource.api_version:
            problems.append(f"{made['apiVersion']} {resource.kind} in {other.resource.version}: {code} {read}")
            continue
        if other.resource.version == resource.version and read != made:
            problems.append(f"{made['apiVersion']} {resource.kind}: {made} is read as {read}")
        checked = other.type.check(copy.deepcopy(read)) if other.type is not None else None
        if checked is not None and (checked.unknown or checked.error):
            problems.append(f"{resource.kind} in {other.resource.version}: {checked.unknown} {checked.error}")
    return problems


def test_what_is_not_served_is_in_the_definitions() -> None:
    known = {kind for version in VERSIONS for kind in kinds(version)}
    assert known >= LATER


def by_default(version: str, *config: str) -> set[str]:
    return {
        f"{one.group}/{one.version}"
        for one in served(type_system(version), config)
        if one.version != "v1" and one.group
    }


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.28", {"flowcontrol.apiserver.k8s.io/v1beta2", "flowcontrol.apiserver.k8s.io/v1beta3"}),
        ("1.31", {"flowcontrol.apiserver.k8s.io/v1beta3"}),
        ("1.32", set()),
        ("1.37", set()),
    ],
)
def test_alpha_and_new_beta_are_off_by_default(version: str, expected: set[str]) -> None:
    assert by_default(version) - {"autoscaling/v2"} == expected


def test_runtime_config_says_what_else_is_served() -> None:
    assert by_default("1.37", "api/beta=true") >= {"resource.k8s.io/v1beta2", "coordination.k8s.io/v1beta1"}
    assert "resource.k8s.io/v1alpha3" not in by_default("1.37", "api/beta=true")
    assert "resource.k8s.io/v1alpha3" in by_default("1.37", "resource.k8s.io/v1alpha3=true")
    assert "resource.k8s.io/v1beta2" not in by_default("1.37", "api/all=true", "resource.k8s.io/v1beta2=false")
    off = {one.plural for one in served(type_system("1.37"), ("apps/v1/daemonsets=false", "api/beta=false"))}
    assert "daemonsets" not in off and "deployments" in off
    with pytest.raises(FlagError, match=r"unknown api groups nope\.example"):
        list(served(type_system("1.37"), ("nope.example/v1=true",)))


async def test_a_deprecated_version_warns(open_whole: Any) -> None:
    call = await open_whole(kubernetes_version="1.29")
    code, _ = await call("GET", "/apis/flowcontrol.apiserver.k8s.io/v1beta3/flowschemas")
    assert code == 200
    assert call.warnings == [
        "flowcontrol.apiserver.k8s.io/v1beta3 FlowSchema is deprecated in v1.29+, unavailable in v1.32+; use "
        "flowcontrol.apiserver.k8s.io/v1 FlowSchema"
    ]
    await call("GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas")
    assert call.warnings == []


async def test_a_claim_written_in_one_shape_is_read_in_the_other(open_whole: Any) -> None:
    call = await open_whole(flags=everything("1.37"))
    base = "/apis/resource.k8s.io/{}/namespaces/default/resourceclaims"
    body = {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [{"name": "r", "deviceClassName": "gpu"}]}}}
    code, made = await call("POST", base.format("v1beta1"), body)
    assert code == 201, made
    (request,) = made["spec"]["devices"]["requests"]
    assert request == {"name": "r", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    _, read = await call("GET", base.format("v1") + "/c")
    wishes = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    assert read["spec"]["devices"]["requests"] == [{"name": "r", "exactly": wishes}]


async def test_shares_have_two_names(open_whole: Any) -> None:
    call = await open_whole(kubernetes_version="1.28", flags=everything("1.28"))
    path = "/apis/flowcontrol.apiserver.k8s.io/{}/prioritylevelconfigurations"
    limited = {"assuredConcurrencyShares": 7, "limitResponse": {"type": "Reject"}}
    body = {"metadata": {"name": "l"}, "spec": {"type": "Limited", "limited": limited}}
    code, made = await call("POST", path.format("v1beta2"), body)
    assert code == 201, made
    _, read = await call("GET", path.format("v1beta3") + "/l")
    assert read["spec"]["limited"]["nominalConcurrencyShares"] == 7
    assert "assuredConcurrencyShares" not in read["spec"]["limited"]


async def test_admin_access_is_for_labelled_namespaces(whole: Any) -> None:
    path = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
    request = {"name": "r", "exactly": {"deviceClassName": "gpu", "adminAccess": True}}
    body = {"metadata": {"name": "c"}, "spec": {"devices": {"requests": [request]}}}
    code, status = await whole("POST", path, body)
    assert code == 422
    assert status["message"] == (
        'ResourceClaim.resource.k8s.io "c" is invalid: spec.devices.requests[0].exactly.adminAccess: Forbidden: admin access '
        "to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace"
    )
    labels = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    await whole("PATCH", "/api/v1/namespaces/default", labels, {"content-type": "application/merge-patch+json"})
    assert (await whole("POST", path, body))[0] == 201


async def test_a_store_of_another_version_is_brought_to_this_one(open_whole: Any, tmp_path: Any) -> None:
    store = tmp_path / "store.db"
    group = "/apis/flowcontrol.apiserver.k8s.io"
    old = await open_whole(kubernetes_version="1.28", store_path=store)
    limited = {"nominalConcurrencyShares": 7, "limitResponse": {"type": "Reject"}}
    body = {"metadata": {"name": "mine"}, "spec": {"type": "Limited", "limited": limited}}
    code, made = await old("POST", f"{group}/v1beta3/prioritylevelconfigurations", body)
    assert code == 201, made
    await old.api.close()

    new = await open_whole(kubernetes_version="1.37", store_path=store)
    _, listed = await new("GET", f"{group}/v1/prioritylevelconfigurations")
    assert {one["apiVersion"] for one in listed["items"]} == {"flowcontrol.apiserver.k8s.io/v1"}
    _, found = await new("GET", f"{group}/v1/prioritylevelconfigurations/mine")
    assert (found["spec"]["limited"]["nominalConcurrencyShares"], found["metadata"]["uid"]) == (
        7,
        made["metadata"]["uid"],
    )
    await new.api.close()

    older = await open_whole(kubernetes_version="1.25", store_path=store)
    _, found = await older("GET", f"{group}/v1beta2/prioritylevelconfigurations/mine")
    assert found["apiVersion"] == "flowcontrol.apiserver.k8s.io/v1beta2"
    assert found["spec"]["limited"]["assuredConcurrencyShares"] == 7


def with_gates(*gates: str) -> set[str]:
    features = FeatureGates("1.37", gates)
    return {f"{one.plural}.{one.group}" for one in served(type_system("1.37"), ("api/all=true",), features)}


def test_some_kinds_are_behind_a_feature_gate() -> None:
    groups, composite = (
        {"podgroups.scheduling.k8s.io", "workloads.scheduling.k8s.io"},
        "compositepodgroups.scheduling.k8s.io",
    )
    evictions = {"evictionrequests.lifecycle.k8s.io", "evictions.lifecycle.k8s.io"}
    off = with_gates()
    assert not off & (groups | evictions | {composite})
    assert with_gates("GenericWorkload=true") - off == groups
    assert with_gates("CompositePodGroup=true", "EvictionRequestAPI=true") - off == evictions | {composite}


@pytest.mark.parametrize(("gates", "kept"), [((), False), (("GenericWorkload=true",), True)])
async def test_pods_belong_to_groups_where_there_are_any(open_whole: Any, gates: tuple[str, ...], kept: bool) -> None:
    call = await open_whole(flags=Flags(feature_gates=gates))
    pod = {"metadata": {"name": "p"}, "spec": {**POD, "schedulingGroup": {"podGroupName": "g"}}}
    path = "/api/v1/namespaces/default/pods"
    await call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    code, made = await call("POST", path, pod)
    assert code == 201, made
    assert ("schedulingGroup" in made["spec"]) is kept


async def test_fields_of_gates_that_are_off_are_dropped(open_whole: Any) -> None:
    """On both ways of the decoder, and without a word: they are known."""
    call = await open_whole()
    spec = {"podPreemptionPolicy": {"disableResizePreemption": ["Always"]}, "unschedulable": True}
    for name, more in (("fast", {}), ("slow", {"nothing": 1})):
        path = "/api/v1/nodes" + ("?fieldValidation=Strict" if not more else "?fieldValidation=Ignore")
        code, made = await call("POST", path, {"metadata": {"name": name}, "spec": {**spec, **more}})
        assert code == 201, made
        assert made["spec"].keys() == {"unschedulable", "taints"}
    wrong = {"metadata": {"name": "wrong"}, "spec": {"podPreemptionPolicy": {"disableResizePreemption": "Always"}}}
    code, refused = await call("POST", "/api/v1/nodes", wrong)
    assert code == 400 and "disableResizePreemption of type []" in refused["message"]


def test_what_is_dropped_is_known() -> None:
    """Else the table is wrong: each field stands in the newest definitions."""
    definitions = type_system("1.37").definitions
    for package, kinds in DROPPED.items():
        for kind, fields in kinds.items():
            known = definitions[f"{package}.{kind}"]["properties"]
            assert set(fields.split()) <= known.keys(), (package, kind)
