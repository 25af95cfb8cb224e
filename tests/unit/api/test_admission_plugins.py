"""The built-in admission plugins that are on by default, in a whole API, in Kubernetes' words."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.admission.chain import ORDER, enabled
from sampan.api.flags import Flags

NS = "/api/v1/namespaces/default"
PODS, CLAIMS = f"{NS}/pods", f"{NS}/persistentvolumeclaims"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
MERGE = {"content-type": "application/merge-patch+json"}


def pod(name: str = "p", resources: Any = None, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "resources": resources or {}}
    return {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def claim(name: str = "c", storage: str = "1Gi", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"storage": storage}}
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec}}


async def made(call: Any, path: str, body: Any) -> Any:
    code, obj = await call("POST", path, body)
    assert code == 201, obj
    return obj


async def refused(call: Any, path: str, body: Any) -> str:
    code, status = await call("POST", path, body)
    assert code == 403, status
    return status["message"]  # type: ignore[no-any-return]


def test_order_is_kubernetes() -> None:
    names = [plugin.name for plugin in ORDER]
    assert len(names) == len(set(names))
    on = [plugin.name for plugin in enabled(minor=37)]
    assert on[:2] == ["NamespaceLifecycle", "LimitRanger"] and on[-1] == "ResourceQuota"
    assert "PodTopologyLabels" in on
    assert "PodTopologyLabels" not in [plugin.name for plugin in enabled(minor=34)]


# LimitRanger


async def test_limit_ranges_fill_and_note_it(whole: Any) -> None:
    limits = [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "500m"}}]
    await made(whole, f"{NS}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}})
    found = await made(whole, PODS, pod())
    assert found["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1", "memory": "1Gi"},
        "requests": {"cpu": "500m", "memory": "1Gi"},
    }
    note = "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    assert found["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == note


@pytest.mark.parametrize(
    ("limit", "resources", "said"),
    [
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per {} is 1, but limit is 2"),
        ({"min": {"cpu": "1"}}, {"requests": {"cpu": "100m"}}, "minimum cpu usage per {} is 1, but request is 100m"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "3"}},
            "cpu max limit to request ratio per {} is 2, but provided ratio is 3.000000",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["Container", "Pod"])
async def test_limit_ranges_bound(whole: Any, kind: str, limit: Any, resources: Any, said: str) -> None:
    await made(whole, f"{NS}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [{"type": kind, **limit}]}})
    assert await refused(whole, PODS, pod(resources=resources)) == f'pods "p" is forbidden: {said.format(kind)}'


async def test_limit_ranges_bound_claims(whole: Any) -> None:
    limit = {"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}, "max": {"storage": "4Gi"}}
    await made(whole, f"{NS}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})
    assert await refused(whole, CLAIMS, claim()) == (
        'persistentvolumeclaims "c" is forbidden: minimum storage usage per PersistentVolumeClaim is 2Gi, but request is 1Gi'
    )
    assert "maximum storage usage per PersistentVolumeClaim is 4Gi" in await refused(
        whole, CLAIMS, claim(storage="5Gi")
    )
    await made(whole, CLAIMS, claim(storage="3Gi"))


async def test_several_breaches_are_told_together(whole: Any) -> None:
    limits = [{"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Gi"}}]
    await made(whole, f"{NS}/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": limits}})
    body = pod(resources={"limits": {"cpu": "2", "memory": "1Mi"}})
    assert await refused(whole, PODS, body) == (
        'pods "p" is forbidden: [minimum memory usage per Container is 1Gi, but request is 1Mi, maximum cpu usage per '
        "Container is 1, but limit is 2]"
    )


# storage


async def test_a_claim_gets_the_newest_default_class(whole: Any) -> None:
    assert "storageClassName" not in (await made(whole, CLAIMS, claim("none")))["spec"]
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    for name, marks in (("a", default), ("b", {})):
        await made(whole, CLASSES, {"metadata": {"name": name, "annotations": marks}, "provisioner": "p.x"})
    assert (await made(whole, CLAIMS, claim("one")))["spec"]["storageClassName"] == "a"
    assert (await made(whole, CLAIMS, claim("two", storageClassName="")))["spec"]["storageClassName"] == ""


async def test_volumes_and_claims_are_protected(whole: Any) -> None:
    assert (await made(whole, CLAIMS, claim()))["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    volume = await made(whole, "/api/v1/persistentvolumes", {"metadata": {"name": "v"}, "spec": spec})
    assert volume["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]


async def test_claims_grow_where_their_class_allows_it(whole: Any) -> None:
    for name, grows in (("fixed", False), ("elastic", True)):
        await made(whole, CLASSES, {"metadata": {"name": name}, "provisioner": "p.x", "allowVolumeExpansion": grows})
        await made(whole, CLAIMS, claim(name, storageClassName=name))
    more = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    code, status = await whole("PATCH", f"{CLAIMS}/elastic", more, MERGE)
    assert code == 422 and "for bound claims" in status["message"]
    for name in ("fixed", "elastic"):
        await whole("PATCH", f"{CLAIMS}/{name}", {"spec": {"volumeName": f"v-{name}"}}, MERGE)
        await whole("PATCH", f"{CLAIMS}/{name}/status", {"status": {"phase": "Bound"}}, MERGE)
    code, status = await whole("PATCH", f"{CLAIMS}/fixed", more, MERGE)
    assert (code, status["message"]) == (
        403,
        'persistentvolumeclaims "fixed" is forbidden: only dynamically provisioned pvc can be resized and the storageclass '
        "that provisions the pvc must support resize",
    )
    assert (await whole("PATCH", f"{CLAIMS}/elastic", more, MERGE))[0] == 200


async def test_an_ingress_gets_the_default_class(whole: Any) -> None:
    path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
    backend = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    await made(
        whole,
        "/apis/networking.k8s.io/v1/ingressclasses",
        {"metadata": {"name": "main", "annotations": annotations}, "spec": {"controller": "x.example/y"}},
    )
    found = await made(whole, path, {"metadata": {"name": "i"}, "spec": backend})
    assert found["spec"]["ingressClassName"] == "main"
    old = {"kubernetes.io/ingress.class": "other"}
    found = await made(whole, path, {"metadata": {"name": "j", "annotations": old}, "spec": backend})
    assert "ingressClassName" not in found["spec"]


# runtime classes, priorities


async def test_a_runtime_class_gives_overhead_and_places(whole: Any) -> None:
    scheduling = {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]}
    body = {
        "metadata": {"name": "vm"},
        "handler": "vm",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": scheduling,
    }
    await made(whole, "/apis/node.k8s.io/v1/runtimeclasses", body)
    spec = (await made(whole, PODS, pod(runtimeClassName="vm")))["spec"]
    assert spec["overhead"] == {"cpu": "250m"}
    assert spec["nodeSelector"] == {"vm": "yes"}
    assert {"key": "vm", "operator": "Exists"} in spec["tolerations"]
    assert await refused(whole, PODS, pod("q", runtimeClassName="no")) == (
        'pods "q" is forbidden: pod rejected: RuntimeClass "no" not found'
    )
    assert await refused(whole, PODS, pod("q", overhead={"cpu": "1"})) == (
        'pods "q" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead'
    )
    assert await refused(whole, PODS, pod("q", runtimeClassName="vm", overhead={"cpu": "1"})) == (
        "pods \"q\" is forbidden: pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
    )
    assert await refused(whole, PODS, pod("q", runtimeClassName="vm", nodeSelector={"vm": "no"})) == (
        'pods "q" is forbidden: conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no'
    )


async def test_priorities(whole: Any) -> None:
    path = "/apis/scheduling.k8s.io/v1/priorityclasses"
    assert (await made(whole, PODS, pod("none")))["spec"]["priority"] == 0
    await made(
        whole, path, {"metadata": {"name": "low"}, "value": 5, "globalDefault": True, "preemptionPolicy": "Never"}
    )
    spec = (await made(whole, PODS, pod("low")))["spec"]
    assert (spec["priority"], spec["preemptionPolicy"], spec["priorityClassName"]) == (5, "Never", "low")
    assert await refused(whole, path, {"metadata": {"name": "two"}, "value": 6, "globalDefault": True}) == (
        'priorityclasses.scheduling.k8s.io "two" is forbidden: PriorityClass low is already marked as default. Only one '
        "default can exist"
    )
    assert "no PriorityClass with name gone was found" in await refused(whole, PODS, pod(priorityClassName="gone"))
    assert "the integer value of priority (7) must not be provided in pod spec" in await refused(
        whole, PODS, pod(priority=7, priorityClassName="low")
    )
    assert (
        "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission "
        "controller computed Never from the given PriorityClass name"
    ) in await refused(whole, PODS, pod(preemptionPolicy="PreemptLowerPriority", priorityClassName="low"))
    code, status = await whole("DELETE", f"{path}/system-node-critical")
    assert (code, status["message"]) == (
        403,
        'priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: this is a system priority class and cannot '
        "be deleted",
    )
    code, _ = await whole("PATCH", f"{path}/system-node-critical", {"description": "x"}, MERGE)
    assert code == 200, "the system's own classes may be written again"


# nodes


async def test_a_new_node_takes_no_pods_and_its_pods_know_its_zone(whole: Any) -> None:
    labels = {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "o"}
    node = await made(whole, "/api/v1/nodes", {"metadata": {"name": "n", "labels": labels}})
    assert node["spec"]["taints"] == [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    await made(whole, PODS, pod())
    target = {"apiVersion": "v1", "kind": "Node", "name": "n"}
    await made(whole, f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": target})
    _, bound = await whole("GET", f"{PODS}/p")
    assert bound["spec"]["nodeName"] == "n"
    assert bound["metadata"]["labels"] == {"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"}


# service accounts


async def test_only_listed_secrets_may_be_mounted_where_that_is_enforced(whole: Any) -> None:
    annotations = {"kubernetes.io/enforce-mountable-secrets": "true"}
    account = {"metadata": {"name": "a", "annotations": annotations}, "secrets": [{"name": "mine"}]}
    account["imagePullSecrets"] = [{"name": "pull"}]
    await made(whole, f"{NS}/serviceaccounts", account)
    assert (await made(whole, PODS, pod("fine", serviceAccountName="a")))["spec"]["imagePullSecrets"] == [
        {"name": "pull"}
    ]
    volume = {"name": "v", "secret": {"secretName": "other"}}
    assert await refused(whole, PODS, pod(serviceAccountName="a", volumes=[volume])) == (
        'pods "p" is forbidden: volume with secret.secretName="other" is not allowed because service account a does not '
        "reference that secret"
    )
    body = pod(serviceAccountName="a")
    body["spec"]["containers"][0]["env"] = [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}]
    assert 'container c with envVar E referencing secret.secretName="other" is not allowed' in await refused(
        whole, PODS, body
    )
    body = pod(serviceAccountName="a", imagePullSecrets=[{"name": "else"}])
    assert 'imagePullSecret.name="else" is not allowed' in await refused(whole, PODS, body)


async def test_mirror_pods_refer_to_nothing(whole: Any) -> None:
    body = pod(serviceAccountName="default", nodeName="n")
    body["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert "a mirror pod may not reference service accounts" in await refused(whole, PODS, body)
    body["spec"]["priorityClassName"] = "nope"  # it is not even asked what its priority is
    assert "a mirror pod may not reference service accounts" in await refused(whole, PODS, body)


@pytest.mark.parametrize(("name", "why"), [("../x", "may not contain '/'"), (".", "may not be '.'")])
async def test_an_account_that_nobody_can_be(whole: Any, name: str, why: str) -> None:
    assert await refused(whole, PODS, pod(serviceAccountName=name)) == (
        f'pods "p" is forbidden: error looking up service account default/{name}: invalid resource name "{name}": [{why}]'
    )


# certificates


def request(*organizations: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, one) for one in organizations]
    name = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


def signing(name: str, signer: str, *organizations: str) -> dict[str, Any]:
    spec = {"request": request(*organizations), "signerName": signer, "usages": ["client auth"]}
    return {"metadata": {"name": name}, "spec": spec}


async def rights(call: Any, user: str, *verbs: str) -> Any:
    """Return a caller who may do anything with requests, and these verbs for example.com's signers."""
    rules = [
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests", "certificatesigningrequests/approval",
                          "certificatesigningrequests/status", "clustertrustbundles"],
            "verbs": ["*"],
        }
    ]  # fmt: skip
    if verbs:
        signers = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": list(verbs)}
        rules.append({**signers, "resourceNames": ["example.com/*"]})
    base = "/apis/rbac.authorization.k8s.io/v1"
    await made(call, f"{base}/clusterroles", {"metadata": {"name": user}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subjects = [{"kind": "User", "name": user}]
    await made(call, f"{base}/clusterrolebindings", {"metadata": {"name": user}, "roleRef": role, "subjects": subjects})
    return call.as_user(user)


async def test_who_may_act_for_a_signer(whole: Any) -> None:
    await made(whole, CSRS, signing("r", "example.com/s"))
    nobody, approver = await rights(whole, "nobody"), await rights(whole, "approver", "approve", "attest")
    approved = {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "R", "message": "m"}]}}
    code, status = await nobody("PATCH", f"{CSRS}/r/approval", approved, MERGE)
    assert (code, status["message"]) == (
        403,
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with '
        'signerName "example.com/s"',
    )
    assert (await approver("PATCH", f"{CSRS}/r/approval", approved, MERGE))[0] == 200
    code, status = await approver("PATCH", f"{CSRS}/r/status", {"status": {"certificate": "eA=="}}, MERGE)
    assert code == 422, "what is no certificate is refused before anybody is asked"
    code, status = await nobody("PATCH", f"{CSRS}/r/approval", {"status": {"conditions": []}}, MERGE)
    assert code in (403, 422)


async def test_nobody_asks_to_be_a_master(whole: Any) -> None:
    assert await refused(whole, CSRS, signing("r", "kubernetes.io/kube-apiserver-client", "system:masters")) == (
        'certificatesigningrequests.certificates.k8s.io "r" is forbidden: use of kubernetes.io/kube-apiserver-client signer '
        "with system:masters group is not allowed"
    )
    await made(whole, CSRS, signing("r", "kubernetes.io/kube-apiserver-client", "dev"))


async def test_how_long_pods_stay_is_said_by_flags(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(default_not_ready_toleration_seconds=7))
    tolerations = (await made(call, PODS, pod()))["spec"]["tolerations"]
    assert {one["key"].rpartition("/")[2]: one["tolerationSeconds"] for one in tolerations} == {
        "not-ready": 7,
        "unreachable": 300,
    }
