"""Requests that are made to hurt: answered as what they are, at once, and without filling memory."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import pytest

from sampan.api import cbor, negotiation, routing, wire
from tests.unit.api.conftest import Asgi, Caller, HeaderAuthenticator

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture
def http(whole: Caller) -> Asgi:
    whole.api.authenticator = HeaderAuthenticator()
    return Asgi(whole.api)


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer a.{encoded(b'[' * 100_000)}.c"},
        {"authorization": f"Bearer {encoded(b'[' * 100_000)}.{encoded(b'{}')}.c"},
        {"authorization": "Bearer é.é.é"},
        {"sec-websocket-protocol": "base64url.bearer.authorization.k8s.io.é"},
    ],
)
async def test_tokens_that_are_none_are_401(whole: Caller, headers: dict[str, str]) -> None:
    answer = await Asgi(whole.api)("GET", "/api", headers=headers)
    assert (answer.status, answer.json["reason"]) == (401, "Unauthorized")


def test_a_header_of_a_token_that_nests_too_deeply_is_a_bad_token(whole: Caller) -> None:
    tokens: Any = whole.api.authenticator.tokens  # type: ignore[attr-defined]
    claims = encoded(b'{"iss":"%b"}' % tokens.issuer.encode())
    with pytest.raises(Exception, match="depth limit") as raised:
        whole.api.authenticator.by_token(f"{encoded(b'[' * 100_000)}.{claims}.c")  # type: ignore[attr-defined]
    assert type(raised.value).__name__ == "BadToken"


def shared(levels: int) -> bytes:
    """Return lists of which each holds the one before it twice: a few bytes a level, twice the size each time."""
    items = [b"\xd8\x1c\x80"]
    for level in range(levels):
        reference = b"\xd8\x1d\x18" + bytes([level])
        items.append(b"\xd8\x1c\x82" + reference + reference)
    return b"\x98" + bytes([len(items)]) + b"".join(items)


@pytest.mark.parametrize(
    "body",
    [shared(60), b"\xd9\x01\x00\x82\x65again\xd8\x19\x00", b"\xd9\x01\x02\x81\x01"],
    ids=["shared lists", "strings said again", "a set"],
)
async def test_cbor_that_says_things_again_is_400(http: Asgi, body: bytes) -> None:
    answer = await http("POST", CONFIG_MAPS, body, headers={"content-type": "application/cbor"})
    assert answer.status == 400
    with pytest.raises(cbor.CborError):
        cbor.to_json(body)


def test_a_number_that_json_cannot_say_is_no_protobuf_body() -> None:
    replicas = b"\x08" + b"\xff" * 9 + b"\x7f"  # Deployment.spec.replicas, 70 bits
    raw = b"\x12" + bytes([len(replicas)]) + replicas
    meta = b"\x0a\x07apps/v1\x12\x0aDeployment"
    with pytest.raises(wire.WireError, match="not a valid protobuf message"):
        wire.to_json(b"k8s\0\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(raw)]) + raw)


@pytest.mark.parametrize("seconds", [10**18, 10**12])
async def test_a_grace_period_beyond_the_calendar_ends_with_it(http: Asgi, seconds: int) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
    await http("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
    answer = await http("DELETE", f"{PODS}/p", {"gracePeriodSeconds": seconds})
    assert answer.status == 200, answer.body
    assert answer.json["metadata"]["deletionTimestamp"] == "9999-12-31T23:59:59Z"
    assert (await http("DELETE", f"{PODS}/p?gracePeriodSeconds={10**30}")).status == 400


@pytest.mark.parametrize("lines", ["--5", "9" * 5000, "5-"])
async def test_numbers_of_log_options_that_are_none_are_400(http: Asgi, lines: str) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    await http("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    answer = await http("GET", f"{PODS}/p/log?tailLines={lines}")
    assert (answer.status, "invalid syntax" in answer.json["message"]) == (400, True)


async def test_replicas_beyond_32_bits_are_400(http: Asgi) -> None:
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    await http("POST", deployments, {"metadata": {"name": "d"}, "spec": spec})
    assert (await http("PUT", f"{deployments}/d/scale", {"spec": {"replicas": 2**31}})).status == 400
    assert (await http("PUT", f"{deployments}/d/scale", {"spec": {"replicas": 2**31 - 1}})).status == 200


async def test_warnings_are_sent_as_far_as_clients_can_read_them(http: Asgi) -> None:
    unknown = {f"field{number}": 1 for number in range(5000)}
    answer = await http("POST", CONFIG_MAPS, {"metadata": {"name": "c"}, **unknown})
    assert answer.status == 201 and 'unknown field \\"field0\\"' in answer.warnings[0]
    assert 100 < len(answer.warnings) < 300


async def test_what_anybody_makes_up_gets_no_series_of_metrics(http: Asgi) -> None:
    await http("GET", f"{PODS}/p/made-up-0?dryRun=0")
    before = len(http.api.metrics.series)
    for number in range(1, 20):
        await http("GET", f"{PODS}/p/made-up-{number}")
        await http("POST", f"{PODS}?dryRun=made-up-{number}", {})
    assert len(http.api.metrics.series) <= before + 1


def test_long_query_strings_and_accept_headers_are_not_remembered() -> None:
    queries, headers = routing._remembered.cache_info().currsize, negotiation._remembered.cache_info().currsize
    assert routing.parse_query(b"fieldManager=" + b"a" * 5000).last == {"fieldManager": "a" * 5000}
    assert negotiation.accepted("a/b," * 5000 + "*/*") == negotiation.PLAIN
    assert routing._remembered.cache_info().currsize == queries
    assert negotiation._remembered.cache_info().currsize == headers


def test_a_path_with_a_gap_is_not_carried_to_an_extension_server(whole: Caller) -> None:
    """It is authorized as a path, which everybody may read; the server behind might read the resource in it."""
    server: Any = object()
    whole.api.remotes = {("example.com", "v1"): server}
    for path in ("", "/", "/widgets", "/namespaces/n/widgets/w/proxy//x"):
        assert whole.api.remote(f"/apis/example.com/v1{path}") is server
    for path in ("//widgets", "/namespaces//widgets", "/widgets//w"):
        assert whole.api.remote(f"/apis/example.com/v1{path}") is None


def nine_times(levels: int, first: str = "x") -> str:
    """Return YAML in which each list holds the one before it nine times."""
    names = [chr(ord("a") + level) for level in range(levels)]
    lists = [f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)]
    return "\n".join([f"{names[0]}: &{names[0]} [{','.join([first] * 9)}]", *lists])


MANY = "kind: &k ConfigMap\nmetadata: {name: many}\n"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (nine_times(9), "yaml: document contains excessive aliasing"),
        (f"a: &s {'x' * 1_000_000}\nb: [{','.join(['*s'] * 100)}]", "yaml: document contains excessive aliasing"),
        ("\n".join(f"a{n}: &a{n} {'[' * 99}{f'*a{n - 1}' if n else ''}{']' * 99}" for n in range(3)), "max depth"),
        ("a: *b", "yaml: unknown anchor 'b' referenced"),
        (MANY + "data: {a: " + "b" * 40_000, "yaml: line 4"),
    ],
    ids=["a bomb", "a long string again and again", "deeper and deeper", "no anchor", "large and torn"],
)
async def test_yaml_that_would_grow_or_is_none_is_400(http: Asgi, body: str, why: str) -> None:
    answer = await http("POST", CONFIG_MAPS, body.encode(), headers={"content-type": "application/yaml"})
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    assert why in answer.json["message"]


async def test_large_yaml_is_read_as_small_yaml_is(http: Asgi) -> None:
    padding = "# " + "x" * 40_000 + "\n"
    body = MANY + "data: &d {a: &v 'é', b: *v, a: c}\nbinaryData: {}\nunknown: [*d, *k]\n"
    answers = []
    for text in (body, body + padding):
        answer = await http(
            "POST", f"{CONFIG_MAPS}?dryRun=All", text.encode(), headers={"content-type": "application/yaml"}
        )
        assert answer.status == 201 and answer.json["data"] == {"a": "c", "b": "é"}
        answers.append(answer.warnings)
    assert answers[0] == answers[1] and len(answers[0]) == 2
    strict = f"{CONFIG_MAPS}?dryRun=All&fieldValidation=Strict"
    answer = await http("POST", strict, (body + padding).encode(), headers={"content-type": "application/yaml"})
    assert answer.status == 400 and 'key "a" already set in map' in answer.json["message"]
    applied = (body + padding).replace("a: c", "c: d").replace("unknown: [*d, *k]", "apiVersion: v1").encode()
    headers = {"content-type": "application/apply-patch+yaml"}
    answer = await http("PATCH", f"{CONFIG_MAPS}/many?fieldManager=m&dryRun=All", applied, headers=headers)
    assert answer.status == 201 and answer.json["data"] == {"a": "é", "b": "é", "c": "d"}


@pytest.mark.parametrize(("levels", "status"), [(150, 201), (250, 400)])
async def test_json_of_very_many_lists_is_judged_by_its_depth(http: Asgi, levels: int, status: int) -> None:
    lists = ",".join(['"[[[[\\"]]{"', "[" * levels + "]" * levels, *["[]"] * 25_000])
    answer = await http("POST", f"{CONFIG_MAPS}?dryRun=All", b'{"metadata":{"name":"n"},"x":[%b]}' % lists.encode())
    assert answer.status == status
    assert status == 201 or "exceeded max depth" in answer.json["message"]


async def test_copies_of_a_json_patch_are_bounded_by_what_they_add(http: Asgi) -> None:
    await http("POST", CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a": "x" * 1000}})
    headers = {"content-type": "application/json-patch+json"}
    copies = [{"op": "copy", "from": "/data/a", "path": f"/data/b{number}"} for number in range(9000)]
    answer = await http("PATCH", f"{CONFIG_MAPS}/c", copies, headers=headers)
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")
    assert "Unable to complete the copy" in answer.json["message"]
    answer = await http("PATCH", f"{CONFIG_MAPS}/c", copies * 2, headers=headers)
    assert answer.status == 413 and "maximum operations in a JSON patch is 10000, got 18000" in answer.json["message"]
