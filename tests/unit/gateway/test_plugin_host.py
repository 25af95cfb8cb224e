"""What Envoy is told of what a plugin did: whatever it does, the request passes as it came or is answered with 500."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.host import CHECK_REQUEST, CHECK_RESPONSE, Hook
from sampan.gateway.plugins.request import Request
from sampan.gateway.xds.encode import decode, encode


async def ask(
    function: Any, *, opens: bool = False, timeout: float = 5.0, **settings: Any
) -> tuple[dict[str, Any], Hook]:
    deployment = {"settings": settings, "timeout_seconds": timeout, "fails_open": opens}
    hook = Hook(function, deployment, Counters("shop/p", "v"))
    http = {"method": "GET", "path": "/a?b=c", "host": "shop", "headers": {"x-old": "1", ":path": "/a"}}
    body = encode(CHECK_REQUEST, {"attributes": {"request": {"http": http}}})
    return decode(CHECK_RESPONSE, await hook.decide(body)), hook


def headers(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {entry["header"]["key"]: entry["header"]["value"] for entry in entries}


async def test_headers_are_changed_and_settings_are_there() -> None:
    def request(request: Request) -> None:
        request.headers["X-New"] = request.settings["word"]
        del request.headers["x-old"]
        request.response_headers["X-Mark"] = request.path

    found, hook = await ask(request, word="hello")
    assert headers(found["ok_response"]["headers"]) == {"x-new": "hello"}
    assert found["ok_response"]["headers_to_remove"] == ["x-old"]
    assert headers(found["ok_response"]["response_headers_to_add"]) == {"x-mark": "/a?b=c"}
    assert (hook.counters.requests, hook.counters.failures) == (1, 0)


async def test_an_answer_of_its_own() -> None:
    async def request(request: Request) -> Any:
        return request.respond(403, "no\n", {"x-why": "so"})

    found, hook = await ask(request)
    denied = found["denied_response"]
    assert (denied["status"]["code"], denied["body"], headers(denied["headers"])) == (403, "no\n", {"x-why": "so"})
    assert hook.counters.report()["answered"] == 1


def raises(request: Request) -> None:
    request.headers["x-half"] = "done"
    raise KeyError("lost")


def garbage(request: Request) -> Any:
    return {"status": 200}


def bad_status(request: Request) -> Any:
    return request.respond(7)


def bad_value(request: Request) -> None:
    request.response_headers["x-split"] = "a\r\nset-cookie: evil=1"


def bad_name(request: Request) -> None:
    request.headers["a b"] = "c"


def moves_host(request: Request) -> None:
    request.headers["host"] = "elsewhere"


def no_text(request: Request) -> None:
    request.response_headers["x-list"] = ["a"]  # type: ignore[assignment]


def exits(request: Request) -> None:
    raise SystemExit(3)


async def hangs(request: Request) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("wrong", [raises, garbage, bad_status, bad_value, bad_name, moves_host, no_text, exits, hangs])
async def test_what_goes_wrong_opens_or_closes(wrong: Any, opens: bool) -> None:
    found, hook = await ask(wrong, opens=opens, timeout=0.02 if wrong is hangs else 5)
    if opens:
        assert "denied_response" not in found
        assert not found["ok_response"].get("headers") and not found["ok_response"].get("response_headers_to_add")
    else:
        assert found["denied_response"]["status"]["code"] == 500
        assert found["denied_response"]["body"].startswith("plugin failed: ")
    report = json.loads(json.dumps(hook.counters.report()))
    assert (report["requests"], report["failures"]) == (1, 1)
    assert "Traceback" in report["errors"][0]["traceback"]


def test_counters_know_how_long_it_took() -> None:
    counters = Counters("shop/p", "v")
    assert counters.report()["p99Milliseconds"] == 0
    for _ in range(100):
        with counters.request():
            pass
    report = counters.report()
    assert report["requests"] == 100 and 0 < report["p50Milliseconds"] <= report["p99Milliseconds"]
