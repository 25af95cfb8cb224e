"""Processors that Envoy calls itself: the same, to the letter, as when their process is asked."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.trampolines import is_served

from .eventually import eventually
from .gateway_with_plugins import SLOW, Alone, alone, filters_of, named, route, under_load, with_trailers

pytestmark = pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")
PROBE = """
import json

class Probe:
    def __init__(self, *, word):
        self.word = word
        self.long = b"x" * 1200000

    def request_headers(self, exchange):
        request = exchange.request
        _, _, what = request.path.partition("?")
        exchange.state.what = what
        exchange.state.seen = json.dumps(sorted([pair for pair in request.headers.items() if pair[0] != "x-request-id"]))
        exchange.state.seen += request.method + request.host + request.client
        if what == "answer":
            return exchange.respond(418, "no\\u00e9", {"x-own": "1"})
        if what == "ok":
            return exchange.respond(200, "", {"content-type": "text/html"})
        if what == "raises":
            raise ValueError("on purpose: \\u00fc")
        if what == "garbage":
            return {"status": 200}
        if what == "length":
            del request.headers["content-length"]
        request.headers["X-Seen"] = exchange.state.seen
        request.headers["x-over"] = "mine \\u00e9"
        if "x-gone" in request.headers:
            del request.headers["X-Gone"]
        return None

    def request_content(self, exchange, content):
        if b"refuse" in content:
            return exchange.respond(422, "not so\\n")
        if b"raise" in content:
            raise KeyError("in the body")
        if b"half" in content:
            exchange.request.headers["x-half"] = "\\ud800"
        if b"stay" in content:
            return None
        if b"text" in content:
            return "text"
        exchange.request.headers["x-size"] = len(content)
        if b"grow" in content:
            return content + self.long
        return json.dumps([json.loads(content), self.word]).encode()

    def response_headers(self, exchange):
        response = exchange.response
        what = exchange.state.what
        response.headers["x-what"] = what or "nothing"
        response.headers["x-had"] = json.dumps(sorted([key for key in response.headers if key != "x-request-id"]))
        if "x-drop" in response.headers:
            del response.headers["x-drop"]
        if what == "late":
            return exchange.respond(451, "late\\n")
        if what == "status":
            response.status = 299
        if what == "bad-status":
            response.status = 42
        if what == "late-raises":
            raise RuntimeError("late")
        return None

    def response_content(self, exchange, content):
        what = exchange.state.what
        if what == "body-answer":
            return exchange.respond(502, "instead\\n", {"x-own": "2"})
        if what == "body-raises":
            return json.dumps(content[-1000])
        if what == "body-text":
            return "text"
        if what == "body-stays":
            return None
        if what == "body-status":
            exchange.response.status = 203
            exchange.response.headers["x-late"] = exchange.request.headers.get("x-two", "none")
        if what == "body-splits":
            exchange.response.headers["x-late"] = "a\\r\\nb"
        if what == "body-grows":
            return content + self.long
        if what == "body-gone":
            return b""
        try:
            return json.dumps(json.loads(content, object_pairs_hook=self.kept), sort_keys=True).encode()
        except ValueError:
            return None

    def kept(self, pairs):
        return {name: value for name, value in pairs if name != "secret"}
