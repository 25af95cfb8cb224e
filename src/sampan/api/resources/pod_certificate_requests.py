"""PodCertificateRequest: what a node asks a signer for on behalf of a pod, and what the signer answers in the status.

Keys and certificates are read with ``cryptography``, which is imported when the first one comes.
Source: kubernetes pkg/apis/certificates/validation, pkg/registry/certificates/podcertificaterequest, KEP-4317.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.certificates import GROUP, signer_name
from sampan.api.resources.checking import collect, domain_prefixed_key, immutable
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.conditions import check_conditions
from sampan.api.resources.issued_certificates import issued_to
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.causes import NO_MAP, invalid, invalid_unshown, not_supported, required, too_long
from sampan.schema.names import ANNOTATIONS_LIMIT_BYTES, dns1123_subdomain
from sampan.schema.objects import Object

MIN_SECONDS, MAX_KUBERNETES_SECONDS, MAX_SECONDS = 3600, 86400, 91 * 86400
LONGEST_UID = 128
LONGEST_BYTES = 10 * 1024
MODULUS_BITS = (3072, 4096)
CURVES = {"secp224r1": "P-224", "secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
STUB_SINCE = 36
"""Until then a request carried its key and a proof of possession (``pkixPublicKey``, ``proofOfPossession``)."""
FINAL = ("Issued", "Denied", "Failed")
NAMED = (("podName", "podUID"), ("serviceAccountName", "serviceAccountUID"), ("nodeName", "nodeUID"))


def default_request(request: Object) -> None:
    request.setdefault("spec", {}).setdefault("maxExpirationSeconds", 86400)


def prepare_request(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


# the spec


def validate_request(new: Object, old: Object | None, *, stub: bool) -> Iterator[Cause]:
    """``stub``: whether a request may carry a PKCS#10 request instead of its key."""
    spec = mapping(new, "spec")
    if old is not None:
        yield from immutable("spec", spec, mapping(old, "spec"))
        return
    yield from signer_name("spec.signerName", text(spec, "signerName"))
    yield from user_annotations("spec.unverifiedUserAnnotations", mapping(spec, "unverifiedUserAnnotations"))
    for name, uid in NAMED:
        for message in dns1123_subdomain(text(spec, name)):
            yield invalid(f"spec.{name}", text(spec, name), message)
        if not spec.get(uid):
            yield invalid(f"spec.{uid}", "", "must not be empty")
        elif len(spec[uid].encode()) > LONGEST_UID:
            yield too_long(f"spec.{uid}", LONGEST_UID)
    seconds = spec.get("maxExpirationSeconds")
    longest = MAX_KUBERNETES_SECONDS if of_kubernetes(text(spec, "signerName")) else MAX_SECONDS
    if seconds is None:
        yield required("spec.maxExpirationSeconds", "must be set")
        return
    if not MIN_SECONDS <= seconds <= longest:
        yield invalid("spec.maxExpirationSeconds", seconds, f"must be in the range [{MIN_SECONDS}, {longest}]")
    asked, key, proof = (
        given_bytes(spec, name) for name in ("stubPKCS10Request", "pkixPublicKey", "proofOfPossession")
    )
    if asked and not key and not proof and stub:
        yield from stub_request("spec.stubPKCS10Request", asked)
    elif not stub or (not asked and key and proof):
        yield from proven_key(spec, key, proof)
    else:
        why = "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set"
        yield invalid_unshown("spec", why)


def of_kubernetes(signer: str) -> bool:
    domain = signer.partition("/")[0]
    return domain == "kubernetes.io" or domain.endswith(".kubernetes.io")


def user_annotations(path: str, annotations: Object) -> Iterator[Cause]:
    for key in annotations:
        yield from domain_prefixed_key(path, key.lower())
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > ANNOTATIONS_LIMIT_BYTES:
        yield too_long(path, ANNOTATIONS_LIMIT_BYTES)


def given_bytes(spec: Object, key: str) -> bytes:
    try:
        return base64.b64decode(spec.get(key) or "")
    except (binascii.Error, ValueError):
        return b""


def stub_request(path: str, asked: bytes) -> Iterator[Cause]:
    if len(asked) > LONGEST_BYTES:
        yield too_long(path, LONGEST_BYTES)
        return
    from cryptography import x509

    try:
        found = x509.load_der_x509_csr(asked)
    except ValueError:
        yield invalid_unshown(path, "must be a valid PKCS#10 CSR")
        return
    try:
        key: Any = found.public_key()
    except Exception:  # of several libraries' kinds
        key = None
    curves = ("P-256", "P-384", "P-521")
    problem = key_problem(key, curves, "elliptic public keys must use curve P256, P384, or P521")
    if problem is not None:
        yield problem._replace(field=path)
    elif not valid(found):
        yield invalid_unshown(path, "invalid signature")


def valid(request: Any) -> bool:
    try:
        return bool(request.is_signature_valid)
    except Exception:  # an algorithm that is not known
        return False


