"""LIST and WATCH options: resourceVersion with its match, continue tokens, limits. The answers were taken from
kube-apiserver's own code (a generic API server of 1.37) asked the same questions."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
FORBIDDEN_ALONE = "resourceVersionMatch is forbidden unless resourceVersion is provided"
BAD_TOKEN = "invalid continue token: continue key is not valid"
UNSUPPORTED = 'Unsupported value: "bogus": supported values: "Exact", "NotOlderThan", ""'


@pytest.fixture
async def filled(http: Any) -> Any:
    for index in range(5):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{index}"}}
        assert (await http("POST", CONFIG_MAPS, body)).status == 201
    return http


def token(**parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


def messages(status: Any) -> list[str]:
    return [cause["message"] for cause in status["details"]["causes"]]


@pytest.mark.parametrize(
    ("query", "causes"),
    [
        ("resourceVersionMatch=Exact", [f"Forbidden: {FORBIDDEN_ALONE}"]),
        ("resourceVersionMatch=bogus", [f"Forbidden: {FORBIDDEN_ALONE}", UNSUPPORTED]),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            ['Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'],
        ),
        (
            "resourceVersionMatch=Exact&continue=abc",
            [f"Forbidden: {FORBIDDEN_ALONE}", "Forbidden: resourceVersionMatch is forbidden when continue is provided"],
        ),
        ("resourceVersionMatch=bogus&resourceVersion=abc", [UNSUPPORTED]),
        ("sendInitialEvents=true", ["Forbidden: sendInitialEvents is forbidden for list"]),
        (
            "watch=1&sendInitialEvents=true&resourceVersionMatch=Exact",
            [
                "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                'Unsupported value: "Exact": supported values: "NotOlderThan"',
            ],
        ),
        (
            "watch=1&resourceVersionMatch=NotOlderThan&resourceVersion=0",
            ["Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"],
        ),
        ("watch=1&continue=abc", ["Forbidden: resourceVersionMatch is forbidden when continue is provided"]),
    ],
)
async def test_combinations_that_are_refused(filled: Any, query: str, causes: list[str]) -> None:
    answer = await filled("GET", f"{CONFIG_MAPS}?{query}")
    assert answer.status == 422 and answer.json["details"]["kind"] == "ListOptions"
    assert messages(answer.json) == causes
    if len(causes) > 1:
        assert answer.json["message"].startswith('ListOptions.meta.k8s.io "" is invalid: [')


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            "resourceVersion=abc",
            'invalid resource version: resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": '
            "invalid syntax",
        ),
        (
            "resourceVersion=9999999999999999999999",
            'invalid resource version: resourceVersion: Invalid value: "9999999999999999999999": strconv.ParseUint: '
            'parsing "9999999999999999999999": value out of range',
        ),
        ("limit=1.5", 'strconv.ParseInt: parsing "1.5": invalid syntax'),
        ("limit=", 'strconv.ParseInt: parsing "": invalid syntax'),
        ("limit=99999999999999999999", 'strconv.ParseInt: parsing "99999999999999999999": value out of range'),
        ("timeoutSeconds=abc", 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("continue=e30", f"{BAD_TOKEN}: server does not recognize this encoded version "),
        (
            f"continue={token(v='meta.k8s.io/v1')}",
            f"{BAD_TOKEN}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
        ),
        (
            f"continue={token(v='meta.k8s.io/v1', rv=3)}",
            f"{BAD_TOKEN}: encoded start key empty (version meta.k8s.io/v1)",
        ),
        (
            f"continue={token(v='meta.k8s.io/v1', rv=3, start='../secrets/x')}",
            f"{BAD_TOKEN}: ../secrets/x",
        ),
        (
            f"continue={token(v='meta.k8s.io/v1', rv=3, start='c1')}&resourceVersion=3",
            "specifying resource version is not allowed when using continue",
        ),
        ("fieldSelector=spec.x%3D1", '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ("labelSelector=a%3Db%3Dc", "found '=', expected: ',' or 'end of string'"),
    ],
)  # fmt: skip
async def test_values_that_are_refused(filled: Any, query: str, message: str) -> None:
    answer = await filled("GET", f"{CONFIG_MAPS}?{query}")
    assert (answer.status, answer.json["message"]) == (400, message)


async def test_where_a_kind_has_fields_of_its_own_the_refusal_names_the_field(http: Any) -> None:
    answer = await http("GET", "/api/v1/pods?fieldSelector=spec.x%3D1")
    assert (answer.status, answer.json["message"]) == (400, "field label not supported: spec.x")


async def test_revisions_of_the_future(filled: Any) -> None:
    cached = await filled("GET", f"{CONFIG_MAPS}?resourceVersion=99999")
    assert cached.status == 504 and cached.json["message"].startswith(
        "Timeout: Too large resource version: 99999, current:"
    )
    assert cached.json["details"]["retryAfterSeconds"] == 1 and cached.headers["retry-after"] == "1"
    exact = await filled("GET", f"{CONFIG_MAPS}?resourceVersion=99999&resourceVersionMatch=Exact")
    assert exact.status == 504 and "retryAfterSeconds" not in exact.json["details"]
    assert (await filled("GET", f"{CONFIG_MAPS}/c1?resourceVersion=99999")).status == 504
    assert (await filled("GET", f"{CONFIG_MAPS}/c1?resourceVersion=0")).status == 200
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=99999&timeoutSeconds=5"
    frame = (await filled("GET", f"{CONFIG_MAPS}?{query}")).json
    assert (frame["type"], frame["object"]["code"]) == ("ERROR", 504)


async def test_any_revision_is_served_whole(filled: Any) -> None:
    answer = (await filled("GET", f"{CONFIG_MAPS}?resourceVersion=0&limit=2")).json
    assert len(answer["items"]) == 5 and "continue" not in answer["metadata"]


async def test_an_expired_token_offers_an_inconsistent_rest(filled: Any, api: Any) -> None:
    first = (await filled("GET", f"{CONFIG_MAPS}?limit=2")).json
    assert first["metadata"]["remainingItemCount"] == 3
    old = first["metadata"]["continue"]
    await filled("DELETE", f"{CONFIG_MAPS}/c3")
    consistent = (await filled("GET", f"{CONFIG_MAPS}?continue={old}")).json
    assert [item["metadata"]["name"] for item in consistent["items"]] == ["c2", "c3", "c4"]
    assert consistent["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    await api.store.compact(api.store.revision)
    gone = (await filled("GET", f"{CONFIG_MAPS}?limit=1&continue={old}")).json
    assert (gone["code"], gone["reason"]) == (410, "Expired") and gone["message"].startswith(
        "The provided continue parameter"
    )
    rest = (await filled("GET", f"{CONFIG_MAPS}?limit=1&continue={gone['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in rest["items"]] == ["c2"]
    assert rest["metadata"]["resourceVersion"] == str(api.store.revision)
    last = (await filled("GET", f"{CONFIG_MAPS}?continue={rest['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in last["items"]] == ["c4"]
    version = first["metadata"]["resourceVersion"]
    exact = (await filled("GET", f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).json
    assert (exact["code"], exact["message"]) == (410, "The resourceVersion for the provided list is too old.")


async def test_the_deprecated_watch_path_of_one_object(filled: Any) -> None:
    async with asyncio.timeout(60):
        answer = await filled("GET", "/api/v1/watch/namespaces/default/configmaps/c1?timeoutSeconds=1")
    frames = [json.loads(line) for line in answer.body.splitlines()]
    assert [(frame["type"], frame["object"]["metadata"]["name"]) for frame in frames] == [("ADDED", "c1")]


async def test_the_end_of_the_initial_events_is_marked_for_those_who_allow_bookmarks(filled: Any) -> None:
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
    async with asyncio.timeout(60):
        answer = await filled("GET", f"{CONFIG_MAPS}?{query}")
    assert {json.loads(line)["type"] for line in answer.body.splitlines()} == {"ADDED"}


async def test_duplicate_fields_are_warned_of_by_default(http: Any) -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"},"data":{"a":"1","a":"2"}}'
    warned = await http("POST", CONFIG_MAPS, body)
    assert warned.status == 201 and warned.headers["warning"] == '299 - "duplicate field \\"data.a\\""'
    ignored = await http("PUT", f"{CONFIG_MAPS}/d?fieldValidation=Ignore", body)
    assert ignored.status == 200 and "warning" not in ignored.headers
    strict = await http("PUT", f"{CONFIG_MAPS}/d?fieldValidation=Strict", body)
    assert strict.status == 400 and 'duplicate field "data.a"' in strict.json["message"]
