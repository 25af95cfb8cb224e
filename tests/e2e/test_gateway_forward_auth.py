"""``forwardAuth`` in a real Envoy: what the server is asked with, and what of its answer goes where."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from .gateway_alone import Alone, middleware, route
from .gateway_world import certificate, secret


class Both(http.server.BaseHTTPRequestHandler):
    """The backend, and under ``/auth`` the server that decides: by the body that it is told."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = {"body": body.decode(), "headers": {k.lower(): v for k, v in self.headers.items()}}
        text, status = json.dumps(told).encode(), 200
        if self.path == "/auth":
            status, text = (204, b"") if body != b"bad" else (401, b"log in " * 30_000)
        self.send_response(status)
        if self.path == "/auth":
            for name in ("session", "other"):
                self.send_header("set-cookie", f"{name}=1; Path=/")
        else:
            self.send_header("set-cookie", "backend=1")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        if status != 204:
            self.wfile.write(text)

    do_GET = do_POST = answer

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """Return the port of a server that knows its clients by their certificates, and the Secrets of one that it knows."""
    folder = tmp_path_factory.mktemp("guarded")
    (chain, key), (own, own_key) = certificate(1, "localhost"), certificate(2, "gateway")
    (folder / "chain").write_bytes(chain)
    (folder / "key").write_bytes(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=own.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "chain", folder / "key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Both)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    authority = secret("default", "authority", chain, key)
    authority |= {"type": "Opaque", "data": {"ca.crt": authority["data"]["tls.crt"]}}
    yield int(server.server_address[1]), [authority, secret("default", "own", own, own_key)]
    server.shutdown()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, guarded: tuple[int, list[dict[str, Any]]]) -> Iterator[Alone]:
    alone = Alone(tmp_path_factory.mktemp("forward"), Both)
    by_tls = {"address": f"https://localhost:{guarded[0]}/auth"}
    address = {"address": f"http://127.0.0.1:{alone.backend_port}/auth"}
    kinds: dict[str, dict[str, Any]] = {
        "body": {**address, "forwardBody": True, "maxBodySize": 100, "preserveRequestMethod": True},
        "cookies": {**address, "addAuthCookiesToResponse": ["session"]},
        "short": {**address, "forwardBody": True, "maxResponseBodySize": 1000},
        "known": {**by_tls, "tls": {"caSecret": "authority", "certSecret": "own"}},
        "stranger": {**by_tls, "tls": {"caSecret": "authority"}},
    }
    try:
        alone.write(
            *guarded[1], *(middleware(n, {"forwardAuth": s}) for n, s in kinds.items()), *(route(n, n) for n in kinds)
        )
        alone.start()
        alone.serves("/body")
        yield alone
    finally:
        alone.close()


def test_the_server_is_told_the_body(front: Alone) -> None:
    passed = front.ask("/body", "POST", b"good")
    assert passed.status == 200 and json.loads(passed.body)["body"] == "good"
    refused = front.ask("/body", "POST", b"bad")
    assert (refused.status, refused.body) == (401, b"log in " * 30_000), "the whole page comes through"
    assert refused.cookies == ["session=1; Path=/", "other=1; Path=/"]
    assert front.ask("/body", "POST", b"x" * 101).status == 413
    assert front.ask("/short", "POST", b"bad").status == 500


def test_cookies_of_the_server_that_the_client_is_to_have(front: Alone) -> None:
    assert front.ask("/cookies").cookies == ["backend=1", "session=1; Path=/"]
    assert front.ask("/body").cookies == ["backend=1"]


def test_a_server_that_knows_its_clients_by_certificate(front: Alone) -> None:
    front.serves("/known")
    front.serves("/stranger", 500)
