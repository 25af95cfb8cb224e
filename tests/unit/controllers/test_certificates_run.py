"""Certificate requests: approved for kubelets, signed with the cluster's CA, refused with a reason, cleaned up."""

from __future__ import annotations

import base64
import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.protocol import ResourceType
from sampan.controllers import certificate_cleaning
from sampan.controllers.certificate_requests import (
    CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    PROBLEMS,
    REQUESTS,
    Asked,
)
from sampan.controllers.certificate_signing import lifetime
from sampan.schema.objects import Object

BINDINGS = ResourceType(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False
)
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def pkcs10(name: str, *groups: str, names: tuple[str, ...] = ()) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([*subject, x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(pem).decode()


def request(name: str, signer: str, encoded: str, *usages: str, **spec: Any) -> Object:
    body = {"signerName": signer, "request": encoded, "usages": list(usages), **spec}
    return {"apiVersion": REQUESTS.api_version, "kind": REQUESTS.kind, "metadata": {"name": name}, "spec": body}


def conditions(obj: Object) -> dict[str, str]:
    return {one["type"]: one["reason"] for one in (obj.get("status") or {}).get("conditions") or ()}


async def approve(cluster: Any, name: str) -> None:
    made = await cluster.client.get(REQUESTS, name)
    approval = {"type": "Approved", "status": "True", "reason": "ByHand", "message": ""}
    status = {"conditions": [approval]}
    await cluster.client.update(REQUESTS, {**made, "status": status}, subresource="approval")


async def test_a_client_certificate_is_signed_once_approved(cluster: Any, throwaway_pki: Any) -> None:
    encoded = pkcs10("jane", "developers")
    usages = ("client auth", "digital signature")
    await cluster.client.create(REQUESTS, request("jane", CLIENT, encoded, *usages, expirationSeconds=3600))
    await approve(cluster, "jane")
    done = await cluster.until(REQUESTS, "jane", lambda r: (r.get("status") or {}).get("certificate"), None)
    found = x509.load_pem_x509_certificate(base64.b64decode(done["status"]["certificate"]))
    found.verify_directly_issued_by(x509.load_pem_x509_certificate((throwaway_pki / "ca.crt").read_bytes()))
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "jane"
    assert found.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "developers"
    extended = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    lasts = found.not_valid_after_utc - found.not_valid_before_utc
    assert lasts == datetime.timedelta(seconds=3600) + datetime.timedelta(minutes=5)


async def test_what_a_signer_does_not_allow_fails_with_a_reason(cluster: Any) -> None:
    await cluster.client.create(
        REQUESTS, request("bad", KUBELET_SERVING, pkcs10("x"), "server auth", "digital signature")
    )
    await approve(cluster, "bad")
    failed = await cluster.until(REQUESTS, "bad", lambda r: "Failed" in conditions(r), None)
    assert conditions(failed)["Failed"] == "SignerValidationFailure"
    assert failed["status"]["conditions"][-1]["message"] == "subject organization is not system:nodes"


async def test_signers_of_others_are_left_alone(cluster: Any) -> None:
    await cluster.client.create(REQUESTS, request("mine", "example.org/mine", pkcs10("x"), "client auth"))
    await approve(cluster, "mine")
    # one of ours that comes later is answered first only if the other was passed over
    await cluster.client.create(REQUESTS, request("ours", CLIENT, pkcs10("y"), "client auth"))
    await approve(cluster, "ours")
    await cluster.until(REQUESTS, "ours", lambda r: (r.get("status") or {}).get("certificate"), None)
    assert "certificate" not in (await cluster.client.get(REQUESTS, "mine"))["status"]


async def test_a_kubelets_request_is_approved_if_rbac_lets_it(cluster: Any, local_api: Any) -> None:
    usages = ("client auth", "digital signature")
    bootstrap = LocalClient(
        local_api, User("system:bootstrap:abcdef", ("system:bootstrappers", "system:authenticated"))
    )
    for role in ("system:node-bootstrapper", "system:certificates.k8s.io:certificatesigningrequests:nodeclient"):
        binding = {
            "apiVersion": BINDINGS.api_version,
            "kind": BINDINGS.kind,
            "metadata": {"name": role.rpartition(":")[2]},
            "roleRef": {"apiGroup": BINDINGS.group, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": BINDINGS.group, "kind": "Group", "name": "system:bootstrappers"}],
        }
        await cluster.client.create(BINDINGS, binding)
    await bootstrap.create(REQUESTS, request("n1", KUBELET_CLIENT, pkcs10("system:node:n1", "system:nodes"), *usages))
    done = await cluster.until(REQUESTS, "n1", lambda r: (r.get("status") or {}).get("certificate"), None)
    assert conditions(done) == {"Approved": "AutoApproved"}
    message = "Auto approving kubelet client certificate after SubjectAccessReview."
    assert done["status"]["conditions"][0]["message"] == message
    other = request("n2", KUBELET_CLIENT, pkcs10("system:node:n2", "system:nodes"), "client auth")
    await bootstrap.create(REQUESTS, other)
    last = request("n3", KUBELET_CLIENT, pkcs10("system:node:n3", "system:nodes"), *usages)
    await bootstrap.create(REQUESTS, last)
    await cluster.until(REQUESTS, "n3", lambda r: conditions(r), None)
    assert not conditions(await cluster.client.get(REQUESTS, "n2")), (
        "without the right usages it is no kubelet's request"
    )


ASKED = Asked("system:node:n1", ("system:nodes",), 0, 0, 0)
KUBELET = frozenset({"client auth", "digital signature"})
SERVING = frozenset({"server auth", "digital signature", "key encipherment"})


@pytest.mark.parametrize(
    ("signer", "asked", "usages", "problem"),
    [
        (KUBELET_CLIENT, ASKED, KUBELET, ""),
        (KUBELET_CLIENT, ASKED, KUBELET | {"key encipherment"}, ""),
        (KUBELET_CLIENT, ASKED, KUBELET | {"server auth"}, "usages did not match"),
        (KUBELET_CLIENT, Asked("n1", ("system:nodes",), 0, 0, 0), KUBELET, "common name"),
        (KUBELET_CLIENT, Asked("system:node:n1", ("a", "system:nodes"), 0, 0, 0), KUBELET, "organization"),
        (KUBELET_CLIENT, Asked("system:node:n1", ("system:nodes",), 1, 0, 0), KUBELET, "DNS"),
        (KUBELET_SERVING, Asked("system:node:n1", ("system:nodes",), 1, 1, 0), SERVING, ""),
        (KUBELET_SERVING, ASKED, SERVING, "DNS or IP subjectAltName is required"),
        (KUBELET_SERVING, Asked("system:node:n1", ("system:nodes",), 1, 0, 1), SERVING, "email and URI"),
        (CLIENT, Asked("jane", (), 0, 0, 0), frozenset({"client auth"}), ""),
        (CLIENT, Asked("jane", (), 0, 0, 0), frozenset({"server auth"}), "usages did not match"),
    ],
)
def test_what_signers_allow(signer: str, asked: Asked, usages: frozenset[str], problem: str) -> None:
    found = PROBLEMS[signer](asked, usages)
    assert problem in found and bool(problem) is bool(found)


@pytest.mark.parametrize(("seconds", "hours"), [(None, 365 * 24), (3600, 1), (10 * 3600, 10), (10**9, 365 * 24)])
def test_how_long_a_certificate_lasts(seconds: int | None, hours: int) -> None:
    begin, end = lifetime(seconds, NOW, NOW + datetime.timedelta(days=3650))
    assert NOW - begin == datetime.timedelta(minutes=5)
    assert datetime.timedelta(0) <= datetime.timedelta(hours=hours) - (end - NOW) <= datetime.timedelta(minutes=5)
    assert lifetime(seconds, NOW, NOW + datetime.timedelta(minutes=1))[1] == NOW + datetime.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("hours_ago", "kinds", "goes"),
    [(25, [], True), (23, [], False), (2, ["Denied"], True), (0.5, ["Denied"], False), (2, ["Failed", "Approved"], True),
     (2, ["Approved"], False), (25, ["Approved"], True)],
)  # fmt: skip
def test_when_requests_go(hours_ago: float, kinds: list[str], goes: bool) -> None:
    moment = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours_ago)
    text = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    found = [{"type": kind, "status": "True", "lastUpdateTime": text} for kind in kinds]
    obj = {"metadata": {"name": "r", "creationTimestamp": text}, "spec": {}, "status": {"conditions": found}}
    assert (certificate_cleaning.seconds_left(obj, datetime.datetime.now(datetime.UTC)) <= 0) is goes
