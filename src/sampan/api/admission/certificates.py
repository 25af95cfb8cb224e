"""Who may act for a signer: CertificateApproval, CertificateSigning, CertificateSubjectRestriction, ClusterTrustBundleAttest.

Source: kubernetes plugin/pkg/admission/certificates.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from sampan.api.admission.permissions import may_for_signer
from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import dig, items, text

if TYPE_CHECKING:
    from cryptography.x509 import ObjectIdentifier

GROUP = "certificates.k8s.io"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
MASTERS = "system:masters"


def is_request(resource: Resource) -> bool:
    return resource.group == GROUP and resource.kind == "CertificateSigningRequest"


class CertificateApproval:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return is_request(resource) and subresource == "approval" and operation == "UPDATE"

    async def validate(self, admission: Admission) -> None:
        signer = text(admission.old, "spec", "signerName")
        if not await may_for_signer(admission, "approve", signer):
            why = f'user not permitted to approve requests with signerName "{signer}"'
            raise forbidden(admission.resource, admission.name, why)


class CertificateSigning:
    """Only asked where a certificate or a Failed condition is written."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return is_request(resource) and subresource == "status" and operation == "UPDATE"

    async def validate(self, admission: Admission) -> None:
        new, old = admission.object, admission.old
        if dig(new, "status", "certificate") == dig(old, "status", "certificate") and failed(new) == failed(old):
            return
        signer = text(old, "spec", "signerName")
        if not await may_for_signer(admission, "sign", signer):
            why = f'user not permitted to sign requests with signerName "{signer}"'
            raise forbidden(admission.resource, admission.name, why)


def failed(request: Any) -> list[Any]:
    return [one for one in items(request, "status", "conditions") if one.get("type") == "Failed"]


class CertificateSubjectRestriction:
    """Nobody becomes a member of system:masters by a certificate that he asked for."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return is_request(resource) and not subresource and operation == "CREATE"

    async def validate(self, admission: Admission) -> None:
        if text(admission.object, "spec", "signerName") != CLIENT_SIGNER:
            return
        if MASTERS in organizations(dig(admission.object, "spec", "request")):
            why = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
            raise forbidden(admission.resource, admission.name, why)


def organizations(encoded: Any) -> list[str]:
    """Return the groups that a request asks for."""
    from cryptography.x509.oid import NameOID

    return asked_for(encoded, NameOID.ORGANIZATION_NAME)


def common_name(encoded: Any) -> str:
    """Return the user that a request asks for."""
    from cryptography.x509.oid import NameOID

    return next(iter(asked_for(encoded, NameOID.COMMON_NAME)), "")


def asked_for(encoded: Any, what: ObjectIdentifier) -> list[str]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_csr(base64.b64decode(encoded or "", validate=True))
    except (binascii.Error, ValueError, TypeError):
        return []  # validation has said so
    return [str(part.value) for part in found.subject.get_attributes_for_oid(what)]


class ClusterTrustBundleAttest:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        wanted = operation in ("CREATE", "UPDATE") and not subresource
        return wanted and resource.group == GROUP and resource.kind == "ClusterTrustBundle"

    async def validate(self, admission: Admission) -> None:
        new, old = admission.object, admission.old
        if old is not None and dig(new, "spec") == dig(old, "spec"):
            return
        signer = text(new, "spec", "signerName")
        if signer and not await may_for_signer(admission, "attest", signer):
            why = f'user not permitted to attest for signerName "{signer}"'
            raise forbidden(admission.resource, admission.name, why)
