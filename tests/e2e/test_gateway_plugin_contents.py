"""Processors that are given bodies as a whole, asked by a real Envoy: what is rewritten, what passes, and what fails."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from . import gateway_with_plugins
from .eventually import eventually
from .gateway_with_plugins import Alone, alone, named, route

ANSWERS = """
import asyncio

class Answers:
    def response_headers(self, exchange):
        exchange.response.headers["x-seen"] = "headers"

    async def response_content(self, exchange, content):
        wrong = exchange.request.path.partition("?")[2]
        if wrong == "raises":
            raise ValueError("on purpose")
        if wrong == "awaits":
            await asyncio.Event().wait()
        if wrong == "answers":
            return exchange.respond(404, "gone\\n")
        if wrong == "stays":
            return None
        exchange.response.headers["x-size"] = len(content)
        return {"empties": b"", "grows": content * 40}.get(wrong, content.replace(b"secret", b"*"))
"""
BOTH = """
from .answers import Answers

class Both(Answers):
    def request_headers(self, exchange):
        exchange.request.headers["x-in"] = "yes"

    def request_content(self, exchange, content):
        wrong = exchange.request.path.partition("?")[2]
        if wrong == "denies":
            return exchange.respond(422, f"not {len(content)} bytes\\n", {"x-why": "because"})
        if wrong == "fails":
            raise ValueError("on purpose")
        exchange.request.headers["x-size"] = len(content)
        return content.replace(b"long", b"short")
