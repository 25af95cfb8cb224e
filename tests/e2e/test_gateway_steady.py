"""Nothing fails while things change: listeners beside one that is in use, endpoints, servers that end as Go's do."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, ClassVar

import pytest

from .eventually import eventually
from .gateway_world import (
    HOST,
    Alone,
    Connection,
    Load,
    any_certificate,
    ask,
    certificate,
    free_port,
    gateway_object,
    on_host,
    parameters_of,
    parameters_ref,
    route_object,
    secret,
    to,
)


class Backend(socketserver.ThreadingTCPServer):
    """Answers with its name on connections that stay, until it ends as servers do: it takes no more connections, closes
    those without a request, and what it has begun it finishes."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.name = name
        self.idle: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.ending = False
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        with self.lock:
            self.ending = True
            for connection in self.idle:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class Answering(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        connection: socket.socket = self.request
        data = b""
        while True:
            with server.lock:
                if server.ending:
                    return
                server.idle.add(connection)
            with contextlib.suppress(OSError):
                data = connection.recv(65536)
            with server.lock:
                server.idle.discard(connection)
            if not data:
                return
            text = server.name.encode()
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))
            data = b""


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Front:
    def __init__(self, alone: Alone) -> None:
        self.alone = alone
        self.http, self.https, self.tcp, self.other = (free_port() for _ in range(4))
        self.parameters = parameters_of("p")
        self.red, self.blue = Backend("red"), Backend("blue")
        self.echo = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
        self.echo.daemon_threads = True
        threading.Thread(target=self.echo.serve_forever, daemon=True).start()

    def secure(self, name: str, hostname: str, port: int = 0, **more: Any) -> dict[str, Any]:
        tls = {"certificateRefs": [{"name": "certificate"}]}
        return {"name": name, "port": port or self.https, "protocol": "HTTPS", "hostname": hostname, "tls": tls, **more}

    def listeners(self, *more: dict[str, Any]) -> None:
        """Say which listeners there are beside those that are in use."""
        used = [
            {"name": "http", "port": self.http, "protocol": "HTTP"},
            self.secure("shop", HOST),
            {"name": "tcp", "port": self.tcp, "protocol": "TCP"},
        ]
        gateway = gateway_object(*used, *more, infrastructure=parameters_ref("p"))
        self.alone.write(self.parameters, gateway, file="gateway")

    def rest(self, *filters: dict[str, Any]) -> None:
        """Say all the rest. ``filters``: of the route that is asked."""
        tcp = {"parentRefs": [{"name": "front", "sectionName": "tcp"}]}
        tls = {"parentRefs": [{"name": "front", "sectionName": "b"}], "hostnames": ["b.example"]}
        self.alone.write(
            secret("default", "certificate", *certificate()),
            *on_host("default", "red", "127.0.0.1", self.red.port),
            *on_host("default", "blue", "127.0.0.1", self.blue.port),
            *on_host("default", "echo", "127.0.0.1", self.echo.server_address[1]),
            route_object("HTTPRoute", "shop", to("red", filters=list(filters))),
            route_object("TCPRoute", "tcp", to("echo"), **tcp),
            route_object("TLSRoute", "tls", to("blue"), **tls),
        )

    def https_status(self, host: str, port: int = 0) -> int:
        """Return the status of a request over TLS, 0 where there is no such listener."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            plain = socket.create_connection(("127.0.0.1", port or self.https), 10)
            connection = http.client.HTTPConnection("127.0.0.1")
            connection.sock = any_certificate().wrap_socket(plain, server_hostname=host)
            connection.request("GET", "/", headers={"Host": host})
            return connection.getresponse().status
        return 0


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with Alone(tmp_path_factory.mktemp("steady")) as alone:
        made = Front(alone)
        made.rest()
        made.listeners()
        eventually("HTTPS is served", lambda: made.https_status(HOST) == 200)
        eventually("so is HTTP", lambda: ask(f"127.0.0.1:{made.http}", "/", Host=HOST).status == 200)
        eventually("and TCP", lambda: echoes(made.tcp))
        yield made
        made.red.end()
        made.blue.end()
        made.echo.shutdown()


def echoes(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"ping")
        return connection.recv(100) == b"ping"


class Stream(threading.Thread):
    """One connection through a TCP listener that is asked and answered all the time."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.connection = socket.create_connection(("127.0.0.1", port), 30)
        self.turns, self.failed = 0, ""
        self.ending = threading.Event()

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                self.connection.sendall(b"ping")
                assert self.connection.recv(100) == b"ping"
                self.turns += 1
        except (OSError, AssertionError) as error:
            self.failed = repr(error)

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ending.set()
        self.join(15)
        self.connection.close()
        assert not self.failed and self.turns > 3


