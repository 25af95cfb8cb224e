"""Hooks that Envoy calls itself: the same, to the letter, as when they are asked by authorization calls."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.trampolines import is_served

from .eventually import eventually
from .gateway_with_plugins import SLOW, Alone, alone, filters_of, named, route, under_load

pytestmark = pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")
EXAMPLES = Path(__file__).parents[2] / "examples/plugins"
PROBE = """
import json

def request(request):
    _, _, what = request.path.partition("?")
    headers = dict(request.headers)
    headers.pop("x-request-id", "")
    said = json.dumps([headers, len(request.headers), request.method, request.path, request.host, request.scheme,
        request.client, request.certificate, ":path" in request.headers, request.headers.get("X-Two", "none")],
        sort_keys=True)
    if what == "answer":
        request.response_headers["X-First"] = "1"
        request.response_cookies.append("b=2; Path=/")
        return request.respond(418, said, {"content-type": "application/json", "X-Second": "two", "set-cookie": "a=1"})
    if what == "ok":
        return request.respond(200, "r\\u00fcckw\\u00e4rts")
    if what.isdecimal():
        return request.respond(int(what), "no")
    if what == "empty":
        return request.respond(204)
    request.headers["x-half"] = "y"
    if what == "raises":
        raise ValueError("on purpose: \\u00fc")
    if what == "garbage":
        return {"status": 200}
    if what == "splits":
        request.response_headers["x-a"] = "b\\r\\nx-evil: 1"
    if what == "surrogate":
        request.headers["x-a"] = "\\ud800"
    if what == "host":
        request.headers["Host"] = "elsewhere"
    if what == "length":
        del request.headers["content-length"]
    if what == "missing":
        del request.headers["x-not-there"]
    if what == "unknown":
        return request.respond(200, request.headers["x-not-there"])
    if what == "status":
        return request.respond(99)
    if "x-gone" in request.headers:
        del request.headers["X-Gone"]
    if "x-gone" in request.headers:
        return request.respond(500, "it is still there")
    request.headers["X-Over"] = "mine \\u00e9"
    request.headers["x-said"] = said
    request.response_headers["X-Mark"] = "yes \\u00e9"
    request.response_headers["content-type"] = "text/plain"
    request.response_cookies.append("c=3")
    return None
"""
WHAT = (
    "",
    "answer",
    "ok",
    "empty",
    "raises",
    "garbage",
    "splits",
    "surrogate",
    "host",
    "length",
    "missing",
    "unknown",
    "status",
)
AFRESH = {"date", "x-request-id", "x-envoy-upstream-service-time"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with alone(tmp_path_factory.mktemp("inline")) as one:
        for name, failure in (("closed", "Closed"), ("open", "Open")):
            one.plugin(name, source=PROBE, failure=failure)
            one.served(name)
        yield one


def asks_inline(gateway: Alone, name: str) -> bool:
    """Whether Envoy has been told to call a plugin itself, and has taken it."""
    return filters_of(gateway).get(f"plugin/default/{name}/question", "").endswith("DynamicModuleFilter")


def raw(gateway: Alone, path: str, *more: bytes) -> tuple[int, list[tuple[str, str]], Any]:
    """Ask with headers that a client library would not send; return the answer, of the backend's words those that stay."""
    lines = [
        f"{'POST' if more else 'GET'} {path} HTTP/1.1".encode(),
        f"host: 127.0.0.1:{gateway.port}".encode(),
        b"x-two: one",
        b"X-Two: two",
        b"x-bytes: a\xff\xfe\xc3\xa9\xe2\x82z",
        b"x-gone: here",
        b"x-over: theirs",
        b"x-empty:",
        b"content-length: 0",
        b"connection: close",
        *more,
    ]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as asking:
        asking.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
        answer = http.client.HTTPResponse(asking)
        answer.begin()
        headers = sorted((k.lower(), v) for k, v in answer.getheaders() if k.lower() not in AFRESH | {"content-length"})
        body = answer.read()
    try:
        told = json.loads(body)
    except ValueError:
        return answer.status, headers, body
    if isinstance(told, dict):
        told["headers"].pop("x-request-id", None)
    return answer.status, headers, told