def key_problem(key: Any, curves: tuple[str, ...], curves_message: str) -> Cause | None:
    """Return what is wrong with a public key (without a field), None where it is one of those that are taken."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PublicKey):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey):
        curve = CURVES.get(key.curve.name, key.curve.name)
        return None if curve in curves else invalid("", f"curve {curve}", curves_message)
    if isinstance(key, rsa.RSAPublicKey):
        bits = (key.key_size + 7) // 8 * 8
        why = "RSA keys must have modulus size 3072 or 4096"
        return None if bits in MODULUS_BITS else invalid("", f"{bits}-bit modulus", why)
    return invalid_unshown("", "unknown public key type; supported types are Ed25519, ECDSA, and RSA")


def proven_key(spec: Object, der: bytes, proof: bytes) -> Iterator[Cause]:
    """The key itself, and the pod's UID signed with it."""
    path, shown = "spec.pkixPublicKey", spec.get("pkixPublicKey") or NO_MAP
    for field, content in ((path, der), ("spec.proofOfPossession", proof)):
        if len(content) > LONGEST_BYTES:
            yield too_long(field, LONGEST_BYTES)
            return
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key: Any = load_der_public_key(der)
    except Exception:  # of several libraries' kinds
        yield invalid(path, shown, "must be a valid PKIX-serialized public key")
        return
    problem = key_problem(key, ("P-256", "P-384", "P-521"), "elliptic public keys must use curve P256 or P384")
    if problem is not None:
        yield problem._replace(field=path)
    elif not proves(key, text(spec, "podUID").encode(), proof):
        yield invalid_unshown("spec.proofOfPossession", "could not verify proof-of-possession signature")


def proves(key: Any, message: bytes, proof: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding

    digest = hashes.SHA256()
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(proof, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(proof, message, ec.ECDSA(digest))
        else:
            key.verify(proof, message, padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
    except InvalidSignature:
        return False
    return True


# the status


def validate_status(new: Object, old: Object | None) -> Iterator[Cause]:
    assert old is not None
    status, before = mapping(new, "status"), mapping(old, "status")
    wrong = list(final_conditions(items(status, "conditions")))
    wrong += check_conditions("status.conditions", items(status, "conditions"))
    if wrong:  # the conditions say what the rest should be
        yield from wrong
    elif final_of(old):
        if status != before:
            yield invalid_unshown("status", "immutable after PodCertificateRequest is issued, denied, or failed")
    elif final_of(new) == "Issued":
        yield from issued_to(old, status)
    elif final_of(new):
        if set(status) - {"conditions"}:
            why = "non-condition status fields must be empty when denying or failing the PodCertificateRequest"
            yield invalid_unshown("status", why)
    elif status != before:
        yield invalid_unshown("status", 'status is immutable unless transitioning to "Issued", "Denied", or "Failed"')


def final_conditions(conditions: list[Object]) -> Iterator[Cause]:
    count = 0
    for index, condition in enumerate(conditions):
        path, kind = f"status.conditions.[{index}]", condition.get("type") or ""
        if kind not in FINAL:
            yield not_supported(f"{path}.type", kind, FINAL)
            continue
        count += 1
        if count > 1:
            why = 'There may be at most one condition with type "Issued", "Denied", or "Failed"'
            yield invalid(f"{path}.type", kind, why)
        if condition.get("status") != "True":
            yield not_supported(f"{path}.status", condition.get("status") or "", ("True",))


def final_of(request: Object) -> str:
    """Return which of the conditions that end a request holds, "" where none does."""
    holding = {one.get("type") for one in items(request, "status", "conditions") if one.get("status") == "True"}
    return next((kind for kind in ("Denied", "Failed", "Issued") if kind in holding), "")


def text_at(request: Object, *, key: str) -> str:
    return text(request, "spec", key)


def state_of(request: Object) -> str:
    kinds = [condition.get("type") for condition in items(request, "status", "conditions")]
    return next((kind for kind in ("Denied", "Failed", "Issued") if kind in kinds), "Pending")


def by_version(minor: int) -> dict[str, Any]:
    return {"validate": collect(partial(validate_request, stub=minor >= STUB_SINCE))}


def declared(version: str) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind="PodCertificateRequest",
        plural="podcertificaterequests",
        status=True,
        generation=False,
        default=default_request,
        prepare=prepare_request,
        by_version=by_version,
        validates={"status": collect(validate_status)},
        trusts_definition=False,
        columns=(
            NAME,
            Column("PodName", ".spec.podName"),
            Column("ServiceAccountName", ".spec.serviceAccountName"),
            Column("NodeName", ".spec.nodeName"),
            Column("SignerName", ".spec.signerName"),
            Column("State", state_of),
            AGE,
        ),
        field_selectors={f"spec.{key}": partial(text_at, key=key) for key in ("signerName", "podName", "nodeName")},
    )


RESOURCES = tuple(declared(version) for version in ("v1", "v1beta1", "v1alpha1"))
