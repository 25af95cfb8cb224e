"""Certificates of pods: asked for once, taken when they are issued, renewed in time, given up when they are refused."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.resources import NODES, SERVICE_ACCOUNTS
from sampan.node.environment import ConfigError
from sampan.node.pod_certificates import PodCertificates, new_key, resource_of, shown, stub_request
from sampan.node.volumes.material import Sources, material_of

REQUESTS = resource_of(37)
POD: dict[str, Any] = {
    "metadata": {"name": "p", "namespace": "default", "uid": "u"},
    "spec": {"serviceAccountName": "robot", "containers": []},
}
SOURCE = {"signerName": "example.com/tests", "keyType": "ED25519", "maxExpirationSeconds": 3600}


class World:
    """A node's certificates before a real API, and the signer."""

    def __init__(self, client: LocalClient, certificates: PodCertificates, changed: asyncio.Event) -> None:
        self.client, self.certificates, self.changed = client, certificates, changed
        self.told: list[tuple[str, str, str]] = []

    async def of(self) -> Any:
        return await self.certificates.of(POD, "v", 0, SOURCE, lambda *words: self.told.append(words))

    async def asked(self, count: int = 1) -> dict[str, Any]:
        """Return the newest request once there are so many, and the node knows of it."""
        while True:
            found = (await self.client.list(REQUESTS, "default")).items
            if len(found) == count:
                await self.heard()
                return sorted(found, key=lambda one: int(one["metadata"]["resourceVersion"]))[-1]
            await asyncio.sleep(0)

    async def heard(self) -> None:
        async with asyncio.timeout(60):
            await self.changed.wait()
        self.changed.clear()

    async def answer(self, request: dict[str, Any], kind: str) -> None:
        condition = {"type": kind, "status": "True", "reason": "Because", "message": "I say so"}
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        status: dict[str, Any] = {"conditions": [{**condition, "lastTransitionTime": stamp(now)}]}
        if kind == "Issued":
            end, refresh = now + datetime.timedelta(hours=1), now + datetime.timedelta(seconds=1000)
            begin = now
            asked = x509.load_der_x509_csr(base64.b64decode(request["spec"]["stubPKCS10Request"]))
            name = x509.Name([])
            made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(asked.public_key())
            made = made.serial_number(1).not_valid_before(begin).not_valid_after(end)
            chain = made.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
            status |= {
                "certificateChain": "said by a signer\n" + chain.public_bytes(serialization.Encoding.PEM).decode(),
                "notBefore": stamp(begin),
                "beginRefreshAt": stamp(refresh),
                "notAfter": stamp(end),
            }
        await self.client.patch(
            REQUESTS, request["metadata"]["name"], {"status": status}, "default", type="merge", subresource="status"
        )
        await self.heard()


def stamp(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
async def world(local_api: Api) -> AsyncIterator[World]:
    client = LocalClient(local_api, User("admin", ("system:masters", "system:authenticated")))
    node = await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}})
    namespace = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"}}
    await client.create(SERVICE_ACCOUNTS, namespace, "default")
    changed, ended = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with asyncio.TaskGroup() as group:
            made = PodCertificates(client, group, lambda: node, 37, lambda uid: changed.set(), jitter_seconds=0)
            ready.set_result(World(client, made, changed))
            await ended.wait()
            raise asyncio.CancelledError

    ready: asyncio.Future[World] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(live())
    yield await ready
    ended.set()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_certificate_is_waited_for_taken_and_renewed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"PodCertificateRequest default/req-\w+ is not issued yet"):
        await world.of()
    request = await world.asked()
    spec = request["spec"]
    assert (spec["podUID"], spec["serviceAccountName"], spec["nodeName"]) == ("u", "robot", "n")
    assert request["metadata"]["ownerReferences"][0]["uid"] == "u"
    with pytest.raises(ConfigError, match="not issued yet"):
        await world.of()
    await world.answer(request, "Issued")
    first = await world.of()
    assert first.chain.startswith(b"-----BEGIN CERTIFICATE-----") and first.key.startswith(
        b"-----BEGIN PRIVATE KEY-----"
    )
    with monkeypatch.context() as later:
        later.setattr(time, "time", lambda now=time.time: now() + 2000)
        assert await world.of() == first, "which it has until the other comes"
        second = await world.asked(2)
    await world.answer(second, "Issued")
    renewed = await world.of()
    assert renewed.key != first.key and await world.of() == renewed
    assert len((await world.client.list(REQUESTS, "default")).items) == 2
    world.certificates.forget("u")
    with pytest.raises(ConfigError, match="not issued yet"):
        await world.of()


@pytest.mark.parametrize(("kind", "words"), [("Denied", "was denied"), ("Failed", "failed")])
async def test_a_refusal_is_final_and_told(world: World, kind: str, words: str) -> None:
    with pytest.raises(ConfigError):
        await world.of()
    await world.answer(await world.asked(), kind)
    for _ in range(2):
        with pytest.raises(ConfigError, match=f'{words}, reason="Because", message="I say so"'):
            await world.of()
    assert [(one[0], one[1]) for one in world.told] == [("Warning", kind)]
    assert len((await world.client.list(REQUESTS, "default")).items) == 1


async def test_files_of_a_certificate() -> None:
    async def certificate_for(index: int, source: Any) -> tuple[bytes, bytes]:
        assert (index, source["signerName"]) == (1, "s")
        return b"key\n", b"chain\n"

    async def token_for(audience: str, seconds: int) -> str:
        return ""

    wanted = {"signerName": "s", "credentialBundlePath": "both", "keyPath": "k", "certificateChainPath": "c"}
    items = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    sources = [{"downwardAPI": {"items": items}}, {"podCertificate": wanted}]
    volume = {"name": "v", "projected": {"sources": sources}}
    files = await material_of(volume, POD, Sources(lambda *_: None, token_for, {}, certificate_for=certificate_for))
    assert {name: file.content for name, file in files.items()} == {
        "name": b"p", "both": b"key\nchain\n", "k": b"key\n", "c": b"chain\n"
    }  # fmt: skip
    assert files["k"].mode == 0o644
    wanted["user"] = 1000  # type: ignore[assignment]
    files = await material_of(volume, POD, Sources(lambda *_: None, token_for, {}, certificate_for=certificate_for))
    assert (files["k"].mode, files["k"].user) == (0o600, 1000)


@pytest.mark.parametrize("kind", ["RSA3072", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"])
def test_keys_are_shown_with_a_proof(kind: str) -> None:
    key = new_key(kind)
    assert x509.load_der_x509_csr(stub_request(key)).is_signature_valid
    public, proof = shown(key, b"uid")
    loaded = serialization.load_der_public_key(public)
    if isinstance(loaded, rsa.RSAPublicKey):
        digest = hashes.SHA256()
        loaded.verify(proof, b"uid", padding.PSS(padding.MGF1(digest), padding.PSS.AUTO), digest)
    elif isinstance(loaded, ec.EllipticCurvePublicKey):
        loaded.verify(proof, b"uid", ec.ECDSA(hashes.SHA256()))
    else:
        assert isinstance(loaded, ed25519.Ed25519PublicKey)
        loaded.verify(proof, b"uid")


def test_a_key_type_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match='unknown key type "RSA512"'):
        new_key("RSA512")
