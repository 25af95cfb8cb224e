"""RBAC rules, certificate subjects, protobuf bodies: the pure parts of identity and of the edge."""

from __future__ import annotations

import datetime
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import policy_roles, wire
from sampan.api.authz.coverage import Held
from sampan.api.der import subject
from sampan.api.rbac import Policy, path_allows, rule_allows
from sampan.api.request import Attributes, User
from sampan.schema import go_fields


def certificate(*attributes: tuple[x509.ObjectIdentifier, str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(x509.Name([])).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_the_subject_of_a_certificate() -> None:
    der = certificate(
        (NameOID.ORGANIZATION_NAME, "system:masters"),
        (NameOID.ORGANIZATION_NAME, "café"),
        (NameOID.COMMON_NAME, "admin"),
    )
    assert subject(der) == ("admin", ("system:masters", "café"))


@given(st.binary(max_size=60))
def test_no_bytes_break_the_certificate_reader(data: bytes) -> None:
    try:
        subject(data)
    except ValueError:
        pytest.fail("the reader must not raise")


def test_rules() -> None:
    rule = {"apiGroups": [""], "resources": ["pods", "*/scale"], "verbs": ["get"], "resourceNames": []}
    assert rule_allows(rule, "get", "", "pods", "", "x")
    assert rule_allows(rule, "get", "", "deployments", "scale", "x")
    assert not rule_allows(rule, "get", "", "pods", "log", "x")
    assert not rule_allows({**rule, "resourceNames": ["a"]}, "get", "", "pods", "", "b")
    assert path_allows({"nonResourceURLs": ["/healthz/*"], "verbs": ["get"]}, "get", "/healthz/ping")
    assert not path_allows({"nonResourceURLs": ["/healthz"], "verbs": ["get"]}, "get", "/healthz/ping")


def policy() -> Policy:
    roles = {role["metadata"]["name"]: role for role in policy_roles.cluster_roles()}
    return Policy(roles, {}, list(policy_roles.bindings()), [])


@pytest.mark.parametrize(
    ("user", "groups", "verb", "group", "resource", "allowed"),
    [
        ("system:kube-scheduler", (), "create", "", "pods/binding", True),
        ("system:kube-scheduler", (), "delete", "", "nodes", False),
        ("system:node:n", ("system:nodes",), "patch", "", "pods/status", False),
        ("system:sampan-gateway", (), "update", "gateway.networking.k8s.io", "gateways/status", True),
        ("system:sampan-dns", (), "list", "", "secrets", False),
        ("system:serviceaccount:kube-system:job-controller", (), "create", "", "pods", True),
    ],
)
def test_bootstrap_policy(
    user: str, groups: tuple[str, ...], verb: str, group: str, resource: str, allowed: bool
) -> None:
    main, _, sub = resource.partition("/")
    compiled = policy().compile(User(user, (*groups, "system:authenticated")))
    assert bool(compiled.cluster.allow(Attributes(User(user), verb, "", group, "v1", main, sub))) is allowed


def test_aggregated_roles_are_written_as_they_are_computed() -> None:
    found = policy()
    for name in ("view", "edit", "admin"):
        stored = found.cluster_roles[name]["rules"]
        assert covered_all(stored, found.cluster_role_rules(name)) and covered_all(
            found.cluster_role_rules(name), stored
        )


def covered_all(wanted: list[Any], held: list[Any]) -> bool:
    return all(map(Held(held).cover, wanted))


def message(*fields: tuple[int, bytes | int]) -> bytes:
    data = b""
    for number, value in fields:
        if isinstance(value, int):
            data += varint(number << 3) + varint(value)
        else:
            data += varint(number << 3 | 2) + varint(len(value)) + value
    return data


def varint(value: int) -> bytes:
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def unknown(api_version: str, kind: str, raw: bytes) -> bytes:
    return wire.MAGIC + message((1, message((1, api_version.encode()), (2, kind.encode()))), (2, raw))


def test_a_protobuf_body_becomes_json() -> None:
    labels = message((1, b"app"), (2, b"web"))
    created = message((1, 1_700_000_000), (2, 0))
    metadata = message((1, b"p"), (2, b""), (8, created), (11, labels))
    limit = message((1, b"cpu"), (2, message((1, b"500m"))))
    container = message((1, b"c"), (2, b"i"), (8, message((1, limit))), (16, 0))
    volume = message((1, b"v"), (2, message((2, b""))))
    pod = message((1, metadata), (2, message((1, volume), (2, container), (21, 0))))
    made = orjson.loads(wire.to_json(unknown("v1", "Pod", pod)))
    assert made["kind"] == "Pod" and made["apiVersion"] == "v1"
    assert made["metadata"] == {"name": "p", "creationTimestamp": "2023-11-14T22:13:20Z", "labels": {"app": "web"}}
    assert made["spec"]["containers"][0] == {"name": "c", "image": "i", "resources": {"limits": {"cpu": "500m"}}}
    assert made["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_zero_of_a_pointer_is_kept() -> None:
    deployment = message((2, message((1, 0))))
    assert orjson.loads(wire.to_json(unknown("apps/v1", "Deployment", deployment)))["spec"] == {"replicas": 0}


def test_unknown_kinds_and_no_protobuf_are_refused() -> None:
    with pytest.raises(wire.WireError, match='no kind "Foo" is registered'):
        wire.to_json(unknown("v1", "Foo", b""))
    with pytest.raises(wire.WireError, match="expected prefix"):
        wire.to_json(b"{}")


@given(st.binary(max_size=80), st.sampled_from([("v1", "Pod"), ("apps/v1", "Deployment"), ("batch/v1", "Job")]))
def test_any_bytes_are_json_or_refused(raw: bytes, kind: tuple[str, str]) -> None:
    try:
        orjson.loads(wire.to_json(unknown(*kind, raw)))
    except wire.WireError:
        return


def test_every_message_of_the_table_compiles() -> None:
    for name in go_fields.table():
        assert wire.message(name)
