"""Encryption at rest: what is on the disk, in etcd, and what happens when keys change."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from sampan.store import Put, StoreError
from sampan.store import etcd_pb2 as pb
from sampan.store.encryption import IDENTITY, parse, read, resource_of
from sampan.store.etcd import EtcdStore
from sampan.store.sqlite import SqliteStore

SECRET = b'{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"password":"aHVudGVyMg=="}}'
KEY = "/registry/secrets/default/s"
KINDS = ("aescbc", "aesgcm", "secretbox")


def key(name: str, byte: int = 1, size: int = 32) -> dict[str, str]:
    return {"name": name, "secret": base64.b64encode(bytes([byte]) * size).decode()}


def configuration(*providers: dict[str, Any], resources: tuple[str, ...] = ("secrets",)) -> dict[str, Any]:
    rule = {"resources": list(resources), "providers": list(providers)}
    return {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration", "resources": [rule]}


def one(kind: str, name: str = "key1", byte: int = 1) -> dict[str, Any]:
    return {kind: {"keys": [key(name, byte)]}}


@given(value=st.binary(), kind=st.sampled_from(KINDS))
def test_what_is_sealed_opens(value: bytes, kind: str) -> None:
    encryption = parse(configuration(one(kind)))
    sealed = encryption.seal(KEY, value)
    assert sealed.startswith(f"k8s:enc:{kind}:v1:key1:".encode()) and sealed != encryption.seal(KEY, value)
    assert encryption.open(KEY, sealed) == value


@given(data=st.binary(max_size=80), kind=st.sampled_from(KINDS))
def test_damaged_data_is_named(data: bytes, kind: str) -> None:
    encryption = parse(configuration(one(kind)))
    try:
        encryption.open(KEY, f"k8s:enc:{kind}:v1:key1:".encode() + data)
    except StoreError as error:
        assert KEY in str(error)


def test_aescbc_has_kubernetes_form() -> None:
    """The IV, then AES-CBC with PKCS#7 padding: what openssl, or kube-apiserver, would read."""
    sealed = parse(configuration(one("aescbc"))).seal(KEY, b"0123456789abcdefX")
    body = sealed.removeprefix(b"k8s:enc:aescbc:v1:key1:")
    decryptor = Cipher(algorithms.AES(b"\1" * 32), modes.CBC(body[:16])).decryptor()
    assert decryptor.update(body[16:]) + decryptor.finalize() == b"0123456789abcdefX" + b"\x0f" * 15


def test_aesgcm_is_bound_to_its_key() -> None:
    encryption = parse(configuration(one("aesgcm")))
    with pytest.raises(StoreError, match="cannot be decrypted"):
        encryption.open("/registry/secrets/default/other", encryption.seal(KEY, b"x"))


@pytest.mark.parametrize(
    ("resources", "at", "sealed"),
    [
        (["secrets"], "/registry/secrets/default/s", True),
        (["secrets"], "/registry/configmaps/default/s", False),
        (["services"], "/registry/services/specs/default/s", True),
        (["endpoints"], "/registry/services/endpoints/default/s", True),
        (["nodes"], "/registry/minions/n", True),
        (["deployments.apps"], "/registry/deployments/default/d", True),
        (["deployments"], "/registry/deployments/default/d", False),
        (["*.apps"], "/registry/deployments/default/d", True),
        (["*.apps"], "/registry/secrets/default/d", False),
        (["*."], "/registry/secrets/default/d", True),
        (["*."], "/registry/deployments/default/d", False),
        (["*.*"], "/registry/stable.example.com/crontabs/default/c", True),
        (["crontabs.stable.example.com"], "/registry/stable.example.com/crontabs/default/c", True),
    ],
)
def test_rules_name_resources(resources: list[str], at: str, sealed: bool) -> None:
    encryption = parse(configuration(one("aesgcm"), resources=tuple(resources)))
    assert encryption.seal(at, b"{}").startswith(b"k8s:enc:") is sealed


