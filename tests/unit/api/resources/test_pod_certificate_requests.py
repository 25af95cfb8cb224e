"""What a node may ask a signer for, and what a signer may answer."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sampan.api.resources import issued_certificates

from .conftest import causes, declared

NAME = x509.Name([])
P256 = ec.generate_private_key(ec.SECP256R1())
SIGNED = b"uid"
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def spki(key: Any) -> str:
    return b64(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def csr(key: Any, *, broken: bool = False) -> str:
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, algorithm).public_bytes(Encoding.DER)
    return b64(made[:-1] + bytes((made[-1] ^ 1,)) if broken else made)


def request(**spec: Any) -> dict[str, Any]:
    named = {"podName": "p", "podUID": "uid", "serviceAccountName": "s", "serviceAccountUID": "2"}
    named |= {"nodeName": "n", "nodeUID": "3", "signerName": "example.com/s", "stubPKCS10Request": csr(P256)}
    spec = {key: value for key, value in (named | spec).items() if value is not None}
    return {"kind": "PodCertificateRequest", "metadata": {"name": "r"}, "spec": spec}


def told(obj: dict[str, Any], old: dict[str, Any] | None = None, status: str = "", minor: int = 37) -> dict[str, str]:
    found = declared("PodCertificateRequest", "certificates.k8s.io", "v1", minor)
    return {field.removeprefix("spec."): said for field, said in causes(found, obj, old, status).items()}


NOT_ONE = "Invalid value: exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set"
BITS = 'Invalid value: "{}-bit modulus": RSA keys must have modulus size 3072 or 4096'
UNKNOWN = "Invalid value: unknown public key type; supported types are Ed25519, ECDSA, and RSA"
TOO_LONG = "Too long: may not be more than 10240 bytes"
P224 = ec.generate_private_key(ec.SECP224R1())
ED = ed25519.Ed25519PrivateKey.generate()


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def proven(key: Any, proof: bytes) -> dict[str, Any]:
    return {"stubPKCS10Request": None, "pkixPublicKey": spki(key), "proofOfPossession": b64(proof)}


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({}, {}),
        (lambda: {"stubPKCS10Request": csr(rsa_key(3072))}, {}),
        ({"stubPKCS10Request": csr(ED)}, {}),
        ({"stubPKCS10Request": None}, {"spec": NOT_ONE}),
        ({"pkixPublicKey": "eA=="}, {"spec": NOT_ONE}),
        ({"stubPKCS10Request": "eA=="}, {"stubPKCS10Request": "Invalid value: must be a valid PKCS#10 CSR"}),
        ({"stubPKCS10Request": b64(b"x" * 10241)}, {"stubPKCS10Request": TOO_LONG}),
        (lambda: {"stubPKCS10Request": csr(rsa_key(2048))}, {"stubPKCS10Request": BITS.format(2048)}),
        (
            {"stubPKCS10Request": csr(P224)},
            {
                "stubPKCS10Request": 'Invalid value: "curve P-224": '
                "elliptic public keys must use curve P256, P384, or P521"
            },
        ),
        ({"stubPKCS10Request": csr(P256, broken=True)}, {"stubPKCS10Request": "Invalid value: invalid signature"}),
        (proven(ED, ED.sign(SIGNED)), {}),
        (proven(P256, P256.sign(SIGNED, ec.ECDSA(hashes.SHA256()))), {}),
        (lambda: proven(rsa_key(3072), rsa_key(3072).sign(SIGNED, PSS, hashes.SHA256())), {}),
        (
            proven(ED, b"no"),
            {"proofOfPossession": "Invalid value: could not verify proof-of-possession signature"},
        ),
        (lambda: proven(rsa_key(2048), b"x"), {"pkixPublicKey": BITS.format(2048)}),
        (proven(ED, b"x" * 10241), {"proofOfPossession": TOO_LONG}),
        (proven(x25519.X25519PrivateKey.generate(), b"x"), {"pkixPublicKey": UNKNOWN}),
        (
            {**proven(ED, b"x"), "pkixPublicKey": "eA=="},
            {"pkixPublicKey": 'Invalid value: "eA==": must be a valid PKIX-serialized public key'},
        ),
        ({"podUID": None}, {"podUID": 'Invalid value: "": must not be empty'}),
        ({"nodeUID": "x" * 129}, {"nodeUID": "Too long: may not be more than 128 bytes"}),
        (
            {"unverifiedUserAnnotations": {"a": "b", "EXAMPLE.com/a": "c"}},
            {"unverifiedUserAnnotations": 'Invalid value: "a": must be a domain-prefixed key (such as "acme.io/foo")'},
        ),
        (
            {"signerName": "kubernetes.io/x", "maxExpirationSeconds": 86401},
            {"maxExpirationSeconds": "Invalid value: 86401: must be in the range [3600, 86400]"},
        ),
        ({"maxExpirationSeconds": 86401}, {}),
        (
            {"signerName": "a/x"},
            {"signerName": 'Invalid value: "a": should be a domain with at least two segments separated by dots'},
        ),
    ],
)
def test_what_is_asked_for(made: Any, said: dict[str, str]) -> None:
    """``made``: fields of the spec, or what makes them."""
    assert told(request(**(made() if callable(made) else made))) == said


def test_before_requests_of_their_own_there_were_keys() -> None:
    assert told(request(**proven(ED, ED.sign(SIGNED))), minor=35) == {}
    missing = told(request(stubPKCS10Request=None), minor=35)
    assert missing == {"pkixPublicKey": "Invalid value: null: must be a valid PKIX-serialized public key"}


# the answer

NOW = datetime.now(UTC).replace(microsecond=0)


class Stopped(datetime):
    """A clock that stands still."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return NOW