"""
MANIFEST = """
kind = "processor"
entry-point = "plugin:Probe"
content-types = ["application/json"]
max-content = "4Ki"
settings = {type = "object", required = ["word"], properties = {word = {type = "string"}}}
"""
OF_REQUESTS = ("", "answer", "ok", "raises", "garbage", "length", "late", "status", "bad-status", "late-raises")
OF_BODIES = ("answer", "raises", "text", "stays", "status", "splits", "grows", "gone")
OF_BACKENDS = (
    "image",
    "plain",
    "gzip",
    "chunked",
    "long",
    "long-chunked",
    "empty",
    "none",
    "unchanged",
    "events",
    "error",
    "part",
)
BODIES = (
    b'{"a": 1}',
    b'{"refuse": 1}',
    b'"grow ooo"',
    b'"raise"',
    b'"half"',
    b'"stay"',
    b'"text"',
    b"[" + b"1," * 3000 + b"1]",
    b"",
)
AFRESH = {"date", "x-envoy-upstream-service-time", "connection"}
"""``connection`` says whether Envoy had read all of a request that it answered itself: chance."""
DOCUMENT = json.dumps({"a": [{"secret": 1, "b": {"secret": 2, "c": "\u00e9"}}], "secret": 3}).encode()


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers as the query says, with what it was asked in a header."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # who has been answered by the plugin goes, amid a body too
            self.answer()

    do_HEAD = do_POST = do_GET

    def answer(self) -> None:
        what = self.path.partition("?")[2].removeprefix("back-")
        told = {name.lower(): value for name, value in self.headers.items() if name.lower() != "x-request-id"}
        body = self.body()
        if self.headers.get("upgrade"):
            self.send_response(101)
            self.send_header("upgrade", self.headers["upgrade"])
            self.send_header("connection", "upgrade")
            self.send_header("content-type", "application/json; charset=utf-8")  # some say what they say of all
            self.end_headers()
            self.wfile.write(self.connection.recv(4096))
            self.close_connection = True
            return
        status = {"none": 204, "unchanged": 304, "error": 500, "part": 206}.get(what, 200)
        kinds = {"image": "image/png", "plain": "", "events": "text/event-stream"}
        content = {"long": b'"%s"' % (b"x" * 5000), "long-chunked": b'"%s"' % (b"x" * 50_000)}.get(what, DOCUMENT)
        content = b"" if what == "empty" else content
        self.send_response(status)
        if kind := kinds.get(what, "application/json; charset=utf-8"):
            self.send_header("Content-Type", kind)
        self.send_header(
            "x-asked",
            json.dumps([self.command, self.path, sorted(told.items()), body if len(body) < 10_000 else len(body)]),
        )
        self.send_header("x-drop", "here")
        self.send_header("x-bytes", "a\xff\xe9")
        self.send_header("set-cookie", "a=1")
        self.send_header("set-cookie", "b=2")
        if what == "gzip":
            self.send_header("content-encoding", "gzip")
        if "chunked" in what:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for start in range(0, len(content), 1000):
                piece = content[start : start + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        if status != 204:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            self.wfile.write(content)

    def body(self) -> str:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found.decode()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    directory = tmp_path_factory.mktemp("called")
    (directory / "probe").mkdir()
    (directory / "probe/plugin.py").write_text(PROBE)
    (directory / "probe/plugin.toml").write_text(MANIFEST)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with alone(directory) as one:
            one.backend("probed", server.server_address[1])
            one.backend("dead", 9)
            for name, failure in (("closed", "Closed"), ("open", "Open")):
                spec = {"path": str(directory / "probe"), "settings": {"word": "w"}, "failure": failure}
                one.plugin(name, backend="probed", **spec)
                one.served(name)
            one.write("dead", route("dead", "closed", backend="dead"))
            one.write("guarded", *guarded())
            eventually("/guarded is served", lambda: one.status("/guarded") == 403)
            eventually("/dead is served", lambda: one.status("/dead") in (202, 500, 502, 503))
            yield one
    finally:
        server.shutdown()
        server.server_close()


def guarded() -> tuple[dict[str, Any], dict[str, Any]]:
    """A route where a filter before the processor answers."""
    made = route("guarded", "closed", backend="probed")
    guard = {"group": "gateway.sampan.dev", "kind": "Middleware", "name": "guard"}
    made["spec"]["rules"][0]["filters"].append({"type": "ExtensionRef", "extensionRef": guard})
    middleware = named("gateway.sampan.dev/v1alpha1", "Middleware", "guard", ipAllowList={"sourceRange": ["192.0.2.1"]})
    return middleware, made


def is_called(gateway: Alone, name: str) -> bool:
    """Whether Envoy has been told to call a plugin itself, and has taken it."""
    return filters_of(gateway).get(f"plugin/default/{name}+exchange", "").endswith("DynamicModuleFilter")


def flipped(gateway: Alone, *, called: bool) -> None:
    """Put a plugin beside the others that is not shown to be quick, or take it away."""
    if called:
        (gateway.directory / "slow.yaml").unlink(missing_ok=True)
    else:
        gateway.plugin("slow", source=SLOW)
    eventually(f"called: {called}", lambda: is_called(gateway, "open") is is_called(gateway, "closed") is called)


def raw(gateway: Alone, path: str, *more: bytes, method: bytes = b"GET", body: bytes = b"", chunks: int = 0) -> Any:
    """Ask on one connection for this and then for something else; return what came of the first."""
    head = [
        method + b" " + path.encode() + b" HTTP/1.1",
        b"host: 127.0.0.1:%d" % gateway.port,
        b"x-two: one",
        b"X-Two: two",
        b"x-bytes: a\xff\xfe\xc3\xa9",
        b"x-gone: here",
        b"x-over: theirs",
        b"accept-encoding: gzip",
        *more,
    ]
    if chunks:
        head += [b"content-type: application/json", b"transfer-encoding: chunked"]
        pieces = [body[start : start + chunks] for start in range(0, len(body), chunks)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif method == b"POST":
        head += [b"content-type: application/json", b"content-length: %d" % len(body)]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as asking:
        asking.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        answer = http.client.HTTPResponse(asking, method=method.decode())
        answer.begin()
        headers = sorted((k.lower(), v) for k, v in answer.getheaders() if k.lower() not in AFRESH)
        found = answer.status, headers, answer.read()
        if not answer.will_close:
            asking.sendall(b"GET /closed HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            again = http.client.HTTPResponse(asking)
            again.begin()
            assert again.status == 200 and b"secret" not in again.read(), "the connection is in order"
    return found


def everything(gateway: Alone) -> dict[str, Any]:
    found = {}
    for name in ("closed", "open"):
        for what in (*OF_REQUESTS, *(f"body-{one}" for one in OF_BODIES), *(f"back-{one}" for one in OF_BACKENDS)):
            found[f"{name}?{what}"] = raw(gateway, f"/{name}?{what}")
        for body in BODIES:
            found[f"{name} {body[:13].decode()}"] = raw(gateway, f"/{name}", method=b"POST", body=body)
            found[f"{name} {body[:13].decode()} in pieces"] = raw(
                gateway, f"/{name}", method=b"POST", body=body, chunks=700
            )
        for what in ("", "back-chunked", "status"):
            found[f"{name}?{what} HEAD"] = raw(gateway, f"/{name}?{what}", method=b"HEAD")
        for what in ("", "raises", "late", "back-error"):
            kind = b"content-type: application/grpc"
            found[f"{name}?{what} gRPC"] = raw(gateway, f"/{name}?{what}", kind, b"te: trailers")
    found["dead"] = raw(gateway, "/dead")
    found["guarded"] = raw(gateway, "/guarded")
    return found


def test_a_processor_is_the_same_whichever_way_it_is_asked(gateway: Alone) -> None:
    flipped(gateway, called=True)
    called = everything(gateway)
    flipped(gateway, called=False)
    asked = everything(gateway)
    different = {key: (called[key], asked[key]) for key in called if called[key] != asked[key]}
    assert not different, json.dumps(different, indent=1, default=repr)
    status, headers, body = called["closed?"]
    assert status == 200 and json.loads(body) == {"a": [{"b": {"c": "\u00e9"}}]}
    assert ("content-length", str(len(body))) in headers and ("x-what", "nothing") in headers
    _, path, told, _ = json.loads(dict(headers)["x-asked"])
    assert path == "/closed?" and "accept-encoding" not in dict(told) and "x-gone" not in dict(told)
    assert dict(told)["x-over"] == "mine \u00c3\u00a9"
    assert [value for name, value in headers if name == "set-cookie"] == ["a=1", "b=2"]
    sent = json.loads(dict(called['closed {"a": 1}'][1])["x-asked"])
    assert json.loads(sent[3]) == [{"a": 1}, "w"] and dict(sent[2])["content-length"] == str(len(sent[3]))
    for key, code in (
        ("?answer", 418),
        ("?raises", 500),
        ("?late", 451),
        ("?status", 299),
        ("?body-answer", 502),
        ("?body-status", 203),
        ("?back-long", 500),
        ("?back-long-chunked", 500),
        ("?back-gzip", 500),
        ("?back-none", 204),
        ("?back-part", 500),
        (' {"refuse": 1}', 422),
        (" [1,1,1,1,1,1,", 500),
    ):
        assert called[f"closed{key}"][0] == code, key
    for key in ("?raises", "?body-raises", "?back-long", "?back-long-chunked", "?back-gzip", " [1,1,1,1,1,1,"):
        assert called[f"open{key}"][0] == 200, key
    assert called["open?back-image"][2] == called["closed?back-events"][2] == DOCUMENT
    assert len(called["open?body-grows"][2]) == len(DOCUMENT) + 1_200_000, "more than others may send"
    asked_with = json.loads(dict(called['open "grow ooo"'][1])["x-asked"])
    assert asked_with[3] == 10 + 1_200_000
    assert called["open?back-part"][0] == 206
    assert called["guarded"][0] == 403


def test_upgrades_pass(gateway: Alone) -> None:
    for called in (False, True):
        flipped(gateway, called=called)
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as asking:
            lines = (b"GET /closed HTTP/1.1", b"host: x", b"connection: upgrade", b"upgrade: websocket")
            asking.sendall(b"\r\n".join(lines) + b"\r\n\r\n")
            answer = http.client.HTTPResponse(asking)
            answer.begin()
            assert answer.status == 101
            asking.sendall(b"hello")
            assert asking.recv(100) == b"hello"


def test_trailers_of_requests_pass_where_envoy_calls(gateway: Alone) -> None:
    flipped(gateway, called=True)
    for body, kind, sent in ((b'{"a": 1}', "application/json", '[{"a": 1}, "w"]'), (b"hello", "text/plain", "hello")):
        status, headers, _ = with_trailers(gateway.port, "/closed", body, kind)
        asked = json.loads(headers["x-asked"])
        assert (status, asked[3]) == (200, sent) and "content-length" not in dict(asked[2])
    flipped(gateway, called=False)
    assert with_trailers(gateway.port, "/closed", b'{"a": 1}', "application/json")[0] == 501
    assert with_trailers(gateway.port, "/closed", b"hello", "text/plain")[0] == 501


def test_no_request_fails_when_the_way_changes_and_the_counters_are_one(gateway: Alone) -> None:
    flipped(gateway, called=True)

    def ask() -> int:
        answer = gateway.ask("/closed?back-chunked", b'{"a": 2}', **{"content-type": "application/json"})
        return answer.status if b"secret" not in answer.body and answer.headers.get("x-what") else 0

    with under_load(ask) as found:
        for called in (False, True, False, True):
            enough = len(found) + 20
            flipped(gateway, called=called)
            eventually("requests after it", lambda enough=enough: len(found) > enough)  # type: ignore[misc]
    assert set(found) == {200}


def test_workers_do_not_mix_their_exchanges(tmp_path: Path) -> None:
    """Among clients that go in the middle of a body, and requests that fail or are answered."""
    (tmp_path / "probe").mkdir()
    (tmp_path / "probe/plugin.py").write_text(PROBE)
    (tmp_path / "probe/plugin.toml").write_text(MANIFEST)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with alone(tmp_path, "--workers", "2") as gateway:
            gateway.backend("probed", server.server_address[1])
            gateway.plugin("both", backend="probed", path=str(tmp_path / "probe"), settings={"word": "w"})
            eventually("it is called", lambda: gateway.status("/both") == 200 and is_called(gateway, "both"))
            envoy = gateway.envoy()
            with ThreadPoolExecutor(8) as threads:
                assert all(threads.map(lambda number: as_it_should_be(gateway, number), range(400)))
            assert gateway.envoy() == envoy
    finally:
        server.shutdown()
        server.server_close()


def as_it_should_be(gateway: Alone, number: int) -> bool:
    path, headers = f"/both?n{number}", {"content-type": "application/json"}
    if number % 4 == 1:
        head = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as leaving:
            leaving.sendall(head % path.encode() + b"[1," * (number % 32))
        return True
    if number % 4 == 2:
        return gateway.ask(path, (b'{"refuse": 1}', b'"raise"')[number % 8 == 2], **headers).status in (422, 500)
    if number % 4 == 3:
        return gateway.ask("/both?back-long-chunked").status == 500
    answer = gateway.ask(path, b"%d" % number, **headers)
    asked = json.loads(answer.headers["x-asked"])
    return (answer.headers["x-what"], asked[1], asked[3]) == (f"n{number}", path, f'[{number}, "w"]')
