"""Certificates of pods: a key of the pod's own, a PodCertificateRequest for it, and the chain that a signer answers with.

A key never leaves this process and the memory of the pod's volume; a node that starts again asks anew. ``of`` is called at
each look at a pod: it asks when there is nothing yet or when it is time for another, and what comes wakes the pod. A
request that was denied or has failed is the end of it. Source: KEP-4317; kubernetes pkg/kubelet/podcertificate.
"""

from __future__ import annotations

import asyncio
import base64
import datetime
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import SERVICE_ACCOUNTS
from sampan.node.environment import ConfigError
from sampan.node.patience import patiently
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
JITTER_SECONDS = 300.0
"""Pods that were given their certificates together do not ask for others together."""
LOST_SECONDS = 600.0
"""A request that is not seen for so long was deleted by somebody."""
KNOWN_SECONDS = 5.0
"""How long the API may take to list what was asked before."""
STUB_SINCE = 36
"""The version from which the key is shown as a PKCS#10 request, not by itself with a proof."""
RSA_BITS = {"RSA3072": 3072, "RSA4096": 4096}
CURVES = {"ECDSAP256": "SECP256R1", "ECDSAP384": "SECP384R1", "ECDSAP521": "SECP521R1"}
Tell = Callable[[str, str, str], None]
"""``(event type, reason, message)``, about the pod."""


@dataclass(frozen=True, slots=True)
class Credential:
    key: bytes
    chain: bytes
    refresh_at: float
    """By the clock on the wall, as the signer says it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that has no answer yet."""

    name: str
    key: bytes
    since: float


@dataclass(slots=True)
class Record:
    """What one source of one volume has."""

    credential: Credential | None = None
    asked: Asked | None = None
    refused: str = ""


def resource_of(minor: int) -> ResourceType:
    version = "v1" if minor >= 37 else "v1beta1" if minor >= 35 else "v1alpha1"
    return ResourceType("certificates.k8s.io", version, "podcertificaterequests", "PodCertificateRequest")