def test_the_first_rule_decides() -> None:
    two = configuration({"identity": {}})
    two["resources"].append(configuration(one("aesgcm"), resources=("*.*",))["resources"][0])
    encryption = parse(two)
    assert encryption.seal(KEY, b"{}") == b"{}" and encryption.seal("/registry/pods/a/b", b"{}") != b"{}"
    assert resource_of("/registry/pods/a/b") == ("pods", "") and IDENTITY.seal(b"x", b"") == b"x"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"kind": "Pod"}, "kind"),
        ({**configuration(), "apiVersion": "v1"}, "apiVersion"),
        ({**configuration(), "resources": []}, "resources: Required"),
        (configuration(), r"resources\[0\].providers: Required"),
        (configuration({"kms": {"name": "x"}}), r"providers\[0\].kms: Unsupported"),
        (configuration({"aescbc": {"keys": []}}), r"aescbc.keys: Required"),
        (configuration({"aescbc": {"keys": [key("a:b")]}}), r"keys\[0\].name"),
        (configuration({"aescbc": {"keys": [key("a", size=5)]}}), "5 bytes, aescbc wants 16, 24, 32"),
        (configuration({"aesgcm": {"keys": [{"name": "a", "secret": "!"}]}}), "not base64"),
        (configuration({"identity": {}}, resources=("pods*",)), r"resources\[0\].resources: Invalid"),
        (configuration({"identity": {}, "aescbc": {}}), "exactly one of"),
    ],
)
def test_a_wrong_configuration_is_named(broken: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        parse(broken)
    (tmp_path / "e.yaml").write_text(str(broken))
    with pytest.raises(StoreError, match=r"e\.yaml: "):
        read(tmp_path / "e.yaml")


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))


async def test_nothing_readable_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = SqliteStore(path, encryption=parse(configuration(one("aesgcm"))))
    (record,) = await store.commit([Put(KEY, SECRET, 0)])
    assert b"aHVudGVyMg" in record.value and b"aHVudGVyMg" not in on_disk(path)
    await store.close()
    again = SqliteStore(path, encryption=parse(configuration(one("aesgcm"))))
    assert again.get(KEY) == record
    await again.close()
    with pytest.raises(StoreError, match=r"secrets/default/s is encrypted \(k8s:enc:aesgcm:v1:key1\).*no key"):
        SqliteStore(path)
    with pytest.raises(StoreError, match="cannot be decrypted"):
        SqliteStore(path, encryption=parse(configuration(one("aesgcm", byte=2))))


async def test_what_was_readable_is_sealed_at_the_next_start_and_back(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    store = SqliteStore(path)
    await store.commit([Put(KEY, SECRET, 0)])
    (record,) = await store.commit([Put(KEY, SECRET)])
    await store.close()
    assert b"aHVudGVyMg" in on_disk(path)
    for providers, readable in [
        ((one("aescbc", "old"), {"identity": {}}), False),
        ((one("secretbox", "new", 2), one("aescbc", "old")), False),
        (({"identity": {}}, one("secretbox", "new", 2)), True),
    ]:
        store = SqliteStore(path, encryption=parse(configuration(*providers)))
        assert store.get(KEY) == record
        assert (b"aHVudGVyMg" in on_disk(path)) is readable, providers
        await store.close()
    store = SqliteStore(path)
    assert store.get(KEY) == record
    await store.close()


async def test_etcd_holds_what_kube_apiserver_would_read(etcd_url: str) -> None:
    plain = await EtcdStore.open(etcd_url)
    await plain.commit([Put(KEY, SECRET, 0)])
    encryption = parse(configuration(one("aesgcm"), {"identity": {}}))
    store = await EtcdStore.open(etcd_url, encryption=encryption)
    found = await store._client.range(pb.RangeRequest(key=f"{store.address.root}secrets/default/s".encode()))
    sealed = found.kvs[0].value
    assert sealed.startswith(b"k8s:enc:aesgcm:v1:key1:")
    assert encryption.open(KEY, sealed, found.kvs[0].key) == SECRET
    await store.fresh()
    record = store.get(KEY)
    assert record is not None and b"aHVudGVyMg" in record.value
    await store.close()
    await plain.close()