"""
TOML = """
kind = "processor"
entry-point = "plugin:{}"
content-types = ["application/json", "text/*"]
max-content = "10k"
"""
JSON = {"content-type": "application/json"}
NAMES = ("answers-open", "answers-closed", "both-open", "both-closed")


class Backend(gateway_with_plugins.Backend):
    """Answers what ``x-answer`` says, as JSON: status, headers, body (so many times), chunks. ``told``: what it was asked."""

    told: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        if self.headers.get("upgrade") and "x-answer" not in self.headers:
            self.echo()
            return
        answer = {"status": 200, "headers": {}, "body": "", **json.loads(self.headers.get("x-answer") or "{}")}
        headers = {name.lower(): value for name, value in self.headers.items() if name != "x-answer"}
        body = answer["body"].encode("latin-1") * answer.get("times", 1)
        self.send_response(answer["status"])
        Backend.told = {"headers": headers, "body": self.body().decode("latin-1")}
        for name, value in answer["headers"].items():
            self.send_header(name, value)
        chunked = answer.get("chunks")
        if chunked:
            self.send_header("transfer-encoding", "chunked")
        elif answer["status"] not in (204, 304):
            self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD" or answer["status"] in (204, 304):
            return
        with contextlib.suppress(OSError):
            if not chunked:
                self.wfile.write(body)
                return
            for start in range(0, len(body), chunked):
                piece = body[start : start + chunked]
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

    do_POST = do_HEAD = do_GET


class Client:
    """One connection that is kept, so that what comes after shows whether what came before had its right length."""

    def __init__(self, gateway: Alone) -> None:
        self.gateway = gateway
        self.connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=30)
        self.connection.connect()
        self.connection.auto_open = 0

    def again(self) -> Client:
        self.connection.close()
        return Client(self.gateway)

    def ask(self, path: str, answer: dict[str, Any], body: Any = None, method: str = "", **headers: str) -> Said:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        said["x-answer"] = json.dumps(answer)
        chunked = body is not None and not isinstance(body, bytes)
        method = method or ("GET" if body is None else "POST")
        Backend.told = {}
        self.connection.request(method, path, body, said, encode_chunked=chunked)
        return Said(self.connection.getresponse())


class Said:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.body = answer.status, answer.read()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.told = Backend.told


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("contents")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with alone(folder) as served:
            served.backend("says", server.server_address[1])
            for name, files in (("answers", {"plugin": ANSWERS}), ("both", {"plugin": BOTH, "answers": ANSWERS})):
                (folder / name).mkdir()
                (folder / name / "plugin.toml").write_text(TOML.format(name.title()))
                for file, text in files.items():
                    (folder / name / f"{file}.py").write_text(text)
                for failure in ("Open", "Closed"):
                    common = {"failure": failure, "timeout": "1500ms", "isolation": "Process"}
                    plugin = f"{name}-{failure.lower()}"
                    served.plugin(plugin, backend="says", path=str(folder / name), **common)
            for name in NAMES:  # what is open is served before it is there
                eventually(f"{name} is asked", lambda name=name: "x-seen" in served.ask(f"/{name}/a").headers)  # type: ignore[misc]
            yield served
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client(gateway: Alone) -> Iterator[Client]:
    made = Client(gateway)
    yield made
    made.connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_answers(client: Client, name: str) -> None:
    """All on one connection: each has the length that it says."""
    opens = name.endswith("open")
    secret = {"headers": JSON, "body": '{"a": "secret"}'}
    for answer in (secret, secret | {"chunks": 4}, secret | {"headers": {"content-type": "text/plain; charset=utf-8"}}):
        said = client.ask(f"/{name}/a", answer, accept_encoding="gzip, br")
        assert (said.status, said.body, said.headers["content-length"]) == (200, b'{"a": "*"}', "10")
        assert (said.headers["x-seen"], said.headers["x-size"]) == ("headers", "15")
        assert "accept-encoding" not in said.told["headers"]
    said = client.ask(f"/{name}/a?stays", secret)
    assert (said.body, said.headers["content-length"]) == (b'{"a": "secret"}', "15")
    said = client.ask(f"/{name}/a?stays", secret | {"chunks": 4})
    assert said.body == b'{"a": "secret"}' and said.headers["transfer-encoding"] == "chunked"
    said = client.ask(f"/{name}/a?grows", {"headers": JSON, "body": "y", "times": 10_000, "chunks": 1000})
    assert (said.body, said.headers["content-length"]) == (b"y" * 400_000, "400000")
    said = client.ask(f"/{name}/a?empties", secret)
    assert (said.body, said.headers["content-length"]) == (b"", "0")
    image = {"headers": {"content-type": "image/png"}, "body": "secret", "times": 50_000}
    for answer in (image, image | {"chunks": 20_000}, image | {"headers": {}}):
        said = client.ask(f"/{name}/a", answer)
        assert said.body == b"secret" * 50_000 and said.headers["x-seen"] == "headers"
    for method, status in (("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 200)):
        said = client.ask(f"/{name}/a", {"headers": JSON, "status": status, "body": ""}, method=method)
        assert (said.status, said.body, said.headers["x-seen"]) == (
            status,
            b"",
            "headers",
        ) and "x-size" not in said.headers
    assert "content-length" not in client.ask(f"/{name}/a", secret, method="HEAD").headers
    long = {"headers": JSON, "body": "z", "times": 10_001}
    packed = {"headers": JSON | {"content-encoding": "gzip"}, "body": gzip.compress(b"{}").decode("latin-1")}
    for path, answer, words in (
        ("a", long, b"its content is longer than the 10000 bytes that it takes (max-content)"),
        ("a", long | {"chunks": 1000}, b"its content is longer than the 10000 bytes that it takes (max-content)"),
        ("a", packed, b"its content is encoded (gzip): what it was is not known"),
        ("a?raises", secret, b"plugin failed: ValueError: on purpose"),
        ("a?awaits", secret, b"plugin failed: TimeoutError: it took longer than 1.5 s"),
    )[: 5 if name.startswith("answers") else 4]:  # once is enough to wait
        said = client.ask(f"/{name}/{path}", answer)
        if opens:
            assert (said.status, said.body) == (
                200,
                answer["body"].encode("latin-1") * answer.get("times", 1),
            ) and "x-seen" not in said.headers
        else:
            assert said.status == 500 and words in said.body and said.headers["content-type"] == "text/plain"
    gone = client.ask(f"/{name}/a?answers", secret)
    assert (gone.status, gone.body, gone.headers["content-length"]) == (404, b"gone\n", "5")
    assert client.ask(f"/{name}/a", secret).body == b'{"a": "*"}'


@pytest.mark.parametrize("name", ["both-open", "both-closed"])
def test_requests(client: Client, name: str) -> None:
    opens = name.endswith("open")
    for body in (b"a long one", iter([b"a lo", b"ng one"])):
        said = client.ask(f"/{name}/a", {}, body, content_type="text/plain")
        headers = said.told["headers"]
        assert (said.told["body"], headers["content-length"], headers["x-size"]) == ("a short one", "11", "10")
        assert headers["x-in"] == "yes" and "transfer-encoding" not in headers
    for body, kind in (
        (b"a long one" * 2000, "image/png"),
        (iter([b"a lo", b"ng one"]), "image/png"),
        (b"", "text/plain"),
    ):
        said = client.ask(f"/{name}/a", {}, body, content_type=kind)
        assert said.status == 200 and said.told["headers"]["x-in"] == "yes" and "x-size" not in said.told["headers"]
        assert said.told["body"] == ("a long one" if not isinstance(body, bytes) else body.decode())
    denied = client.ask(f"/{name}/a?denies", {}, b"a long one", content_type="text/plain")
    assert (denied.status, denied.body, denied.headers["x-why"]) == (422, b"not 10 bytes\n", "because")
    for path, body, encoding, words in (
        ("a?fails", b"a long one", "identity", b"plugin failed: ValueError: on purpose"),
        ("a", b"z" * 10_001, "identity", b"its content is longer than the 10000 bytes"),
        ("a", iter([b"z" * 5000] * 3), "identity", b"its content is longer than the 10000 bytes"),
        ("a", gzip.compress(b"{}"), "gzip", b"its content is encoded (gzip)"),
    ):
        client = client.again()  # where an answer comes before the body has been sent, the connection ends
        said = client.ask(f"/{name}/{path}", {}, body, content_type="text/plain", content_encoding=encoding)
        if opens:
            expected = body.decode("latin-1") if isinstance(body, bytes) else "z" * 15_000
            assert said.told["body"] == expected and not {"x-in", "x-size"} & said.told["headers"].keys()
        else:
            assert said.status == 500 and words in said.body and said.told == {}


def test_what_is_no_body_passes(gateway: Alone) -> None:
    """A WebSocket is seen by its headers."""
    head = "host: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    for name in NAMES:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as client:
            client.sendall(f"GET /{name}/a HTTP/1.1\r\n{head}".encode())
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 101 ") and b"x-seen: headers" in answer, answer
            for text in (b"one", b"two"):
                client.sendall(text)
                assert client.recv(4096) == text


def test_what_answers_an_upgrade_instead_comes_without_its_body(gateway: Alone) -> None:
    """Envoy does not send it to the plugin, which is to take something out."""
    for name in NAMES:
        client = Client(gateway)
        refused = {"status": 426, "headers": {**JSON, "www-authenticate": "A"}, "body": '{"a": "secret"}'}
        said = client.ask(f"/{name}/a", refused, connection="upgrade", upgrade="websocket")
        assert (said.status, said.body, said.headers["www-authenticate"]) == (426, b"", "A")
        assert said.headers["x-seen"] == "headers" and "content-type" not in said.headers
        client = client.again()
        refused["headers"] = {"content-type": "image/png"}
        said = client.ask(f"/{name}/a", refused, connection="upgrade", upgrade="websocket")
        assert (said.status, said.body) == (426, b'{"a": "secret"}')
        client.connection.close()


def test_what_stands_before_is_not_its_own(gateway: Alone, tmp_path: Path) -> None:
    """A hook's refusal goes by, and an answer is compressed after the plugin has had it."""
    (tmp_path / "plugin.py").write_text(
        "def request(request):\n    if request.path.endswith('?no'):\n        return request.respond(403, 'secret\\n')\n"
    )
    hook = named("gateway.sampan.dev/v1alpha1", "Plugin", "hook", path=str(tmp_path))
    packs = named("traefik.io/v1alpha1", "Middleware", "packs", compress={"minResponseBodyBytes": 1})
    way = route("behind", "hook", "answers-closed", backend="says")
    reference = {"group": "traefik.io", "kind": "Middleware", "name": "packs"}
    way["spec"]["rules"][0]["filters"].append({"type": "ExtensionRef", "extensionRef": reference})
    gateway.write("behind", hook, packs, way)
    gateway.served("behind")
    client = Client(gateway)
    try:
        denied = client.ask("/behind/a?no", {})
        assert (denied.status, denied.body) == (403, b"secret\n") and "x-seen" not in denied.headers
        said = client.ask("/behind/a", {"headers": JSON, "body": "secret", "times": 1000}, accept_encoding="gzip")
        assert (said.headers["content-encoding"], gzip.decompress(said.body)) == ("gzip", b"*" * 1000)
        assert "accept-encoding" not in said.told["headers"]
    finally:
        client.connection.close()
