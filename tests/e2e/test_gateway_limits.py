"""Limits of clients in a real Envoy that asks our own Rate Limit Service."""

from __future__ import annotations

import http.server
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from .eventually import eventually
from .gateway_alone import Alone, free_port, middleware, route

BY_TENANT = {"requestHeaderName": "X-Tenant"}
BY_FORWARDED = {"ipStrategy": {"depth": 1}}
EXCLUDED = {"ipStrategy": {"excludedIPs": ["10.0.0.0/8", "2001:db8::/32"]}}
MIDDLEWARES = {
    "tenant": {"inFlightReq": {"amount": 1, "sourceCriterion": BY_TENANT}},
    "address": {"inFlightReq": {"amount": 2, "sourceCriterion": {"ipStrategy": {}}}},
    "forwarded": {"inFlightReq": {"amount": 1, "sourceCriterion": BY_FORWARDED}},
    "excluded": {"inFlightReq": {"amount": 1, "sourceCriterion": EXCLUDED}},
    "host": {"inFlightReq": {"amount": 1}},
    "denied": {"chain": {"middlewares": [{"name": "nobody"}, {"name": "tenant"}]}},
    "nobody": {"ipAllowList": {"sourceRange": ["192.0.2.0/24", "2001:db8::/33"], "rejectStatusCode": 451}},
    "some": {
        "ipAllowList": {"sourceRange": ["192.0.2.0/25", "2001:db8::/33"], "ipStrategy": {"depth": 1}},
    },
    "closed": {"rateLimit": {"average": 1000, "burst": 1000, "shared": True, "failure": "Closed"}},
    "limited": {"rateLimit": {"average": 1, "period": "1h", "burst": 2, "sourceCriterion": BY_FORWARDED}},
    "shared": {
        "rateLimit": {"average": 1, "period": "1h", "burst": 2, "sourceCriterion": BY_FORWARDED, "shared": True}
    },
}


FEW: list[int] = []
"""The port of the listener ``few``, once there is one."""


def connections(name: str, spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an IngressRouteTCP's way to say it: a TCPRoute with a MiddlewareTCP, on the listener of its name."""
    there = {"name": name, "namespace": "default"}
    rules = [{"backendRefs": [{"name": "backend", "port": 80}]}]
    return [
        {"apiVersion": "traefik.io/v1alpha1", "kind": "MiddlewareTCP", "metadata": there, "spec": spec},
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "TCPRoute",
            "metadata": {**there, "annotations": {"gateway.sampan.dev/middlewares": f"traefik.io/{name}"}},
            "spec": {"parentRefs": [{"name": "front", "sectionName": name}], "rules": rules},
        },
    ]


class Waiting(http.server.BaseHTTPRequestHandler):
    """Answers when it is let go."""

    protocol_version = "HTTP/1.1"
    arrived = threading.Semaphore(0)
    leave = threading.Event()

    def do_GET(self) -> None:
        if self.path.endswith("/wait"):
            Waiting.arrived.release()
            Waiting.leave.wait(60)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    alone = Alone(tmp_path_factory.mktemp("limits"), Waiting)
    FEW[:] = [free_port()]
    try:
        alone.write(
            *(middleware(n, s) for n, s in MIDDLEWARES.items()),
            *(route(n, n) for n in MIDDLEWARES),
            route("again", "shared"),
            *connections("few", {"inFlightConn": {"amount": 2}}),
            listeners=({"name": "few", "port": FEW[0], "protocol": "TCP"},),
        )
        alone.start()
        alone.serves("/tenant")
        yield alone
    finally:
        alone.close()


@pytest.fixture(autouse=True)
def held() -> Iterator[None]:
    Waiting.leave.clear()
    yield
    Waiting.leave.set()


