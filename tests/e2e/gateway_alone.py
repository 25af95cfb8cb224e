"""A gateway of ``sampan gateway run --config`` with a route for each Middleware, before a server that the test gives."""

from __future__ import annotations

import http.client
import http.server
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import yaml

from .eventually import eventually

OWN = "gateway.sampan.dev"
API = "gateway.networking.k8s.io/v1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers = answer.status, {k.lower(): v for k, v in answer.getheaders()}
        self.cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        self.body = answer.read()


def middleware(name: str, spec: dict[str, Any], group: str = OWN) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": f"{group}/v1alpha1", "kind": "Middleware", "metadata": metadata, "spec": spec}


def route(name: str, *used: str, group: str = OWN, **more: Any) -> dict[str, Any]:
    """Return an HTTPRoute of the path ``/name`` with some Middlewares on it."""
    filters = [
        {"type": "ExtensionRef", "extensionRef": {"group": group, "kind": "Middleware", "name": u}} for u in used
    ]
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
        "filters": filters,
        "backendRefs": [{"name": "backend", "port": 80}],
    }
    spec = {"parentRefs": [{"name": "front"}], "rules": [rule], **more}
    return {"apiVersion": API, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def backend(name: str, port: int, number: int = 80) -> list[dict[str, Any]]:
    """Return a Service that is a port of this machine."""
    there = {"name": name, "namespace": "default"}
    piece = {**there, "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": there,
            "spec": {"ports": [{"name": "http", "port": number}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": piece,
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        },
    ]


class Alone:
    """A running gateway; ``close`` ends it."""

    def __init__(self, folder: Path, handler: type[http.server.BaseHTTPRequestHandler], port: int = 0) -> None:
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port, self.directory, self.log = port or free_port(), folder / "config", folder / "log"
        self.directory.mkdir()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def backend_port(self) -> int:
        return int(self.server.server_address[1])

    def write(self, *objects: dict[str, Any], listeners: tuple[dict[str, Any], ...] = ()) -> None:
        """Let the gateway serve these objects, and no others besides the Gateway and the Service ``backend``."""
        front = {
            "apiVersion": API,
            "kind": "Gateway",
            "metadata": {"name": "front", "namespace": "default"},
            "spec": {
                "gatewayClassName": "sampan",
                "addresses": [{"value": "127.0.0.1"}],
                "listeners": [{"name": "http", "port": self.port, "protocol": "HTTP"}, *listeners],
            },
        }
        aside = self.directory / ".objects.new"
        aside.write_text(yaml.safe_dump_all([front, *backend("backend", self.backend_port), *objects]))
        aside.rename(self.directory / "objects.yaml")

    def start(self) -> None:
        command = [sys.executable, "-m", "sampan.cli.main", "gateway", "run", "--config", str(self.directory)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def serves(self, path: str, status: int = 200, **headers: str) -> None:
        """Return when a path is answered so."""
        eventually(f"{path} is served\n", lambda: self.status(path, **headers) == status)

    def status(self, path: str, **headers: str) -> int:
        try:
            return self.ask(path, **headers).status
        except OSError:
            return 0

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None or method == "POST":
                connection.putheader("content-length", str(len(body or b"")))
            connection.endheaders(body)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def close(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
        self.server.shutdown()