def certificate(
    key: Any = P256, begins: datetime = NOW, lasts: timedelta = timedelta(hours=2), dns: str = "a.b"
) -> str:
    builder = x509.CertificateBuilder().subject_name(NAME).issuer_name(NAME).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(begins).not_valid_after(begins + lasts)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(dns)]), critical=False)
    return builder.sign(P256, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def condition(kind: str = "Issued", **parts: Any) -> dict[str, Any]:
    return {"type": kind, "status": "True", "reason": "R", "lastTransitionTime": when(NOW), **parts}


def when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def status(chain: str = "", lasts: timedelta = timedelta(hours=2), **parts: Any) -> dict[str, Any]:
    made = {
        "conditions": [condition()],
        "certificateChain": chain or certificate(lasts=lasts),
        "notBefore": when(NOW),
        "notAfter": when(NOW + lasts),
        "beginRefreshAt": when(NOW + lasts / 2),
    }
    return {key: value for key, value in (made | parts).items() if value is not None}


CHAIN = "status.certificateChain"
NOT_BLOCKS = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks"
OTHER = "-----BEGIN X-----\neA==\n-----END X-----\n"


@pytest.mark.parametrize(
    ("answered", "field", "why"),
    [
        (status(), "", ""),
        (status(certificate() + certificate()), "", ""),
        (status("none"), CHAIN, "issued certificate chain must contain at least one certificate"),
        (status(OTHER), CHAIN, NOT_BLOCKS),
        (status(OTHER.replace(" X-", " CERTIFICATE-")), CHAIN, "leaf certificate does not parse as valid X.509"),
        (status(certificate(ED)), CHAIN, "leaf certificate was not issued to the requested public key"),
        (status(certificate(dns=".a")), CHAIN, "leaf certificate's DNSName should not start or end with '.'"),
        (
            status(certificate() + OTHER),
            CHAIN,
            "issued certificate chain must consist entirely of CERTFICATE PEM blocks",
        ),
        (status(notBefore=None), "status.notBefore", "must be present and consistent with the issued certificate"),
        (
            status(notAfter=when(NOW)),
            "status.notAfter",
            "must be set to the NotAfter time encoded in the leaf certificate",
        ),
        (status(lasts=timedelta(minutes=59)), CHAIN, "leaf certificate lifetime must be >= 1 hour"),
        (
            status(lasts=timedelta(days=2)),
            CHAIN,
            "leaf certificate lifetime must be <= spec.maxExpirationSeconds (86400)",
        ),
        (
            status(beginRefreshAt=when(NOW)),
            "status.beginRefreshAt",
            "must be at least 10 minutes after status.notBefore",
        ),
        (
            status(certificate(begins=NOW - timedelta(minutes=6)), notBefore=when(NOW - timedelta(minutes=6))),
            "status.notBefore",
            "must be set to within 5 minutes of kube-apiserver's current time",
        ),
        ({"conditions": [condition("Denied")]}, "", ""),
        (
            status(conditions=[condition("Failed")]),
            "status",
            "non-condition status fields must be empty when denying or failing the PodCertificateRequest",
        ),
        (
            {"certificateChain": "x"},
            "status",
            'status is immutable unless transitioning to "Issued", "Denied", or "Failed"',
        ),
        (
            {"conditions": [condition(), condition("Denied")]},
            "status.conditions.[1].type",
            'There may be at most one condition with type "Issued", "Denied", or "Failed"',
        ),
        ({"conditions": [condition(status="False")]}, "status.conditions.[0].status", 'supported values: "True"'),
        (
            {"conditions": [condition("Maybe")]},
            "status.conditions.[0].type",
            'supported values: "Issued", "Denied", "Failed"',
        ),
        ({"conditions": [condition(reason="")]}, "status.conditions[0].reason", "Required value"),
    ],
)
def test_what_is_answered(answered: dict[str, Any], field: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issued_certificates, "datetime", Stopped)  # the answers were made when the tests were collected
    old = request()
    found = told({**old, "status": answered}, old, "status")
    assert list(found) == ([field] if field else [])
    assert all(said.endswith(why) for said in found.values())


def test_what_was_answered_stays() -> None:
    old = {**request(), "status": {"conditions": [condition("Denied")]}}
    assert told(old, old, "status") == {}
    new = {**old, "status": {"conditions": [condition("Denied", message="x")]}}
    assert told(new, old, "status") == {
        "status": "Invalid value: immutable after PodCertificateRequest is issued, denied, or failed"
    }