@pytest.mark.parametrize(
    ("path", "same", "other", "amount"),
    [
        ("/tenant", {"X_Tenant": "a"}, {"X_Tenant": "b"}, 1),
        ("/tenant", {}, {"X_Tenant": "c"}, 1),
        ("/address", {}, None, 2),
        ("/forwarded", {"X_Forwarded_For": "1.1.1.1, 192.0.2.7"}, {"X_Forwarded_For": "192.0.2.7, 192.0.2.8"}, 1),
        ("/excluded", {"X_Forwarded_For": "1.1.1.1, 192.0.2.7, 10.1.2.3"}, {"X_Forwarded_For": "10.2.0.1, 192.0.2.9"}, 1),
        ("/excluded", {"X_Forwarded_For": "2001:db7::9, 2001:DB8:0::1"}, {"X_Forwarded_For": "2001:db9::9, 2001:db8::1"}, 1),
        ("/host", {"Host": "a.example"}, {"Host": "b.example"}, 1),
    ],
)  # fmt: skip
def test_each_client_has_its_own_count(
    front: Alone, path: str, same: dict[str, str], other: dict[str, str] | None, amount: int
) -> None:
    with ThreadPoolExecutor(amount) as pool:
        flying = [pool.submit(front.ask, f"{path}/wait", **same) for _ in range(amount)]
        try:
            for _ in flying:
                assert Waiting.arrived.acquire(timeout=60)
            assert front.status(path, **same) == 429
            if other is not None:
                assert front.status(path, **other) == 200
        finally:
            Waiting.leave.set()
        assert [one.result().status for one in flying] == [200] * amount
    eventually("who waited may come again", lambda: front.status(path, **same) == 200)
    assert [front.status(path, **same) for _ in range(20)] == [200] * 20


def test_a_client_that_goes_away_is_not_counted_any_more(front: Alone) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", front.port)) as client:
            client.sendall(b"GET /tenant/wait HTTP/1.1\r\nHost: x\r\nX-Tenant: gone\r\n\r\n")
            assert Waiting.arrived.acquire(timeout=60)
            assert front.status("/tenant", X_Tenant="gone") == 429
        eventually("it is known to have gone", lambda: front.status("/tenant", X_Tenant="gone") == 200)


def test_who_may_pass(front: Alone) -> None:
    assert [front.status("/denied"), front.status("/nobody")] == [451, 451]
    for address, status in (
        ("192.0.2.127", 200),
        ("10.0.0.1, 192.0.2.1", 200),
        ("192.0.2.1, 10.0.0.1", 403),
        ("192.0.2.128", 403),
        ("2001:0db8:7fff::1", 200),
        ("2001:db8:8000::1", 403),
        ("::ffff:192.0.2.5", 200),
        ("1:2:3:4:5:6:7:8:9", 403),
        ("x", 403),
        ("", 403),
    ):
        assert front.status("/some", X_Forwarded_For=address) == status, address
    assert front.status("/some") == 403


def test_so_many_in_a_time(front: Alone) -> None:
    for path in ("/limited", "/shared"):
        assert [front.status(path, X_Forwarded_For="1.1.1.1") for _ in range(3)] == [200, 200, 429]
        assert front.status(path, X_Forwarded_For="1.1.1.1, 2.2.2.2") == 200
    answer = front.ask("/again", X_Forwarded_For="1.1.1.1")
    assert answer.status == 429 and 3000 < int(answer.headers["retry-after"]) <= 3600, "all routes count together"


def passes(connection: socket.socket) -> bool:
    """Whether a connection leads to the backend."""
    try:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            if not (piece := connection.recv(4096)):
                return False
            answer += piece
        return answer.startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def opened(source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", FEW[0]), timeout=20, source_address=(source, 0))


def two_pass() -> bool:
    try:
        with opened() as first, opened() as second:
            return passes(first) and passes(second)
    except OSError:
        return False


def test_so_many_connections_of_a_client(front: Alone) -> None:
    eventually("the listener is there", two_pass)
    for _ in range(3):
        eventually("those before are known to have gone", two_pass)
        for _ in range(20):
            opened().close()  # some of these end while Envoy asks about them
    eventually("none of them is counted any more", two_pass)


def test_one_connection_more_is_closed(front: Alone) -> None:
    first = second = None

    def both() -> bool:
        nonlocal first, second
        for one in (first, second):
            if one is not None:
                one.close()
        first, second = opened(), opened()
        return passes(first) and passes(second)

    eventually("two are let in", both)
    assert first is not None and second is not None
    with first, second:
        with opened() as third:
            assert not passes(third), "two are there already"
        with opened("127.0.0.2") as other:
            assert passes(other), "another client has its own count"
        assert passes(first) and passes(second), "who was there stays"


def test_while_the_service_does_not_answer_requests_pass_or_not_as_was_said(front: Alone) -> None:
    assert front.process is not None and front.status("/closed") == 200
    front.process.send_signal(signal.SIGSTOP)  # Envoy goes on
    try:
        assert [front.status(path, X_Tenant="waits") for path in ("/again", "/tenant", "/closed")] == [200, 200, 503]
    finally:
        front.process.send_signal(signal.SIGCONT)
    eventually("it answers again", lambda: front.status("/closed") == 200)
    eventually("nothing of then is counted", lambda: front.status("/tenant", X_Tenant="waits") == 200)
