"""Certificates and authorities that objects refer to: whether the reference holds, and the name Envoy asks for (SDS).

A listener or a cluster carries only the name; the content is a resource of its own (``secret_of``), so that a rotation
touches no listener and no connection. Source: Gateway API v1, SecretObjectReference and FrontendTLSValidation; GEP-1897.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from sampan.gateway.model.grants import granted
from sampan.gateway.model.verdicts import Unresolved
from sampan.gateway.model.world import Surroundings, World
from sampan.schema.objects import Object

SERVED = "ServedCertificate"
"""Of the world: whether Envoy was told a certificate, by its SDS name."""
CERTIFICATE, AUTHORITIES, GENERIC = "certificate ", "authorities ", "generic "


def certificate(world: World, kind: str, namespace: str, reference: Object, reason: str, *, keeps: bool = False) -> str:
    """Return the SDS name of the certificate an object of ``kind`` in ``namespace`` refers to. ``keeps``: also where the
    Secret is broken now, and Envoy has what it held before.

    Raises ``Unresolved`` with ``reason``, or ``RefNotPermitted``."""
    name = reference["name"]
    if reference.get("group", "") not in ("", "core") or reference.get("kind", "Secret") != "Secret":
        raise Unresolved(reason, f"{reference.get('kind')} {name}: only Secrets hold certificates")
    target = reference.get("namespace") or namespace
    if not granted(world, kind, namespace, "Secret", target, name):
        raise Unresolved("RefNotPermitted", f"no ReferenceGrant of {target} permits the Secret {name}")
    secret = world.get("Secret", f"{target}/{name}")
    if secret is None:
        raise Unresolved(reason, no_secret(world.surroundings, f"{target}/{name}"))
    problem = pair_problem(field(secret, "tls.crt"), field(secret, "tls.key"))
    sds_name = f"{CERTIFICATE}{target}/{name}"
    if problem and not (keeps and world.get(SERVED, sds_name)):
        raise Unresolved(reason, f"Secret {target}/{name}: {problem}")
    return sds_name


def no_secret(surroundings: Surroundings, key: str) -> str:
    """Return why there is no Secret of that key for us."""
    read = surroundings.secret_namespaces
    if read and key.partition("/")[0] not in read:
        return f"Secret {key}: this gateway reads no Secrets of that namespace, only of {', '.join(sorted(read))}"
    return f"Secret {key} does not exist"


def field(obj: Object, name: str) -> bytes:
    """Return a field of a Secret or ConfigMap as bytes, empty when it is not there or no base64."""
    if name in (obj.get("binaryData") or {}):
        obj = {"data": obj["binaryData"], "kind": "Secret"}
    text = (obj.get("data") or {}).get(name) or ""
    if obj.get("kind") == "ConfigMap":
        return str(text).encode()
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


@lru_cache(1024)
def pair_problem(chain: bytes, key: bytes) -> str:
    """Return why a certificate chain and a private key are none, ``""`` when they are."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificates

    if not chain or not key:
        return "it has no tls.crt or no tls.key"
    try:
        certificates = load_pem_x509_certificates(chain)
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        return f"tls.crt and tls.key are not a PEM certificate and key: {str(error).splitlines()[0][:120]}"
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    public = private.public_key().public_bytes(*form)
    places = [number for number, one in enumerate(certificates, 1) if one.public_key().public_bytes(*form) == public]
    if not places:
        return "tls.key is not the key of the certificate in tls.crt"
    if places[0] > 1:
        return f"the certificate of tls.key is the {places[0]}. in tls.crt: it must be the first, before those that issued it"
    return ""


class Chain(NamedTuple):
    """What is known of a chain that is well formed."""

    begins: float
    """Seconds since the epoch."""
    ends: float
    stranger: int
    """The place of the first certificate that has not issued the one before it; 0: there is none."""


@lru_cache(1024)
def chain_of(content: bytes) -> Chain:
    from cryptography.x509 import load_pem_x509_certificates

    found = load_pem_x509_certificates(content)
    strangers = (place for place, (one, above) in enumerate(pairwise(found), 2) if one.issuer != above.subject)
    leaf = found[0]
    return Chain(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp(), next(strangers, 0))