class PodCertificates:
    """``node`` is this node's object; ``changed`` is called with the uid of a pod whose request changed."""

    def __init__(
        self,
        client: Client,
        group: asyncio.TaskGroup,
        node: Callable[[], Object],
        minor: int,
        changed: Callable[[str], None],
        jitter_seconds: float = JITTER_SECONDS,
    ) -> None:
        self._client, self._group, self._node, self._minor = client, group, node, minor
        self._changed, self._jitter_seconds = changed, jitter_seconds
        self._resource = resource_of(minor)
        self._requests: Informer | None = None
        self._records: dict[tuple[str, str, int], Record] = {}

    def forget(self, uid: str) -> None:
        """Drop the keys of a pod that is gone."""
        for key in [key for key in self._records if key[0] == uid]:
            del self._records[key]

    async def of(self, pod: Object, volume: str, index: int, source: Object, tell: Tell) -> Credential:
        """Return the credential of a volume's source. Raises ``ConfigError`` while there is none, ``ApiError``."""
        metadata = pod["metadata"]
        requests = await self._followed()
        record = self._records.setdefault((metadata["uid"], volume, index), Record())
        if record.asked is not None:
            self._hear(record, requests.get(f"{metadata['namespace']}/{record.asked.name}"), metadata, tell)
        due = record.credential is None or time.time() >= record.credential.refresh_at
        if not record.refused and record.asked is None and due:
            record.asked = await self._ask(pod, source)
        if record.refused:
            raise ConfigError(record.refused)
        if record.credential is None:
            name = record.asked.name if record.asked is not None else ""
            raise ConfigError(f"PodCertificateRequest {metadata['namespace']}/{name} is not issued yet")
        return record.credential

    async def _followed(self) -> Informer:
        """Return the requests of this node's pods, followed since the first pod that wanted one."""
        if self._requests is None:
            name = self._node()["metadata"]["name"]
            requests = Informer(self._client, self._resource, field_selector=f"spec.nodeName={name}")
            requests.add_handler(lambda change, old, new: self._changed(new["spec"]["podUID"]))
            self._group.create_task(patiently(requests.run, "informer"), name="informer-podcertificaterequests")
            self._requests = requests
        try:
            async with asyncio.timeout(KNOWN_SECONDS):
                await self._requests.synced()
        except TimeoutError:
            raise ConfigError("the API does not tell of PodCertificateRequests") from None
        return self._requests

    def _hear(self, record: Record, request: Object | None, metadata: Object, tell: Tell) -> None:
        """Take over what became of a request."""
        asked = record.asked
        assert asked is not None
        if request is None:
            if time.monotonic() - asked.since > LOST_SECONDS:
                record.asked = None
            return
        where = f"{metadata['namespace']}/{asked.name}"
        for condition in (request.get("status") or {}).get("conditions") or ():
            if condition["type"] == "Issued":
                record.credential = self._credential(asked.key, request["status"])
                record.asked = None
            elif condition["type"] in ("Denied", "Failed"):
                what = "was denied" if condition["type"] == "Denied" else "failed"
                why = f'reason="{condition.get("reason", "")}", message="{condition.get("message", "")}"'
                record.refused = f"PodCertificateRequest {where} {what}, {why}"
                tell("Warning", condition["type"], record.refused)
                record.asked = None

    def _credential(self, key: bytes, status: Object) -> Credential:
        chain = "".join(f"{one}\n" for one in CERTIFICATE.findall(status["certificateChain"]))
        begin = datetime.datetime.fromisoformat(status["beginRefreshAt"]).timestamp()
        return Credential(key, chain.encode(), begin + random.uniform(0, self._jitter_seconds))  # not for secrets

    async def _ask(self, pod: Object, source: Object) -> Asked:
        metadata, spec = pod["metadata"], pod["spec"]
        account_name = spec.get("serviceAccountName") or "default"
        account = await self._client.get(SERVICE_ACCOUNTS, account_name, metadata["namespace"])
        node = self._node()["metadata"]
        key = await asyncio.to_thread(new_key, source["keyType"])
        wanted: Object = {
            "signerName": source["signerName"],
            "podName": metadata["name"],
            "podUID": metadata["uid"],
            "serviceAccountName": account_name,
            "serviceAccountUID": account["metadata"]["uid"],
            "nodeName": node["name"],
            "nodeUID": node["uid"],
            "maxExpirationSeconds": source.get("maxExpirationSeconds") or 86400,
        }
        if self._minor >= STUB_SINCE:
            wanted["stubPKCS10Request"] = base64.b64encode(stub_request(key)).decode()
        else:
            public, proof = shown(key, metadata["uid"].encode())
            wanted["pkixPublicKey"], wanted["proofOfPossession"] = (
                base64.b64encode(public).decode(),
                base64.b64encode(proof).decode(),
            )
        if source.get("userAnnotations"):
            wanted["unverifiedUserAnnotations"] = source["userAnnotations"]
        owner = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        request: Object = {
            "apiVersion": f"certificates.k8s.io/{self._resource.version}",
            "kind": "PodCertificateRequest",
            "metadata": {"generateName": "req-", "ownerReferences": [owner]},
            "spec": wanted,
        }
        made = await self._client.create(self._resource, request, metadata["namespace"])
        return Asked(made["metadata"]["name"], private_pem(key), time.monotonic())


def new_key(kind: str) -> CertificateIssuerPrivateKeyTypes:
    """Return a new private key of a projection's ``keyType``. Raises ``ConfigError`` for one that there is not."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if kind in RSA_BITS:
        return rsa.generate_private_key(65537, RSA_BITS[kind])
    if kind in CURVES:
        return ec.generate_private_key(getattr(ec, CURVES[kind])())
    if kind == "ED25519":
        return ed25519.Ed25519PrivateKey.generate()
    raise ConfigError(f'unknown key type "{kind}"')


def private_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def stub_request(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    """Return a PKCS#10 request without a subject, signed with the key: nothing but the key is asked about (DER)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, digest)
    return made.public_bytes(serialization.Encoding.DER)


def shown(key: CertificateIssuerPrivateKeyTypes, signed: bytes) -> tuple[bytes, bytes]:
    """Return the public key (PKIX, DER) and a signature that proves that the other half is here."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        return public, key.sign(signed, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return public, key.sign(signed, ec.ECDSA(digest))
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    return public, key.sign(signed)
