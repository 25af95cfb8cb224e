"""Whether the certificate chain that a signer writes into the status of a PodCertificateRequest is what was asked for.

Source: kubernetes pkg/apis/certificates/validation (ValidatePodCertificateRequestStatusUpdate), KEP-4317.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parseaddr
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.certificates import load_certificate, pem_blocks
from sampan.api.resources.reading import mapping, text
from sampan.schema.causes import invalid, required, too_long
from sampan.schema.durations import parse_time
from sampan.schema.objects import Object

LONGEST_CHAIN = 100 * 1024
CHAIN, NOT_BEFORE, NOT_AFTER, REFRESH = (
    f"status.{key}" for key in ("certificateChain", "notBefore", "notAfter", "beginRefreshAt")
)
SHORTEST, SKEW, MARGIN = timedelta(hours=1), timedelta(minutes=5), timedelta(minutes=10)


def issued_to(request: Object, status: Object) -> Iterator[Cause]:
    """Yield why a status that says Issued is refused. ``request``: the object as it is stored."""
    chain = text(status, "certificateChain")
    if len(chain.encode()) > LONGEST_CHAIN:
        yield too_long(CHAIN, LONGEST_CHAIN)
        return
    blocks = pem_blocks(chain)
    leaf = load_certificate(blocks[0][1]) if blocks else None
    if not blocks:
        yield invalid(CHAIN, chain, "issued certificate chain must contain at least one certificate")
    elif blocks[0][0] != "CERTIFICATE":
        yield invalid(CHAIN, chain, "issued certificate chain must consist entirely of CERTIFICATE PEM blocks")
    elif leaf is None:
        yield invalid(CHAIN, chain, "leaf certificate does not parse as valid X.509")
    else:
        yield from leaf_causes(request, status, leaf, [(kind, content) for kind, content, _ in blocks[1:]])


def leaf_causes(request: Object, status: Object, leaf: Any, others: list[tuple[str, bytes | None]]) -> Iterator[Cause]:
    yield from names(leaf)
    if spki(leaf) != requested_key(mapping(request, "spec")):
        why = "leaf certificate was not issued to the requested public key"
        yield invalid(CHAIN, text(status, "certificateChain"), why)
        return
    missing = [
        required(path, why)
        for path, key, why in (
            (NOT_BEFORE, "notBefore", "must be present and consistent with the issued certificate"),
            (NOT_AFTER, "notAfter", "must be present and consistent with the issued certificate"),
            (REFRESH, "beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]"),
        )
        if not status.get(key)
    ]
    wrong = missing or times(status, leaf, mapping(request, "spec").get("maxExpirationSeconds") or 0)
    yield from wrong
    if not wrong:
        yield from intermediates(text(status, "certificateChain"), others)


def names(leaf: Any) -> Iterator[Cause]:
    from cryptography import x509

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except Exception:  # no such extension, or extensions that do not parse
        return
    for name in found.get_values_for_type(x509.DNSName):
        if not name:
            yield invalid(CHAIN, name, "leaf certificate should not contain empty DNSName")
        if ".." in name:
            yield invalid(CHAIN, name, "leaf certificate's DNSName should not contain '..'")
        if name.startswith(".") or name.endswith("."):
            yield invalid(CHAIN, name, "leaf certificate's DNSName should not start or end with '.'")
    for address in found.get_values_for_type(x509.RFC822Name):
        if "@" not in parseaddr(address)[1]:
            yield invalid(CHAIN, address, "leaf certificate should not contain invalid EmailAddress")


def spki(holder: Any) -> bytes:
    """Return the public key of a certificate or a request, in DER."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        found: bytes = holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # a kind of key that is not known: it was asked for by nobody
        return b""
    return found


def requested_key(spec: Object) -> bytes:
    """Return the public key that a request is about, in DER."""
    if not spec.get("stubPKCS10Request"):
        return base64.b64decode(spec.get("pkixPublicKey") or "")
    from cryptography import x509

    return spki(x509.load_der_x509_csr(base64.b64decode(spec["stubPKCS10Request"])))


def times(status: Object, leaf: Any, longest_seconds: int) -> list[Cause]:
    """Return what is wrong with the times of the status and the certificate, the first of them only."""
    before, after, refresh = (
        parse_time(str(status[key])) or datetime.min.replace(tzinfo=UTC)
        for key in ("notBefore", "notAfter", "beginRefreshAt")
    )
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    lifetime = ends - begins
    nanoseconds = int(lifetime.total_seconds()) * 1_000_000_000
    too_much = f"leaf certificate lifetime must be <= spec.maxExpirationSeconds ({longest_seconds})"
    now = datetime.now(UTC)
    rules = (
        (before == begins, NOT_BEFORE, "must be set to the NotBefore time encoded in the leaf certificate"),
        (abs(before - now) < SKEW, NOT_BEFORE, "must be set to within 5 minutes of kube-apiserver's current time"),
        (after == ends, NOT_AFTER, "must be set to the NotAfter time encoded in the leaf certificate"),
        (lifetime >= SHORTEST, CHAIN, "leaf certificate lifetime must be >= 1 hour"),
        (lifetime <= timedelta(seconds=longest_seconds), CHAIN, too_much),
        (refresh >= before + MARGIN, REFRESH, "must be at least 10 minutes after status.notBefore"),
        (refresh <= after - MARGIN, REFRESH, "must be at least 10 minutes before status.notAfter"),
    )
    shown = {NOT_BEFORE: status["notBefore"], NOT_AFTER: status["notAfter"], REFRESH: status["beginRefreshAt"]}
    return next(([invalid(path, shown.get(path, nanoseconds), why)] for holds, path, why in rules if not holds), [])


def intermediates(chain: str, blocks: list[tuple[str, bytes | None]]) -> Iterator[Cause]:
    """``CERTFICATE`` is how Kubernetes spells it here."""
    for kind, content in blocks:
        if kind != "CERTIFICATE":
            yield invalid(CHAIN, chain, "issued certificate chain must consist entirely of CERTFICATE PEM blocks")
            return
        if load_certificate(content) is None:
            yield invalid(CHAIN, chain, "intermediate certificate does not parse as valid X.509")
            return