def test_every_change_of_a_listener_leaves_the_others_connections_alone(front: Front) -> None:
    plain, secure = Connection("127.0.0.1", front.http), Connection("127.0.0.1", front.https, any_certificate())
    status = front.https_status
    passing = {
        "name": "b",
        "port": front.https,
        "protocol": "TLS",
        "hostname": "b.example",
        "tls": {"mode": "Passthrough"},
    }
    ending = {**passing, "tls": {"mode": "Terminate", "certificateRefs": [{"name": "certificate"}]}}

    def passes() -> bool:
        """Whether what is sent for ``b.example`` reaches the backend as it is: an answer that is no TLS."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", front.https), 10) as raw:
            context = any_certificate()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing, server_hostname="b.example")
            with contextlib.suppress(ssl.SSLWantReadError):
                client.do_handshake()
            raw.sendall(outgoing.read())
            return raw.recv(100).startswith(b"HTTP/1.1 200 ")
        return False

    steps: list[tuple[str, list[dict[str, Any]], Callable[[], bool]]] = [
        ("added on the port", [front.secure("b", "b.example")], lambda: status("b.example") == 200),
        (
            "its host changed",
            [front.secure("b", "c.example")],
            lambda: (status("b.example"), status("c.example")) == (0, 200),
        ),
        ("a wildcard", [front.secure("b", "*.example")], lambda: status("d.example") == 200 and status(HOST) == 200),
        ("passes TLS through", [passing], passes),
        ("ends TLS for TCP", [ending], lambda: status("b.example") == 200 and not passes()),
        (
            "its port changed",
            [front.secure("b", "b.example", front.other)],
            lambda: status("b.example", front.other) == 200,
        ),
        (
            "HTTP on the same port as HTTP",
            [{"name": "b", "port": front.http, "protocol": "HTTP", "hostname": "b.example"}],
            lambda: status("b.example", front.other) == 0,
        ),
        (
            "plain on another",
            [{"name": "b", "port": front.other, "protocol": "HTTP"}],
            lambda: socket_opens(front.other),
        ),
        (
            "one that is broken",
            [front.secure("b", "b.example", tls={"certificateRefs": [{"name": "no"}]})],
            lambda: told(front),
        ),
        ("removed", [], lambda: status("b.example") == 0 and not socket_opens(front.other)),
    ]
    with Load(plain), Load(secure), Stream(front.tcp):
        for name, more, holds in steps:
            front.listeners(*more)
            eventually(name, holds)
    assert (plain.opened, secure.opened) == (1, 1)


def test_parameters_of_the_gateway_and_filters_change_and_no_request_fails(front: Front) -> None:
    """These change the chains that are in use: their connections end in order, sooner or later."""
    plain, secure = Connection("127.0.0.1", front.http), Connection("127.0.0.1", front.https, any_certificate())

    def answer() -> http.client.HTTPResponse:
        connection = Connection("127.0.0.1", front.https, any_certificate())
        connection.request("GET", "/", headers={"Host": HOST})
        found = connection.getresponse()
        found.read()
        return found

    def limit(value: str) -> dict[str, Any]:
        """A Middleware whose filter the chain has not had; its limit is not reached."""
        metadata = {"name": f"limit-{value}", "namespace": "default"}
        spec = {"rateLimit": {"average": 1_000_000, "burst": 1_000_000 + len(value)}}
        return {"apiVersion": "gateway.sampan.dev/v1alpha1", "kind": "Middleware", "metadata": metadata, "spec": spec}

    with Load(plain), Load(secure):
        for turn in range(6):
            http3 = {"http3": {}} if turn % 2 else {}
            front.parameters = parameters_of("p", clients={"maxHeaders": 50 + turn}, **http3)
            front.listeners()
            eventually("it is so", lambda turn=turn: bool(answer().getheader("alt-svc")) == bool(turn % 2))  # type: ignore[misc]
        marks = ("a", "bb", "ccc")
        front.alone.write(*(limit(value) for value in marks), file="limits")
        for value in marks:
            reference = {"group": "gateway.sampan.dev", "kind": "Middleware", "name": f"limit-{value}"}
            headers = {"set": [{"name": "x-mark", "value": value}]}
            change = {"type": "ResponseHeaderModifier", "responseHeaderModifier": headers}
            front.rest({"type": "ExtensionRef", "extensionRef": reference}, change)
            eventually("it is so", lambda value=value: answer().getheader("x-mark") == value)  # type: ignore[misc]
        front.rest()
        eventually("it is gone", lambda: answer().getheader("x-mark") is None)


def test_one_save_changes_a_route_and_what_it_refers_to(front: Front) -> None:
    """Whatever the order in the file: what a route comes to refer to is there before it, what it referred to after it."""
    with Load(Connection("127.0.0.1", front.http), "/saved") as load:
        for turn in range(20):
            reference = {"group": "gateway.sampan.dev", "kind": "Middleware", "name": f"named-{turn}"}
            rule = to(
                f"backend-{turn}",
                matches=[{"path": {"value": "/saved"}}],
                filters=[{"type": "ExtensionRef", "extensionRef": reference}],
            )
            middleware = {
                "apiVersion": "gateway.sampan.dev/v1alpha1",
                "kind": "Middleware",
                "metadata": {"name": f"named-{turn}", "namespace": "default"},
                "spec": {"headers": {"customResponseHeaders": {"x-mark": str(turn)}}},
            }
            service = on_host("default", f"backend-{turn}", "127.0.0.1", front.blue.port)
            front.alone.write(route_object("HTTPRoute", "saved", rule), middleware, *service, file="saved")
            eventually(f"save {turn} is served", lambda turn=turn: load.marks[-1:] == [str(turn)])  # type: ignore[misc]


def told(front: Front) -> bool:
    return front.alone.told("listener b: ResolvedRefs: InvalidCertificateRef: Secret default/no does not exist")


def socket_opens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def slices(*ports: int) -> list[dict[str, Any]]:
    """Return the Service ``turning`` with those servers."""
    service, piece = on_host("default", "turning", "127.0.0.1", ports[0])
    made = []
    for number, port in enumerate(ports):
        metadata = {**piece["metadata"], "name": f"turning-{number}"}
        made.append({**piece, "metadata": metadata, "ports": [{"name": "http", "port": port, "protocol": "TCP"}]})
    return [service, *made]


def test_servers_that_end_while_they_are_asked_fail_no_request(front: Front) -> None:
    """They end before the gateway hears of it, in the midst of load: what they have not begun goes to another."""
    servers = [Backend("one"), Backend("two")]
    route = route_object("HTTPRoute", "turning", to("turning", matches=[{"path": {"value": "/turning"}}]))
    front.alone.write(*slices(*(one.port for one in servers)), route, file="turning")
    connections = [Connection("127.0.0.1", front.http) for _ in range(4)]

    def answered() -> str:
        connection = Connection("127.0.0.1", front.http)
        connection.request("GET", "/turning", headers={"Host": HOST})
        return connection.getresponse().read().decode()

    eventually("both are asked", lambda: answered() in ("one", "two"))
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(connection, "/turning")) for connection in connections]
        for turn in range(20):
            old = servers.pop(0)
            old.end()
            servers.append(Backend(f"server {turn}"))
            front.alone.write(*slices(*(one.port for one in servers)), route, file="turning")
            eventually(f"server {turn} is asked", lambda turn=turn: answered() == f"server {turn}")  # type: ignore[misc]
    assert sum(sum(load.codes.values()) for load in loads) > 50
    for one in servers:
        one.end()


class Silent(socketserver.BaseRequestHandler):
    """Reads a request and closes: nobody knows what came of it."""

    def handle(self) -> None:
        head = self.request.recv(65536)
        if head:
            Silent.seen.append(head.split(b" ")[0].decode())

    seen: ClassVar[list[str]] = []


def test_what_may_have_changed_something_is_not_sent_again(front: Front) -> None:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules = [
        to("silent", matches=[{"path": {"value": "/usual"}}]),
        to("silent", matches=[{"path": {"value": "/limited"}}], timeouts={"backendRequest": "5s"}),
        to("silent", matches=[{"path": {"value": "/never"}}], retry={"attempts": 0}),
    ]
    objects = on_host("default", "silent", "127.0.0.1", server.server_address[1])
    front.alone.write(*objects, route_object("HTTPRoute", "silent", *rules), file="silent")

    def tries(method: str, path: str) -> int:
        """Return how often the server was asked; 0 where the answer is another than that it did not answer."""
        Silent.seen.clear()
        connection = Connection("127.0.0.1", front.http)
        connection.request(method, path, headers={"Host": HOST})
        return len(Silent.seen) if connection.getresponse().status == 503 else 0

    eventually("what changes nothing is sent again", lambda: tries("GET", "/usual") == 3)
    assert tries("HEAD", "/usual") == 3
    for method, path in (
        ("POST", "/usual"),
        ("PUT", "/usual"),
        ("DELETE", "/usual"),
        ("GET", "/limited"),
        ("GET", "/never"),
    ):
        assert tries(method, path) == 1, (method, path)
    server.shutdown()


def test_what_no_server_has_seen_goes_to_another_whatever_its_method(front: Front) -> None:
    """One of two endpoints is a port where nobody listens, as a pod's that has just gone."""
    server = Backend("one")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    rules = [
        to("turning", matches=[{"path": {"value": "/either"}}]),
        to("turning", matches=[{"path": {"value": "/once"}}], retry={"attempts": 0}),
    ]
    front.alone.write(*slices(server.port, port), route_object("HTTPRoute", "turning", *rules), file="turning")

    def status(path: str) -> int:
        connection = Connection("127.0.0.1", front.http)
        connection.request("POST", path, body=b"x", headers={"Host": HOST})
        return connection.getresponse().status

    eventually("the dead one is asked too", lambda: status("/once") == 503)
    assert [status("/either") for _ in range(20)] == [200] * 20
    server.end()


