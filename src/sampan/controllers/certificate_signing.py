"""Approved certificate requests are signed with the cluster's CA, for Kubernetes' own signers.

Clients of the API, kubelets as clients, and kubelets' servers; what a signer does not allow gets the condition ``Failed``.
Source: pkg/controller/certificates/signer, KEP-2784 (expirationSeconds).
"""

from __future__ import annotations

import base64
import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.client.controller import Controller
from sampan.client.events import timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.controllers.certificate_requests import (
    APPROVED,
    DENIED,
    FAILED,
    PROBLEMS,
    REQUESTS,
    asked,
    condition,
    load,
    usages_of,
    with_condition,
)
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from cryptography import x509

LONGEST = datetime.timedelta(days=365)
"""How long a certificate lasts at most (cluster-signing-duration)."""
BACKDATED = datetime.timedelta(minutes=5)
SHORT = datetime.timedelta(hours=8)
"""Certificates that last less are not shortened by what they are backdated."""
KEY_USAGES = {
    "signing": "digital_signature", "digital signature": "digital_signature", "content commitment": "content_commitment",
    "key encipherment": "key_encipherment", "data encipherment": "data_encipherment", "key agreement": "key_agreement",
    "cert sign": "key_cert_sign", "crl sign": "crl_sign", "encipher only": "encipher_only", "decipher only": "decipher_only",
}  # fmt: skip
EXTENDED_USAGES = {
    "any": "2.5.29.37.0", "server auth": "1.3.6.1.5.5.7.3.1", "client auth": "1.3.6.1.5.5.7.3.2",
    "code signing": "1.3.6.1.5.5.7.3.3", "email protection": "1.3.6.1.5.5.7.3.4", "s/mime": "1.3.6.1.5.5.7.3.4",
    "ipsec end system": "1.3.6.1.5.5.7.3.5", "ipsec tunnel": "1.3.6.1.5.5.7.3.6", "ipsec user": "1.3.6.1.5.5.7.3.7",
    "timestamping": "1.3.6.1.5.5.7.3.8", "ocsp signing": "1.3.6.1.5.5.7.3.9",
    "microsoft sgc": "1.3.6.1.4.1.311.10.3.3", "netscape sgc": "2.16.840.1.113730.4.1",
}  # fmt: skip


class Authority:
    """The cluster's CA, read with the first certificate."""

    def __init__(self, pki_dir: Path) -> None:
        self._stem = pki_dir / "ca"

    @cached_property
    def pair(self) -> tuple[x509.Certificate, Any]:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        certificate = x509.load_pem_x509_certificate(self._stem.with_suffix(".crt").read_bytes())
        return certificate, load_pem_private_key(self._stem.with_suffix(".key").read_bytes(), None)

    def sign(self, request: Object, now: datetime.datetime) -> bytes:
        """Return the certificate for a request, in PEM. Raises ``ValueError`` for what is no request."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        found = load(request)
        issuer, key = self.pair
        begin, end = lifetime(request["spec"].get("expirationSeconds"), now, issuer.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(found.subject)
            .issuer_name(issuer.subject)
            .public_key(found.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        for extension, critical in usage_extensions(request["spec"].get("usages") or ()):
            builder = builder.add_extension(extension, critical=critical)
        try:
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=names.critical)
        except x509.ExtensionNotFound:
            pass
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def lifetime(
    seconds: int | None, now: datetime.datetime, authority_ends: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return from when until when a certificate is good: as long as asked for, but not longer than a year or than the CA."""
    length = min(datetime.timedelta(seconds=seconds), LONGEST) if seconds else LONGEST
    begin = now - BACKDATED
    end = now + length if length < SHORT else begin + length
    return begin, min(end, authority_ends)


def usage_extensions(usages: Any) -> list[tuple[Any, bool]]:
    """Return the extensions for a request's usages, with whether each is critical."""
    from cryptography import x509

    wanted = {KEY_USAGES[usage] for usage in usages if usage in KEY_USAGES}
    if not wanted & {"key_agreement"}:
        wanted -= {"encipher_only", "decipher_only"}  # they say something about key agreement only
    found: list[tuple[Any, bool]] = []
    if wanted:
        flags = {name: name in wanted for name in set(KEY_USAGES.values())}
        found.append((x509.KeyUsage(**flags), True))
    extended = dict.fromkeys(EXTENDED_USAGES[usage] for usage in usages if usage in EXTENDED_USAGES)
    if extended:
        found.append((x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in extended]), False))
    return found


class CertificateSigner(Controller):
    name = "certificate-controller"

    def __init__(self, client: Client, requests: Informer, authority: Authority) -> None:
        super().__init__(client)
        self.requests, self.authority = requests, authority
        self.watch(requests)

    async def reconcile(self, key: str) -> float | None:
        request = self.requests.get(key)
        if request is None or (request.get("status") or {}).get("certificate") or not condition(request, APPROVED):
            return None
        refusal = PROBLEMS.get(request["spec"].get("signerName", ""))
        if refusal is None or condition(request, DENIED) or condition(request, FAILED):
            return None
        try:
            problem = refusal(asked(load(request)), usages_of(request))
            signed = b"" if problem else self.authority.sign(request, datetime.datetime.now(datetime.UTC))
        except ValueError as error:
            problem, signed = f"unable to parse the request: {error}", b""
        if problem:
            failed = with_condition(request, FAILED, "SignerValidationFailure", problem, timestamp())
            await self.client.update(REQUESTS, failed, subresource="status")
            return None
        status = {**(request.get("status") or {}), "certificate": base64.b64encode(signed).decode()}
        await self.client.update(REQUESTS, {**request, "status": status}, subresource="status")
        return None