def everything(gateway: Alone) -> dict[str, Any]:
    asked = {f"{name}?{what}": raw(gateway, f"/{name}?{what}") for name in ("closed", "open") for what in WHAT}
    for kind in (b"application/grpc", b"application/grpc+proto", b"application/grpc; a=b", b"application/grpc-web"):
        for what in ("", "answer", "ok", "raises", "401", "403", "404", "503"):
            asked[f"{kind!r}?{what}"] = raw(gateway, f"/closed?{what}", b"content-type: " + kind, b"te: trailers")
    return asked


def flipped(gateway: Alone, *, inline: bool) -> None:
    """Put a plugin beside the others that is not shown to be quick, or take it away."""
    if inline:
        (gateway.directory / "slow.yaml").unlink(missing_ok=True)
    else:
        gateway.plugin("slow", source=SLOW)
    eventually(f"inline: {inline}", lambda: asks_inline(gateway, "open") is asks_inline(gateway, "closed") is inline)


def counted(gateway: Alone, name: str) -> dict[str, Any]:
    """What the host of a plugin in Envoy has counted."""
    folder = Path(gateway.children()[gateway.envoy()].split()[2]).parent
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(folder / f"{hashlib.sha256(f'default/{name}'.encode()).hexdigest()[:12]}.sock"))
        connection = http.client.HTTPConnection("plugin")
        connection.sock = plain
        connection.request("GET", "/counters")
        return dict(json.loads(connection.getresponse().read()))


def test_a_hook_is_the_same_whichever_way_it_is_asked(gateway: Alone) -> None:
    flipped(gateway, inline=True)
    inline = everything(gateway)
    flipped(gateway, inline=False)
    asked = everything(gateway)
    for key in inline:
        assert inline[key] == asked[key]
    status, headers, told = inline["closed?"]
    assert status == 200 and ("x-mark", "yes Ã©") in headers and ("content-type", "text/plain") in headers
    assert told["headers"]["x-over"] == "mine Ã©" and "x-gone" not in told["headers"]
    seen = json.loads(told["headers"]["x-said"])[0]
    assert (seen["x-two"], seen["x-bytes"]) == ("one,two", "a!!é!!z")
    assert inline["closed?answer"][0] == 418 and inline["closed?ok"][0] == 200 and inline["closed?empty"][0] == 204
    assert inline["closed?raises"][0] == 500 and inline["open?raises"][0] == 200
    assert "x-half" not in inline["open?raises"][2]["headers"]
    assert ("grpc-status", "7") in inline["b'application/grpc'?403"][1]


def test_its_counters_are_one(gateway: Alone) -> None:
    flipped(gateway, inline=True)
    before = counted(gateway, "open")
    raw(gateway, "/open?raises")
    raw(gateway, "/open?answer")
    flipped(gateway, inline=False)
    raw(gateway, "/open?raises")
    after = counted(gateway, "open")
    assert {name: after[name] - before[name] for name in ("requests", "failures", "answered")} == {
        "requests": 3,
        "failures": 2,
        "answered": 1,
    }
    for error in after["errors"][-2:]:
        assert "ValueError: on purpose" in error["error"] and "plugin.py" in error["traceback"]


def test_no_request_fails_when_the_way_changes(gateway: Alone) -> None:
    flipped(gateway, inline=True)

    def ask() -> int:
        answer = gateway.ask("/closed")
        return answer.status if answer.headers.get("x-mark") else 0

    with under_load(ask) as found:
        for inline in (False, True, False, True):
            enough = len(found) + 20
            flipped(gateway, inline=inline)
            eventually("requests after it", lambda enough=enough: len(found) > enough)  # type: ignore[misc]
    assert set(found) == {200}