def test_endpoints_come_and_go(front: Front) -> None:
    servers = [Backend(f"server {number}") for number in range(4)]
    route = route_object("HTTPRoute", "turning", to("turning", matches=[{"path": {"value": "/turning"}}]))
    with ExitStack() as stack:
        front.alone.write(*slices(*(one.port for one in servers)), route, file="turning")
        eventually("they are asked", lambda: asked(front) == 200)
        loads = [stack.enter_context(Load(Connection("127.0.0.1", front.http), "/turning")) for _ in range(2)]
        for turn in range(20):
            wanted = {one.name: one.port for number, one in enumerate(servers) if number != turn % 4}
            front.alone.write(*slices(*wanted.values()), route, file="turning")

            eventually("only they are asked", partial(only, loads, set(wanted)))
    for one in servers:
        one.end()


def only(loads: list[Load], wanted: set[str]) -> bool:
    """Whether no others than these answer the requests to come."""
    for load in loads:
        load.bodies.clear()
    before = sum(sum(load.codes.values()) for load in loads)
    eventually("more requests", lambda: sum(sum(load.codes.values()) for load in loads) > before + 20)
    return set().union(*(load.bodies for load in loads)) <= wanted


def asked(front: Front) -> int:
    connection = Connection("127.0.0.1", front.http)
    connection.request("GET", "/turning", headers={"Host": HOST})
    return connection.getresponse().status
