"""A gateway from files with one Gateway on a free port of loopback, and a backend that tells what it was asked."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events

from .eventually import eventually

SLOW = "def request(request):\n    while request.path == '':\n        pass\n"
"""A hook of which it is not shown that it is quick, though it is."""
MEBIBYTE = b"o" * (1 << 20)


class Backend(http.server.BaseHTTPRequestHandler):
    """``/big`` is 200 MiB, an upgrade is an echo, everything else is what was asked, as JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.endswith("/big"):
            self.send_response(200)
            self.send_header("content-length", str(200 * len(MEBIBYTE)))
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(200):
                    self.wfile.write(MEBIBYTE)
            return
        if self.headers.get("upgrade"):
            self.echo()
            return
        told = {
            "path": self.path,
            "headers": {k.lower(): v for k, v in self.headers.items()},
            "body": self.body().decode(),
        }
        text = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def echo(self) -> None:
        self.send_response(101)
        self.send_header("upgrade", self.headers["upgrade"])
        self.send_header("connection", "upgrade")
        self.end_headers()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True

    def body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def log_message(self, *arguments: object) -> None:
        pass


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.body = answer.status, answer.read()
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.cookies = answer.headers.get_all("set-cookie") or []

    @property
    def told(self) -> dict[str, Any]:
        """What the backend was asked."""
        return dict(json.loads(self.body))


class Alone:
    """``write`` objects, ``ask`` the Gateway."""

    def __init__(self, directory: Path, backend: int, environment: dict[str, str], options: Sequence[str] = ()) -> None:
        self.directory, self.port = directory / "config", free_port()
        self.directory.mkdir()
        self.log_dir = directory / "logs"
        gateway = {"gatewayClassName": "sampan", "listeners": [{"name": "http", "port": self.port, "protocol": "HTTP"}]}
        self.backend("back", backend)
        self.write(
            "base",
            named("gateway.networking.k8s.io/v1", "Gateway", "gw", **gateway),
            route("plain"),
        )
        self.log = directory / "log"
        words = ("--config", str(self.directory), "--address", "127.0.0.1", "--log-dir", str(self.log_dir))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sampan.cli.main", "gateway", "run", *words, *options],
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )

    def write(self, file: str, *objects: dict[str, Any]) -> None:
        aside = self.directory / f".{file}"
        aside.write_text("\n---\n".join(json.dumps(obj) for obj in objects))
        aside.rename(self.directory / f"{file}.yaml")

    def backend(self, name: str, port: int, **more: str) -> None:
        """Put a Service before a port of loopback."""
        self.write(f"backend-{name}", *backend(name, port, **more))

    def plugin(self, name: str, *, backend: str = "back", **spec: Any) -> None:
        """Put a Plugin and a route at ``/NAME`` in the place of those of that name."""
        plugin = named("gateway.sampan.dev/v1alpha1", "Plugin", name, **spec)
        self.write(name, plugin, route(name, name, backend=backend))

    def ask(self, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, body, headers)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def status(self, path: str, body: bytes | None = None) -> int:
        """The status of an answer, 0 where there is none."""
        try:
            return self.ask(path, body).status
        except (OSError, http.client.HTTPException):
            return 0

    def served(self, name: str, seconds: float = 60) -> None:
        eventually(f"/{name} is served: {self.log}", lambda: self.status(f"/{name}") == 200, seconds)

    def children(self) -> dict[int, str]:
        """The processes that it has started, with their commands."""
        found: dict[int, str] = {}
        for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has just ended
                found[int(pid)] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return found

    def envoy(self) -> int:
        return next(pid for pid, command in self.children().items() if "envoy.json" in command)

    def counters(self, name: str) -> dict[str, Any]:
        """What ``sampan gateway plugins`` reads of a process; nothing where it does not answer."""
        folder = Path(self.children()[self.envoy()].split()[2]).parent
        address = folder / f"{hashlib.sha256(f'default/{name}'.encode()).hexdigest()[:12]}.counters.sock"
        answer = b""
        with socket.socket(socket.AF_UNIX) as asking, contextlib.suppress(OSError):
            asking.settimeout(5)
            asking.connect(str(address))
            asking.sendall(b"GET /counters HTTP/1.1\r\nhost: plugin\r\nconnection: close\r\n\r\n")
            while data := asking.recv(65536):
                answer += data
        return dict(json.loads(answer.partition(b"\r\n\r\n")[2] or b"{}"))


def with_trailers(port: int, path: str, body: bytes, kind: str) -> tuple[int, dict[str, str], bytes]:
    """Ask over HTTP/2 with trailers behind the body; return the status, the headers and the body of the answer."""
    talk = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="latin-1"))
    talk.initiate_connection()
    head = [(":method", "POST"), (":path", path), (":authority", "x"), (":scheme", "http"), ("content-type", kind)]
    talk.send_headers(1, head)
    for at in range(0, len(body), 3):
        talk.send_data(1, body[at : at + 3])
    talk.send_headers(1, [("x-end", "yes")], end_stream=True)
    headers, found = dict[str, str](), b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as asking:
        asking.sendall(talk.data_to_send())
        while data := asking.recv(65536):
            for event in talk.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    found += event.data
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return int(headers[":status"]), headers, found
            asking.sendall(talk.data_to_send())
    raise ConnectionError("it ended before its answer")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory(pid: int) -> int:
    """Return the resident bytes of a process; of one that has ended: none."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    return 0


def named(version: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def backend(name: str, port: int, **more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        named("v1", "Service", name, ports=[{"name": "http", "port": 80, **more}]),
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        },
    )


def route(name: str, *plugins: str, backend: str = "back") -> dict[str, Any]:
    references = [{"group": "gateway.sampan.dev", "kind": "Plugin", "name": one} for one in plugins]
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
        "filters": [{"type": "ExtensionRef", "extensionRef": reference} for reference in references],
        "backendRefs": [{"name": backend, "port": 80}],
    }
    return named("gateway.networking.k8s.io/v1", "HTTPRoute", name, parentRefs=[{"name": "gw"}], rules=[rule])


@contextlib.contextmanager
def alone(directory: Path, *options: str, **environment: str) -> Iterator[Alone]:
    """A gateway that serves, until the end of the block; with options and variables of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    gateway = Alone(directory, server.server_address[1], environment, options)
    try:
        gateway.served("plain")
        yield gateway
    finally:
        gateway.process.terminate()
        gateway.process.wait(60)
        server.shutdown()
        server.server_close()


def filters_of(gateway: Alone) -> dict[str, str]:
    """Return the filters that Envoy has discovered: name → type."""
    folder = Path(gateway.children()[gateway.envoy()].split()[2]).parent
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(folder / "admin.sock"))
        connection = http.client.HTTPConnection("admin")
        connection.sock = plain
        connection.request("GET", "/config_dump?resource=ecds_filters")
        found = json.loads(connection.getresponse().read())
    filters = [one["ecds_filter"] for one in found.get("configs", ()) if "ecds_filter" in one]
    return {one["name"]: one["typed_config"]["@type"] for one in filters}


@contextlib.contextmanager
def under_load(ask: Callable[[], Any]) -> Iterator[list[Any]]:
    """Ask without a pause in two threads until the end of the block; yield what they have heard so far."""
    ended, found = threading.Event(), list[Any]()

    def load() -> None:
        while not ended.is_set():
            found.append(ask())

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()