def test_a_version_is_swapped_live(gateway: Alone) -> None:
    flipped(gateway, inline=True)
    for word in ("one", "two"):
        gateway.plugin("word", source=f"def request(request):\n    request.response_headers['x-word'] = '{word}'\n")
        eventually(f"the word {word}", lambda word=word: gateway.ask("/word").headers.get("x-word") == word)  # type: ignore[misc]
    assert asks_inline(gateway, "word")
    gateway.plugin("word", source="def request(request):\n    return nowhere\n")
    eventually("it is asked on its loop", lambda: not asks_inline(gateway, "word"))
    eventually("it raises", lambda: gateway.status("/word") == 500)
    gateway.plugin("word", source="def request(request):\n    pass\n")
    eventually("it is called again", lambda: asks_inline(gateway, "word") and gateway.status("/word") == 200)


def test_users_of_a_canary_take_another_route(gateway: Alone) -> None:
    flipped(gateway, inline=True)
    there = route("canary", "canary")
    (plain,) = there["spec"]["rules"]
    chosen = json.loads(json.dumps(plain))
    chosen["matches"][0]["headers"] = [{"name": "x-canary", "value": "yes"}]
    header = {"set": [{"name": "x-route", "value": "canary"}]}
    chosen["filters"].append({"type": "RequestHeaderModifier", "requestHeaderModifier": header})
    there["spec"]["rules"] = [plain, chosen]
    spec = {"path": str(EXAMPLES / "canary"), "settings": {"percent": 50}, "reroutes": True}
    gateway.write("canary", named("gateway.sampan.dev/v1alpha1", "Plugin", "canary", **spec), there)
    gateway.served("canary")
    eventually("it is called", lambda: asks_inline(gateway, "canary"))
    assert gateway.ask("/canary", **{"x-user": "ann"}).told["headers"].get("x-route") == "canary"
    assert "x-route" not in gateway.ask("/canary", **{"x-user": "bob"}).told["headers"]


def test_workers_do_not_mix_their_requests(tmp_path: Path) -> None:
    with alone(tmp_path, "--workers", "2") as gateway:
        source = """
def request(request):
    said = request.headers["x-said"]
    request.headers["x-over"] = said
    request.response_headers["x-back"] = said
    request.response_headers["x-kept"] = said[-1]
"""
        gateway.plugin("echo", source=source)
        eventually("it answers", lambda: gateway.ask("/echo", **{"x-said": "0"}).status == 200)
        eventually("it is called", lambda: asks_inline(gateway, "echo"))
        tasks = Path(f"/proc/{gateway.envoy()}/task").glob("*/comm")
        assert sum(task.read_text().startswith("wrk:worker_") for task in tasks) == 2

        def asked(number: int) -> bool:
            said = str(number)
            answer = gateway.ask("/echo", **{"x-said": said})
            assert answer.status == 200, (answer.status, answer.body, answer.headers)
            back = answer.headers.get("x-back"), answer.headers.get("x-kept"), answer.told["headers"].get("x-over")
            return back == (said, said[-1], said)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(asked, range(400)))


def test_websockets_pass(gateway: Alone) -> None:
    flipped(gateway, inline=True)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as asking:
        asking.sendall(b"GET /closed HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += asking.recv(4096)
        assert head.startswith(b"HTTP/1.1 101") and b"x-mark: yes" in head
        asking.sendall(b"over")
        assert asking.recv(4) == b"over"


def test_who_goes_away_leaves_nothing_to_the_next(gateway: Alone) -> None:
    """A request that ends before its answer has headers of an answer pending: nobody else gets them."""
    flipped(gateway, inline=True)
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as asking:
            asking.sendall(b"GET /closed HTTP/1.1\r\nhost: a\r\n\r\n")
    for _ in range(50):
        assert "x-mark" not in gateway.ask("/plain").headers
        assert "x-mark" not in gateway.ask("/closed?ok").headers