def certificate_concern(world: World, name: str) -> str:
    """Return what is to be said against a certificate that is served all the same, by its SDS name; ``""``: nothing."""
    key = name.removeprefix(CERTIFICATE)
    secret = world.get("Secret", key)
    if secret is None:
        return ""
    problem = pair_problem(field(secret, "tls.crt"), field(secret, "tls.key"))
    if problem:
        return f"Secret {key}: {problem}; what it held before is served"
    chain = chain_of(field(secret, "tls.crt"))
    if not world.passed(chain.begins):
        return f"Secret {key}: the certificate is not valid before {moment(chain.begins)}"
    if world.passed(chain.ends):
        return f"Secret {key}: the certificate has expired at {moment(chain.ends)}"
    if chain.stranger:
        return f"Secret {key}: the {chain.stranger}. certificate in tls.crt has not issued the one before it"
    return ""


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(1024)
def authority_problem(content: bytes) -> str:
    """Return why a bundle of authorities is none."""
    from cryptography.x509 import load_pem_x509_certificates

    if not content:
        return "it has no ca.crt"
    try:
        load_pem_x509_certificates(content)
    except ValueError:
        return "ca.crt has no PEM certificate"
    return ""


def authorities(
    world: World, kind: str, namespace: str, references: list[Object], bad_kind: str, bad_reference: str
) -> tuple[str, list[Unresolved]]:
    """Return the SDS name of the bundle that all well references make (``""``: none is well), and what is wrong with others.

    ``bad_kind`` and ``bad_reference`` are the reasons for a kind that holds no authorities and for content that is none."""
    good: list[str] = []
    problems: list[Unresolved] = []
    for reference in references:
        name, target_kind = reference["name"], reference.get("kind", "ConfigMap")
        target = reference.get("namespace") or namespace
        if reference.get("group", "") not in ("", "core") or target_kind not in ("ConfigMap", "Secret"):
            problems.append(Unresolved(bad_kind, f"{target_kind} {name}: only ConfigMaps and Secrets hold authorities"))
            continue
        if not granted(world, kind, namespace, target_kind, target, name):
            message = f"no ReferenceGrant of {target} permits the {target_kind} {name}"
            problems.append(Unresolved("RefNotPermitted", message))
            continue
        obj = world.get(target_kind, f"{target}/{name}")
        if obj is None and target_kind == "Secret":
            problems.append(Unresolved(bad_reference, no_secret(world.surroundings, f"{target}/{name}")))
            continue
        problem = (
            "it does not exist" if obj is None else authority_problem(field({**obj, "kind": target_kind}, "ca.crt"))
        )
        if problem:
            problems.append(Unresolved(bad_reference, f"{target_kind} {target}/{name}: {problem}"))
        else:
            good.append(f"{target_kind} {target}/{name}")
    return (AUTHORITIES + ",".join(good) if good else ""), problems


def generic(world: World, key: str, entry: str, otherwise: str = "") -> bytes:
    """Return what a Secret has under an entry; where it has nothing there, a key made of ``otherwise``, which it has."""
    secret = world.get("Secret", key) or {}
    content = field(secret, entry)
    if content or not otherwise or not (seed := field(secret, otherwise)):
        return content
    return hmac.new(seed, f"sampan {entry}".encode(), hashlib.sha256).hexdigest().encode()


def secret_of(world: World, name: str) -> dict[str, Any] | None:
    """Return Envoy's ``Secret`` message for an SDS name, None when its source is gone."""
    if name.startswith(CERTIFICATE):
        secret = world.get("Secret", name.removeprefix(CERTIFICATE))
        if secret is None or pair_problem(field(secret, "tls.crt"), field(secret, "tls.key")):
            return None
        pair = {
            "certificate_chain": {"inline_bytes": field(secret, "tls.crt")},
            "private_key": {"inline_bytes": field(secret, "tls.key")},
        }
        return {"name": name, "tls_certificate": pair}
    if name.startswith(GENERIC):
        content = generic(world, *name.removeprefix(GENERIC).split(" "))
        return {"name": name, "generic_secret": {"secret": {"inline_bytes": content}}} if content else None
    bundle = []
    for entry in name.removeprefix(AUTHORITIES).split(","):
        kind, _, key = entry.partition(" ")
        obj = world.get(kind, key)
        content = field({**obj, "kind": kind}, "ca.crt") if obj is not None else b""
        if not authority_problem(content):
            bundle.append(content.rstrip(b"\n"))
    return (
        {"name": name, "validation_context": {"trusted_ca": {"inline_bytes": b"\n".join(bundle)}}} if bundle else None
    )
