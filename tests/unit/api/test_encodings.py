"""Answers and bodies in CBOR and protobuf: for clients that insist on them, whatever the verb."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Any

import cbor2
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api import cbor, wire
from sampan.api.app import Api
from sampan.api.negotiation import accepted
from sampan.api.wire_encode import encode_message, encode_object, from_json

from .conftest import Asgi, HeaderAuthenticator

PROTOBUF = "application/vnd.kubernetes.protobuf"
CBOR = "application/cbor"
PODS = "/api/v1/namespaces/default/pods"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"a": "b"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "i",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}],
        "securityContext": {"runAsNonRoot": False, "runAsUser": 0},
    },
}


def json_of(body: bytes, media: str) -> Any:
    return orjson.loads(wire.to_json(body) if media == PROTOBUF else cbor.to_json(body))


def body_of(obj: Any, media: str) -> bytes:
    return from_json(orjson.dumps(obj)) if media == PROTOBUF else cbor.from_json(orjson.dumps(obj))


def list_of(body: bytes, media: str) -> list[Any]:
    if media == CBOR:
        return list(json_of(body, media)["items"])
    ((_, raw),) = [pair for pair in wire.fields_of(body[4:]) if pair[0] == 2]
    assert isinstance(raw, bytes)
    return [wire.decode_message("core/v1.Pod", item, 0) for number, item in wire.fields_of(raw) if number == 2]  # type: ignore[arg-type]


def frames_of(body: bytes, media: str) -> list[tuple[str, Any]]:
    if media == CBOR:
        import io

        stream, found = io.BytesIO(body), []
        while stream.tell() < len(body):
            event = cbor.plain(cbor2.CBORDecoder(stream).decode(), 0) if strip_tag(stream) else None
            assert event is not None
            found.append((event["type"], event["object"]))
        return found
    found = []
    while body:
        (size,) = struct.unpack(">I", body[:4])
        event = dict(wire.fields_of(body[4 : 4 + size]))
        inner = dict(wire.fields_of(event[2]))  # type: ignore[arg-type]
        found.append((event[1].decode(), json_of(inner[1], media)))  # type: ignore[union-attr,arg-type]
        body = body[4 + size :]
    return found


def strip_tag(stream: Any) -> bool:
    """Step over the outer tag; the one of the object is taken off by ``plain``'s caller below."""
    return bool(stream.read(3) == cbor.SELF_DESCRIBED)


@pytest.mark.parametrize("media", [PROTOBUF, CBOR])
async def test_every_verb_in_a_binary_form(http: Any, media: str) -> None:
    sent = {"content-type": media, "accept": media}
    made = await http("POST", PODS, body_of(POD, media), headers=sent)
    assert (made.status, made.headers["content-type"]) == (201, media), made.body
    plain = (await http("GET", f"{PODS}/p")).json
    assert json_of(made.body, media) == plain
    got = await http("GET", f"{PODS}/p", headers={"accept": media})
    assert json_of(got.body, media) == plain
    listed = await http("GET", PODS, headers={"accept": media})
    assert [item["metadata"]["name"] for item in list_of(listed.body, media)] == ["p"]
    again = await http("POST", PODS, body_of(POD, media), headers=sent)
    status = json_of(again.body, media)
    assert (again.status, status["reason"], status["details"]["name"]) == (409, "AlreadyExists", "p")
    gone = await http("DELETE", f"{PODS}/p", headers={"accept": media})
    assert json_of(gone.body, media)["metadata"]["uid"] == plain["metadata"]["uid"]


async def test_a_protobuf_watch_is_frames_behind_their_length(http: Any) -> None:
    await http("POST", PODS, POD)
    async with asyncio.timeout(60):
        path = f"{PODS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"
        answer = await http("GET", path, headers={"accept": f"{PROTOBUF};stream=watch"})
    assert answer.headers["content-type"] == f"{PROTOBUF};stream=watch"
    (added, pod), (bookmark, _) = frames_of(answer.body, PROTOBUF)
    assert (added, pod["metadata"]["name"], bookmark) == ("ADDED", "p", "BOOKMARK")


