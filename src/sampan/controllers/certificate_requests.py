"""What a CertificateSigningRequest asks for, and what each of Kubernetes' signers allows. Pure; ``cryptography`` is imported
with the first request. Source: pkg/controller/certificates, pkg/apis/certificates/helpers.go, "Certificate Signing Requests".
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sampan.client.protocol import ResourceType
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from cryptography import x509

REQUESTS = ResourceType(
    "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", namespaced=False
)
CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
NODES_GROUP, NODE_PREFIX = "system:nodes", "system:node:"
CLIENT_USAGES = frozenset({"key encipherment", "digital signature", "client auth"})
SERVER_USAGES = frozenset({"key encipherment", "digital signature", "server auth"})


@dataclass(frozen=True)
class Asked:
    """What the PKCS#10 request says."""

    common_name: str
    organizations: tuple[str, ...]
    names: int
    addresses: int
    others: int
    """Alternative names by kind: DNS, IP, and any else (email, URI)."""


def load(request: Object) -> x509.CertificateSigningRequest:
    """Return the request of an object; raises ``ValueError``."""
    from cryptography import x509

    return x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))


def asked(found: x509.CertificateSigningRequest) -> Asked:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def texts(oid: Any) -> tuple[str, ...]:
        return tuple(str(one.value) for one in found.subject.get_attributes_for_oid(oid))

    try:
        others = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        others = []
    names = sum(isinstance(one, x509.DNSName) for one in others)
    addresses = sum(isinstance(one, x509.IPAddress) for one in others)
    common_names = texts(NameOID.COMMON_NAME)
    return Asked(
        common_names[-1] if common_names else "",
        texts(NameOID.ORGANIZATION_NAME),
        names,
        addresses,
        len(others) - names - addresses,
    )


def kubelet_client_problem(wanted: Asked, usages: frozenset[str]) -> str:
    """Return why this is no certificate of a kubelet as a client, "" when it is one."""
    if wanted.organizations != (NODES_GROUP,):
        return "subject organization is not system:nodes"
    if wanted.names:
        return "DNS subjectAltNames are not allowed"
    if wanted.addresses:
        return "IP subjectAltNames are not allowed"
    if wanted.others:
        return "email and URI subjectAltNames are not allowed"
    if not wanted.common_name.startswith(NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    if usages not in (CLIENT_USAGES, CLIENT_USAGES - {"key encipherment"}):
        return "usages did not match [client auth digital signature key encipherment]"
    return ""


def kubelet_serving_problem(wanted: Asked, usages: frozenset[str]) -> str:
    if wanted.organizations != (NODES_GROUP,):
        return "subject organization is not system:nodes"
    if not wanted.names and not wanted.addresses:
        return "DNS or IP subjectAltName is required"
    if wanted.others:
        return "email and URI subjectAltNames are not allowed"
    if not wanted.common_name.startswith(NODE_PREFIX):
        return "subject common name does not begin with system:node:"
    if usages not in (SERVER_USAGES, SERVER_USAGES - {"key encipherment"}):
        return "usages did not match [digital signature key encipherment server auth]"
    return ""


def client_problem(wanted: Asked, usages: frozenset[str]) -> str:
    if not usages <= CLIENT_USAGES or "client auth" not in usages:
        return "usages did not match [client auth digital signature key encipherment]"
    return ""


PROBLEMS: dict[str, Callable[[Asked, frozenset[str]], str]] = {
    CLIENT: client_problem,
    KUBELET_CLIENT: kubelet_client_problem,
    KUBELET_SERVING: kubelet_serving_problem,
    LEGACY: lambda wanted, usages: "",
}
"""Why a signer refuses a request, by its name; those of others are others' affair."""


def usages_of(request: Object) -> frozenset[str]:
    return frozenset(request["spec"].get("usages") or ())


def condition(request: Object, type: str) -> Object | None:
    found = (request.get("status") or {}).get("conditions") or ()
    return next((one for one in found if one["type"] == type), None)


def with_condition(request: Object, type: str, reason: str, message: str, now: str) -> Object:
    """Return the request with a condition added."""
    status = request.get("status") or {}
    added = {"type": type, "status": "True", "reason": reason, "message": message, "lastUpdateTime": now,
             "lastTransitionTime": now}  # fmt: skip
    return {**request, "status": {**status, "conditions": [*(status.get("conditions") or ()), added]}}
