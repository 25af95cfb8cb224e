"""Options of Traefik's middlewares in a real Envoy whose work shows over several requests: hosts and TLS that a proxy tells,
what is sent again, bodies in files, pages of errors, paths."""

from __future__ import annotations

import http.server
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from .gateway_alone import Alone, backend, free_port, middleware, route

LARGE = 3_000_000
AGAIN = '(IsNetworkError() || ResponseCode() == 503) && Attempts() <= 2 && RequestMethod() != "PUT"'
PROXIES = {"X-Proto": "https", "X-Other": "it's (a)%b"}
ON_DISK = {"memRequestBodyBytes": 1000, "maxResponseBodyBytes": LARGE, "memResponseBodyBytes": 1000}
PAGES: dict[str, Any] = {"status": ["503"], "query": "page?u={url}"}
MIDDLEWARES: dict[str, dict[str, Any]] = {
    "hosts": {"headers": {"allowedHosts": ["good.example"], "hostsProxyHeaders": ["X-First", "X-Second"]}},
    "tls": {"headers": {"stsSeconds": 60, "publicKey": 'pin-sha256="a"', "sslProxyHeaders": PROXIES}},
    "retry": {"retry": {"attempts": 3, "status": ["503"], "maxRequestBodyBytes": 10}},
    "all": {"retry": {"attempts": 3, "status": ["503"], "maxRequestBodyBytes": 10, "retryNonIdempotentMethod": True}},
    "brief": {"retry": {"attempts": 1000, "initialInterval": "20ms", "status": ["503"], "timeout": "300ms"}},
    "again": {"buffering": {"maxRequestBodyBytes": LARGE, "retryExpression": AGAIN}},
    "disk": {"buffering": {"maxRequestBodyBytes": LARGE, **ON_DISK}},
    "pages": {"errors": {**PAGES, "service": {"name": "backend", "port": 80}}},
    "own": {"errors": {**PAGES, "service": {"name": "backend", "port": 80, "scheme": "http", "passHostHeader": False}}},
    "strip": {"stripPrefix": {"prefixes": ["/strip"]}},
    "forced": {"stripPrefix": {"prefixes": ["/forced"], "forceSlash": True}},
    "add": {"addPrefix": {"prefix": "/api"}},
}
USED = {name: (name, "add") if name in ("strip", "forced") else (name,) for name in MIDDLEWARES}


class Backend(http.server.BaseHTTPRequestHandler):
    """Tells what it was asked, with the status that ``X-Status`` wants; ``X-Status: cut`` gets no answer."""

    protocol_version = "HTTP/1.1"
    tries: ClassVar[Counter[str]] = Counter()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        Backend.tries[self.path] += 1
        status = self.headers.get("x-status") or "200"
        if status == "cut":
            self.close_connection = True
            return
        told = {"path": self.path, "host": self.headers["host"], "body": len(body)}
        text = json.dumps(told).encode().ljust(int(self.headers.get("x-size") or 0))
        self.send_response(200 if self.path.startswith("/page?") else int(status))
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    alone = Alone(tmp_path_factory.mktemp("options"), Backend)
    try:
        middlewares = (middleware(name, spec) for name, spec in MIDDLEWARES.items())
        nobody = route("nobody", "brief")
        nobody["spec"]["rules"][0]["backendRefs"] = [{"name": "nobody", "port": 80}]
        routes = [*(route(name, *used) for name, used in USED.items()), nobody]
        alone.write(*middlewares, *backend("nobody", free_port()), *routes)
        alone.start()
        alone.serves("/disk")
        yield alone
    finally:
        alone.close()


def test_the_host_that_a_proxy_tells(front: Alone) -> None:
    statuses = {
        (): 403,
        (("Host", "good.example"),): 200,
        (("Host", "good.example"), ("X_Second", "bad.example")): 403,
        (("X_First", "GOOD.example"), ("X_Second", "bad.example")): 200,
        (("X_First", ""), ("X_Second", "good.example")): 200,
    }
    assert {headers: front.ask("/hosts", **dict(headers)).status for headers in statuses} == statuses


def test_tls_that_a_proxy_tells(front: Alone) -> None:
    for header, value, told in (
        ("X_Proto", "https", True),
        ("X_Proto", "http", False),
        ("X_Other", "it's (a)%b", True),
    ):
        headers = front.ask("/tls", **{header: value}).headers
        assert (headers.get("strict-transport-security") == "max-age=60") is told
        assert (headers.get("public-key-pins") == 'pin-sha256="a"') is told


def tries(
    front: Alone, path: str, method: str = "GET", body: bytes | None = None, status: str = "503"
) -> tuple[int, int]:
    """Return the status that a client gets, and how often the backend was asked."""
    Backend.tries.clear()
    answer = front.ask(path, method, body, X_Status=status)
    return answer.status, Backend.tries[path]


def test_what_is_sent_again(front: Alone) -> None:
    assert tries(front, "/retry") == (503, 3)
    assert tries(front, "/retry", "POST", b"x") == (503, 1)
    assert tries(front, "/all", "POST", b"x" * 10) == (503, 3)
    assert tries(front, "/all", "POST", b"x" * 11) == (503, 1)


def test_what_is_sent_again_for_a_time(front: Alone) -> None:
    Backend.tries.clear()
    answer = front.ask("/brief", X_Status="503")
    assert (answer.status, json.loads(answer.body)["path"]) == (503, "/brief")
    assert 1 < Backend.tries["/brief"] < 500
    unreached = front.ask("/nobody")
    assert (unreached.status, unreached.body) == (503, b"no backend was reached in the time for retries\n")
    assert "x-envoy-ratelimited" not in {**answer.headers, **unreached.headers}


def test_what_an_expression_sends_again(front: Alone) -> None:
    assert tries(front, "/again") == (503, 3)
    assert tries(front, "/again", "PUT", b"x") == (503, 1)
    assert tries(front, "/again", "POST", b"x" * LARGE) == (503, 3)
    assert tries(front, "/again", status="500") == (500, 1)
    assert tries(front, "/again", status="cut") == (503, 3)


def test_bodies_that_are_kept_in_files(front: Alone) -> None:
    for size in (10, 2_000_000, LARGE):
        assert json.loads(front.ask("/disk", "POST", b"x" * size).body)["body"] == size
        answer = front.ask("/disk", X_Size=str(size))
        assert answer.status == 200 and len(answer.body) >= size
    assert front.ask("/disk", "POST", b"x" * (LARGE + 1)).status == 413
    assert front.ask("/disk", X_Size=str(LARGE + 1)).status == 500


def test_who_is_asked_for_a_page(front: Alone) -> None:
    page = front.ask("/pages/a%20b?c=d", X_Status="503", Host="shop.example")
    told = json.loads(page.body)
    assert (page.status, told["host"]) == (503, "shop.example")
    assert told["path"] == "/page?u=http%3A%2F%2Fshop.example%2Fpages%2Fa%2520b%3Fc%3Dd"
    assert json.loads(front.ask("/own", X_Status="503", Host="shop.example").body)["host"] == "backend"


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/strip", "/api"), ("/strip?q", "/api?q"), ("/strip/", "/api/"), ("/strip/a", "/api/a"), ("/forced", "/api/")],
)
def test_what_is_left_of_a_path(front: Alone, path: str, asked: str) -> None:
    assert json.loads(front.ask(path).body)["path"] == asked