async def test_a_cbor_watch_is_a_sequence(http: Any) -> None:
    await http("POST", PODS, POD)
    async with asyncio.timeout(60):
        answer = await http("GET", f"{PODS}?watch=1&timeoutSeconds=1", headers={"accept": cbor.SEQUENCE})
    assert answer.headers["content-type"] == cbor.SEQUENCE
    ((kind, pod),) = frames_of(answer.body, CBOR)
    assert (kind, pod["metadata"]["name"]) == ("ADDED", "p")


async def test_apply_in_cbor(http: Any) -> None:
    body = cbor.from_json(
        orjson.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
    )
    path = "/api/v1/namespaces/default/configmaps/a?fieldManager=m"
    applied = await http("PATCH", path, body, headers={"content-type": cbor.APPLY_PATCH})
    assert applied.status == 201 and applied.json["data"] == {"k": "v"}


async def test_metadata_in_protobuf(http: Any) -> None:
    await http("POST", PODS, POD)
    accept = f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    answer = await http("GET", f"{PODS}/p", headers={"accept": accept})
    assert json_of(answer.body, PROTOBUF)["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize(
    ("accept", "protobuf", "media"),
    [
        (f"{PROTOBUF},application/json", True, "application/json"),
        (f"{PROTOBUF},application/json;q=0.5", True, PROTOBUF),
        (f"{PROTOBUF}", True, PROTOBUF),
        (f"{PROTOBUF}", False, None),
        (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1", True, None),
        (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,application/json", True, "application/json"),
        ("application/cbor, application/json", True, CBOR),
        ("application/json;q=0.1,application/yaml", True, "application/yaml"),
        ("text/html,*/*;q=0.1", True, "application/json"),
        ("application/json;stream=tail", True, None),
        ("text/html", True, None),
    ],
)
def test_what_is_answered_in(accept: str, protobuf: bool, media: str | None) -> None:
    found = accepted(accept, protobuf)
    assert (found.media if found else None) == media


async def test_what_cannot_be_answered_names_what_can(http: Any) -> None:
    refused = await http("GET", PODS, headers={"accept": "text/html"})
    kinds = "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor"
    assert (refused.status, refused.json["message"]) == (406, f"only the following media types are accepted: {kinds}")
    refused = await http("GET", f"{PODS}?watch=1", headers={"accept": "application/yaml"})
    assert refused.status == 406
    refused = await http("POST", PODS, b"x", headers={"content-type": "text/plain"})
    assert refused.status == 415 and refused.json["message"].endswith(kinds)


def test_bytes_tagged_for_base64_are_base64_text() -> None:
    body = cbor2.dumps({"data": {b"k": cbor2.CBORTag(22, b"\x00\x01")}})
    assert orjson.loads(cbor.to_json(body)) == {"data": {"k": "AAE="}}


@pytest.mark.parametrize(
    "body", [b"", b"\xa1aa\xff", b"\xa1\x01\x02", b"\xa0\xa0", b"\x81" * 5000, b"\xfb\x7f\xf8" + bytes(6)]
)
def test_what_is_no_object_in_cbor(body: bytes) -> None:
    with pytest.raises(cbor.CborError):
        cbor.to_json(body)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_cbor_carries_every_json_value(value: Any) -> None:
    assert orjson.loads(cbor.to_json(cbor.from_json(orjson.dumps(value)))) == value


@given(st.binary(max_size=64))
def test_no_bytes_break_the_cbor_decoder(body: bytes) -> None:
    try:
        orjson.loads(cbor.to_json(body))
    except cbor.CborError as error:
        assert isinstance(error, ValueError)


names = st.text("abc", min_size=1, max_size=4)
pods = st.fixed_dictionaries(
    {
        "apiVersion": st.just("v1"),
        "kind": st.just("Pod"),
        "metadata": st.fixed_dictionaries(
            {"name": names},
            optional={
                "labels": st.dictionaries(names, names, min_size=1),
                "generation": st.integers(1, 2**62),
                "creationTimestamp": st.just("2026-01-02T03:04:05Z"),
                "deletionGracePeriodSeconds": st.integers(-(2**62), 2**62),
            },
        ),
        "spec": st.fixed_dictionaries(
            {"containers": st.lists(st.fixed_dictionaries({"name": names, "image": names}), min_size=1, max_size=3)},
            optional={"hostNetwork": st.just(True), "nodeSelector": st.dictionaries(names, names, min_size=1)},
        ),
    }
)


@given(pods)
def test_a_pod_comes_back_from_protobuf(pod: Any) -> None:
    found = json_of(encode_object(pod), PROTOBUF)
    for container in found["spec"]["containers"]:
        container.pop("resources", None)
    assert found == pod


SCHEMA_OF_A_SERVER = (
    "CrUCCgASACIAKgZvYmplY3QyADoAUABgAHoAkAEA6gE4CgFkEjMKABIAIgAqB2ludGVnZXIyADoAQgMKATNJAAAAAAAAFEBQAGAAegCQAQCoAg"
    "C4AgDAAgDqAUsKAWwSRgoAEgAiACoFYXJyYXkyADoAUABgAHoAkAEAwgEgCh4KABIAIgAqADIAOgBQAGAAegCQAQCoAgC4AgDAAgGoAgC4AgDA"
    "AgDqAVQKAW0STwoAEgAiACoGb2JqZWN0MgA6AFAAYAB6AJABAPIBKAgBEiQKABIAIgAqBnN0cmluZzIAOgBQAGAAegCQAQCoAgC4AgDAAgCoAg"
    "C4AgDAAgDqAS4KAW4SKQoAEgAiACoGb2JqZWN0MgA6AFAAYAB6AJABAPIBAggBqAIAuAIAwAIAqAIAuAIAwAIA"
)
"""``CustomResourceValidation`` as a generic Kubernetes API server (1.37) has sent it."""
SCHEMA = {
    "type": "object",
    "properties": {
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "n": {"type": "object", "additionalProperties": True},
        "d": {"type": "integer", "maximum": 5.0, "default": 3},
        "l": {"type": "array", "items": {"x-kubernetes-int-or-string": True}},
    },
}


def test_a_schema_that_a_server_has_sent() -> None:
    sent = base64.b64decode(SCHEMA_OF_A_SERVER)
    name = "apiextensions/v1.CustomResourceValidation"
    assert wire.decode_message(name, sent, 0) == {"openAPIV3Schema": SCHEMA}
    assert wire.decode_message(name, encode_message(name, {"openAPIV3Schema": SCHEMA}), 0) == {
        "openAPIV3Schema": SCHEMA
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"additionalProperties": False, "additionalItems": True},
        {"items": [{"type": "string"}, {"type": "integer"}], "enum": ["a", 1, {"b": [None]}]},
        {"dependencies": {"a": ["b", "c"], "d": {"type": "object"}}, "definitions": {"x": {"$ref": "#/y"}}},
        {"default": {"deep": [1, "x", {"y": False}]}, "multipleOf": 0.5, "x-kubernetes-preserve-unknown-fields": False},
        {"x-kubernetes-validations": [{"rule": "self > 0", "message": "m", "optionalOldSelf": True}]},
    ],
)
def test_schemas_come_back_from_protobuf(schema: Any) -> None:
    name = "apiextensions/v1.JSONSchemaProps"
    assert wire.decode_message(name, encode_message(name, schema), 0) == schema


async def test_definitions_and_api_services_in_protobuf(local_api: Api) -> None:
    """As client-go's typed clients send them, and read them."""
    local_api.authenticator = HeaderAuthenticator()
    http = Asgi(local_api, {"accept": PROTOBUF, "content-type": PROTOBUF})
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    names = {"plural": "boats", "kind": "Boat"}
    boats = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    answer = await http("POST", path, encode_object(boats))
    assert answer.status == 201 and answer.headers["content-type"] == PROTOBUF, answer.body
    made = json_of(answer.body, PROTOBUF)
    assert made["spec"]["versions"] == [version] and made["status"]["acceptedNames"]["kind"] == "Boat"
    assert (await http("GET", "/apis/example.org/v1/boats", headers={"accept": "application/json"})).status == 200
    services = await http("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps")
    found = json_of(services.body, PROTOBUF)
    assert found["kind"] == "APIService" and found["spec"]["groupPriorityMinimum"] > 0
