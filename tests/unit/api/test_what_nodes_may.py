"""The Node authorizer and NodeRestriction: a node reads what its pods use, and writes only about itself."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sampan.api.admission.node_restriction import settable
from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.errors import ApiError
from sampan.client.resources import CONFIG_MAPS, NODES, PODS, SECRETS, SERVICE_ACCOUNTS
from sampan.schema.pod_references import references

ADMIN = User("admin", ("system:masters", "system:authenticated"))
NODE = User("system:node:one", ("system:nodes", "system:authenticated"))
SPEC: dict[str, Any] = {
    "serviceAccountName": "default",
    "imagePullSecrets": [{"name": "registry"}],
    "containers": [
        {
            "name": "main",
            "image": "scratch",
            "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "by-env", "key": "k"}}}],
            "envFrom": [{"configMapRef": {"name": "from-env"}}],
        }
    ],
    "volumes": [
        {"name": "s", "secret": {"secretName": "mounted"}},
        {"name": "p", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
    ],
}


def pod(name: str, node: str, **spec: Any) -> dict[str, Any]:
    made = {"nodeName": node, **SPEC, **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": made}


@pytest.fixture
async def world(local_api: Api) -> AsyncIterator[tuple[Api, LocalClient, LocalClient]]:
    """An API with a pod on the node ``one`` and another on ``two``; clients of the admin and of node ``one``."""
    admin, node = LocalClient(local_api, ADMIN), LocalClient(local_api, NODE)
    for name in ("mounted", "by-env", "registry", "other"):
        await admin.create(SECRETS, {"metadata": {"name": name}}, "default")
    await admin.create(CONFIG_MAPS, {"metadata": {"name": "projected"}}, "default")
    await admin.create(PODS, pod("mine", "one"), "default")
    secret = {"volumes": [{"name": "s", "secret": {"secretName": "other"}}]}
    await admin.create(
        PODS, pod("theirs", "two", **secret, imagePullSecrets=[], containers=[{"name": "m", "image": "i"}]), "default"
    )
    yield local_api, admin, node
    await local_api.close()


async def code_of(what: Any) -> int:
    try:
        await what
    except ApiError as error:
        return error.code
    return 200


async def test_a_node_reads_only_what_its_pods_use(world: tuple[Api, LocalClient, LocalClient]) -> None:
    _, admin, node = world
    for name, code in (("mounted", 200), ("by-env", 200), ("registry", 200), ("other", 403), ("none", 403)):
        assert await code_of(node.get(SECRETS, name, "default")) == code, name
    assert await code_of(node.get(CONFIG_MAPS, "projected", "default")) == 200
    assert await code_of(node.get(CONFIG_MAPS, "kube-root-ca.crt", "default")) == 200  # the admission's own volume
    assert await code_of(node.list(SECRETS, "default", field_selector="metadata.name=mounted")) == 200
    assert await code_of(node.list(SECRETS, "default")) == 403
    assert await code_of(node.list(SECRETS)) == 403
    assert await code_of(node.list(PODS, field_selector="spec.nodeName=one")) == 200
    assert await code_of(node.list(PODS, field_selector="spec.nodeName=two")) == 403
    assert await code_of(node.list(PODS)) == 403
    assert await code_of(node.get(PODS, "mine", "default")) == 200
    assert await code_of(node.get(PODS, "theirs", "default")) == 403
    with pytest.raises(ApiError, match="no relationship found between node 'one' and this object"):
        await node.get(SECRETS, "other", "default")
    # what is used changes with the pods
    await admin.create(PODS, pod("later", "one", volumes=[{"name": "s", "secret": {"secretName": "other"}}]), "default")
    assert await code_of(node.get(SECRETS, "other", "default")) == 200
    await admin.raw("DELETE", "/api/v1/namespaces/default/pods/later", body={"gracePeriodSeconds": 0})
    assert await code_of(node.get(SECRETS, "other", "default")) == 403


async def test_volumes_by_way_of_claims(world: tuple[Api, LocalClient, LocalClient]) -> None:
    _, admin, node = world
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "disk"}
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    await admin.raw("POST", claims, body={"metadata": {"name": "data"}, "spec": claim})
    source = {"driver": "x", "volumeHandle": "h", "nodeStageSecretRef": {"name": "other", "namespace": "default"}}
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": source,
        "claimRef": {"namespace": "default", "name": "data"},
    }
    code, _ = await admin.raw("POST", "/api/v1/persistentvolumes", body={"metadata": {"name": "disk"}, "spec": volume})
    assert code == 201
    assert (await node.raw("GET", f"{claims}/data"))[0] == 200
    assert (await node.raw("GET", "/api/v1/persistentvolumes/disk"))[0] == 200
    assert (await node.raw("GET", "/api/v1/persistentvolumes"))[0] == 403
    assert await code_of(node.get(SECRETS, "other", "default")) == 200


async def test_a_claim_that_names_the_volume_of_another_opens_none_of_its_secrets(
    world: tuple[Api, LocalClient, LocalClient],
) -> None:
    _, admin, node = world
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "disk"}
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    assert (await admin.raw("POST", claims, body={"metadata": {"name": "data"}, "spec": claim}))[0] == 201
    volume = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "csi": {"driver": "x", "volumeHandle": "h", "nodeStageSecretRef": {"name": "other", "namespace": "default"}},
        "claimRef": {"namespace": "kube-system", "name": "theirs"},
    }
    code, _ = await admin.raw("POST", "/api/v1/persistentvolumes", body={"metadata": {"name": "disk"}, "spec": volume})
    assert code == 201
    assert (await node.raw("GET", "/api/v1/persistentvolumes/disk"))[0] == 403
    assert await code_of(node.get(SECRETS, "other", "default")) == 403


async def test_a_node_writes_about_itself(world: tuple[Api, LocalClient, LocalClient]) -> None:
    _, _, node = world
    me = {"metadata": {"name": "one", "labels": {"kubernetes.io/os": "linux", "node.kubernetes.io/x": "y"}}}
    await node.create(NODES, me)
    assert await code_of(node.create(NODES, {"metadata": {"name": "two"}})) == 403
    for label in ("node-role.kubernetes.io/control-plane", "node-restriction.kubernetes.io/zone"):
        change = {"metadata": {"labels": {label: ""}}}
        with pytest.raises(ApiError, match=f"is not allowed to modify labels: {label}"):
            await node.patch(NODES, "one", change, type="merge")
    taints = {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}
    with pytest.raises(ApiError, match="is not allowed to modify taints"):
        await node.patch(NODES, "one", taints, type="merge")
    assert (
        await code_of(node.patch(NODES, "one", {"status": {"phase": "x"}}, type="merge", subresource="status")) == 200
    )
    running = {"status": {"phase": "Running"}}
    assert await code_of(node.patch(PODS, "mine", running, "default", type="merge", subresource="status")) == 200
    assert await code_of(node.patch(PODS, "theirs", running, "default", type="merge", subresource="status")) == 403
    assert await code_of(node.create(PODS, pod("made", "one"), "default")) == 403
    assert (await node.raw("DELETE", "/api/v1/namespaces/default/pods/theirs"))[0] == 403
    lease = {"metadata": {"name": "one"}, "spec": {"holderIdentity": "one"}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    assert (await node.raw("POST", leases, body=lease))[0] == 201
    assert (await node.raw("POST", leases, body={"metadata": {"name": "two"}}))[0] == 403
    assert (await node.raw("GET", leases + "/two"))[0] == 403
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "theirs"}}
    assert (await node.raw("POST", "/api/v1/namespaces/default/pods/theirs/eviction", body=eviction))[0] == 403


async def test_tokens_are_for_pods_of_the_node(world: tuple[Api, LocalClient, LocalClient]) -> None:
    _, admin, node = world
    await admin.create(NODES, {"metadata": {"name": "one"}})

    async def asked(name: str, **changed: str) -> dict[str, Any]:
        uid = (await admin.get(PODS, name, "default"))["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid, **changed}
        body = {"spec": {"boundObjectRef": {key: value for key, value in bound.items() if value}}}
        return await node.create(SERVICE_ACCOUNTS, body, "default", name="default", subresource="token")

    token = (await asked("mine"))["status"]["token"]
    with pytest.raises(ApiError, match="bound to a pod scheduled on a different node"):
        await asked("theirs")
    with pytest.raises(ApiError, match="without a uid"):
        await asked("mine", uid="")
    review = {"spec": {"token": token}}
    _, answer = await admin.raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)
    assert b'"authentication.kubernetes.io/node-name":["one"]' in answer


async def test_a_review_knows_the_node_authorizer(world: tuple[Api, LocalClient, LocalClient]) -> None:
    import orjson

    _, admin, _ = world
    asked = {"verb": "get", "resource": "secrets", "namespace": "default", "name": "mounted"}
    spec = {"user": NODE.name, "groups": list(NODE.groups), "resourceAttributes": asked}
    _, answer = await admin.raw("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body={"spec": spec})
    assert orjson.loads(answer)["status"]["allowed"] is True


def test_references_of_a_pod() -> None:
    found = set(
        references(pod("p", "one", volumes=[*SPEC["volumes"], {"name": "e", "ephemeral": {}, "azureFile": {}}]))
    )
    assert found == {
        ("serviceaccounts", "default"),
        ("secrets", "registry"),
        ("secrets", "by-env"),
        ("secrets", "mounted"),
        ("configmaps", "from-env"),
        ("configmaps", "projected"),
        ("persistentvolumeclaims", "data"),
    }
    assert set(references({"metadata": {}, "spec": {"containers": None, "volumes": "no"}})) == set()


def test_labels_that_nodes_may_set() -> None:
    assert settable("team") and settable("acme.com/team") and settable("topology.kubernetes.io/zone")
    assert settable("a.node.kubernetes.io/x") and not settable("a.k8s.io/x") and not settable("kubernetes.io/x")


async def test_reviews_with_selectors_and_rules_that_cannot_be_listed(
    world: tuple[Api, LocalClient, LocalClient],
) -> None:
    import orjson

    _, admin, node = world

    async def review(**asked: Any) -> tuple[int, Any]:
        attributes = {"verb": "list", "resource": "pods", **asked}
        spec = {"user": NODE.name, "groups": list(NODE.groups), "resourceAttributes": attributes}
        code, body = await admin.raw("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body={"spec": spec})
        return code, orjson.loads(body)

    mine = [{"key": "spec.nodeName", "operator": "In", "values": ["one"]}]
    for selector, allowed in (
        ({"rawSelector": "spec.nodeName=one"}, True),
        ({"requirements": mine}, True),
        ({"rawSelector": "spec.nodeName=two"}, False),
    ):
        code, answer = await review(fieldSelector=selector)
        assert code == 201 and answer["status"]["allowed"] is allowed, selector
    code, answer = await review(fieldSelector={"rawSelector": "a=b", "requirements": mine})
    assert code == 422 and "may not specified at the same time as requirements" in answer["message"]
    assert (await review(labelSelector={}))[0] == 422
    rules = {"spec": {"namespace": "default"}}
    _, told = await node.raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body=rules)
    status = orjson.loads(told)["status"]
    assert status["incomplete"] and status["evaluationError"] == "node authorizer does not support user rule resolution"


async def test_tokens_are_for_audiences_of_the_pod(world: tuple[Api, LocalClient, LocalClient]) -> None:
    _, admin, node = world
    projected = {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}
    volumes = [{"name": "vault", "projected": projected}, {"name": "csi", "csi": {"driver": "csi.example.com"}}]
    uid = (await admin.create(PODS, pod("reader", "one", volumes=volumes), "default"))["metadata"]["uid"]
    driver = {"metadata": {"name": "csi.example.com"}, "spec": {"tokenRequests": [{"audience": "bucket"}]}}
    assert (await admin.raw("POST", "/apis/storage.k8s.io/v1/csidrivers", body=driver))[0] == 201

    async def asked(*audiences: str) -> Any:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": "reader", "uid": uid}
        body = {"spec": {"audiences": list(audiences), "boundObjectRef": bound}}
        return await node.create(SERVICE_ACCOUNTS, body, "default", name="default", subresource="token")

    for audience in ("vault", "bucket"):
        assert (await asked(audience))["spec"]["audiences"] == [audience]
    with pytest.raises(ApiError, match="may only request 0 or 1 audiences"):
        await asked("vault", "bucket")
    refusal = 'audience "registry" not found in pod spec volume, system:node:one is not authorized to request tokens'
    with pytest.raises(ApiError, match=refusal):
        await asked("registry")
    role = {
        "metadata": {"name": "pulls"},
        "rules": [
            {
                "verbs": ["request-serviceaccounts-token-audience"],
                "apiGroups": [""],
                "resources": ["registry"],
                "resourceNames": ["default"],
            }
        ],
    }
    rbac = "/apis/rbac.authorization.k8s.io/v1/"
    assert (await admin.raw("POST", f"{rbac}clusterroles", body=role))[0] == 201
    binding = {
        "metadata": {"name": "pulls"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pulls"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    }
    assert (await admin.raw("POST", f"{rbac}clusterrolebindings", body=binding))[0] == 201
    assert (await asked("registry"))["spec"]["audiences"] == ["registry"]


async def test_a_node_asks_for_its_own_certificate_only(world: tuple[Api, LocalClient, LocalClient]) -> None:
    _, _, node = world
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    for name, code in (("one", 201), ("two", 403)):
        spec = {
            "request": base64.b64encode(signing_request(f"system:node:{name}")).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
        }
        answer, body = await node.raw("POST", requests, body={"metadata": {"name": f"of-{name}"}, "spec": spec})
        assert answer == code, body


def signing_request(common_name: str) -> bytes:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
