"""What the tests of the gateway share: objects in short, a backend on the host, clients, load that counts what came back."""

from __future__ import annotations

import base64
import datetime
import http.client
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .eventually import eventually
from .up_down_cluster import Cluster

HOST = "shop.example"
GROUP = "gateway.networking.k8s.io/v1"


def apply(cluster: Cluster, *objects: dict[str, Any]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    program = str(Path(sys.executable).parent / "sampan")
    command = [program, "kubectl", "--name", cluster.name, "apply", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def address_of(cluster: Cluster, namespace: str, name: str = "front") -> str:
    """Return the address of a Gateway, when it has one."""

    def found() -> str:
        path = "jsonpath={.status.addresses[0].value}"
        return cluster.kubectl("-n", namespace, "get", "gateway", name, "-o", path).strip()

    eventually(f"the Gateway {name} has an address", lambda: bool(found()))
    return found()


def own_address(towards: str) -> str:
    """Return the address of ours that ``towards`` is reached from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((towards, 9))
        return str(probe.getsockname()[0])


def on_host(namespace: str, name: str, address: str, port: int, **more: Any) -> list[dict[str, Any]]:
    """Return a Service with the port 80, and what leads it to a server on the host. ``more``: of the Service's port."""
    metadata = {"name": name, "namespace": namespace}
    labels = {"kubernetes.io/service-name": name}
    ports = [{"name": "http", "port": 80, **more}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**metadata, "name": f"{name}-1", "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
    ]


def serve(handler: type[http.server.BaseHTTPRequestHandler], address: str = "") -> http.server.ThreadingHTTPServer:
    """Run a server in a thread, on a free port."""
    server = http.server.ThreadingHTTPServer((address, 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificate(serial: int = 1, host: str = HOST) -> tuple[bytes, bytes]:
    """Return a certificate for a host, signed by itself, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial)
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    return signed.public_bytes(Encoding.PEM), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def weak_certificate(bits: int) -> tuple[bytes, bytes]:
    """Return a self-signed certificate and its RSA key, as PEM."""
    key = rsa.generate_private_key(65537, bits)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "weak.example")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    signed = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return signed.public_bytes(Encoding.PEM), private


def secret(namespace: str, name: str, chain: bytes, key: bytes) -> dict[str, Any]:
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}


def any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Connection(http.client.HTTPConnection):
    """A connection to an address, with TLS for ``HOST`` when a context is given."""

    def __init__(self, address: str, port: int = 80, context: ssl.SSLContext | None = None) -> None:
        super().__init__(address, port, timeout=10)
        self.context = context
        self.opened = 0

    def connect(self) -> None:
        super().connect()
        self.opened += 1
        if self.context is not None:
            self.sock = self.context.wrap_socket(self.sock, server_hostname=HOST)


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers = answer.status, {k.lower(): v for k, v in answer.getheaders()}
        self.raw = answer.read()

    @property
    def told(self) -> Any:
        return json.loads(self.raw)


def ask(address: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
    """Ask an address (with a port, if not 80) once. Underscores in names of headers stand for ``-``."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Load(threading.Thread):
    """Requests one after the other on one kept connection, with a ``pause`` of seconds; counts codes and bodies, and the
    marks (``x-mark``) of answers.
    As a context, it fails where a request has failed."""

    def __init__(self, connection: Connection, path: str = "/", pause: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.connection, self.path, self.pause = connection, path, pause
        self.codes: Counter[int | str] = Counter()
        self.bodies: Counter[str] = Counter()
        self.marks: list[str] = []
        self.pairs: set[tuple[str, str]] = set()
        """``(body, mark)`` of answers."""
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.wait(self.pause):
            try:
                self.connection.request("GET", self.path, headers={"Host": HOST})
                answer = self.connection.getresponse()
                body, mark = answer.read().decode().strip(), answer.getheader("x-mark") or ""
                self.bodies[body] += 1
                self.pairs.add((body, mark))
                self.codes[answer.status] += 1
                if not self.marks or self.marks[-1] != mark:
                    self.marks.append(mark)
            except (OSError, http.client.HTTPException) as error:
                self.codes[f"{type(error).__name__}: {error}"] += 1
                self.connection.close()

    def __enter__(self) -> Load:
        self.start()
        eventually("requests run", lambda: sum(self.codes.values()) > 3)
        return self

    def __exit__(self, *error: object) -> None:
        self.ending.set()
        self.join(15)
        if error[0] is None:
            assert set(self.codes) == {200}, self.codes


class Alone:
    """A gateway on the host's own ports, from files: an Envoy, and no cluster. As a context, it ends with it."""

    def __init__(self, folder: Path, *more: str) -> None:
        self.directory, self.log = folder / "config", folder / "log"
        self.directory.mkdir()
        self.more = more
        self.under: tuple[str, ...] = ()
        """A program that starts it, with its arguments."""

    def write(self, *objects: dict[str, Any], file: str = "objects") -> None:
        """Say what there is; a file is replaced at once."""
        aside = self.directory / f".{file}"
        aside.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        aside.rename(self.directory / f"{file}.json")

    def start(self) -> None:
        command = [
            *self.under,
            sys.executable,
            "-m",
            "sampan.cli.main",
            "gateway",
            "run",
            "--config",
            str(self.directory),
        ]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, *self.more], stdout=log, stderr=log)

    def envoy(self) -> int:
        """Return the pid of its Envoy."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if b"envoy" in Path(f"/proc/{pid}/cmdline").read_bytes())

    def admin(self, path: str) -> bytes:
        """Return what its Envoy answers on its own interface."""
        arguments = Path(f"/proc/{self.envoy()}/cmdline").read_bytes().split(b"\0")
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(Path(os.fsdecode(arguments[2])).parent / "admin.sock"))
            connection = http.client.HTTPConnection("admin")
            connection.sock = plain
            connection.request("GET", path)
            return connection.getresponse().read()

    def told(self, text: str) -> bool:
        return text in self.log.read_text()

    def __enter__(self) -> Alone:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def gateway_object(*listeners: dict[str, Any], namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """Return the Gateway ``front``."""
    spec = {"gatewayClassName": "sampan", "listeners": list(listeners), **spec}
    return {"apiVersion": GROUP, "kind": "Gateway", "metadata": {"name": "front", "namespace": namespace}, "spec": spec}


def parameters_of(name: str, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {
        "apiVersion": "gateway.sampan.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": metadata,
        "spec": spec,
    }


def parameters_ref(name: str) -> dict[str, Any]:
    """Return what a Gateway's ``infrastructure`` says to have those parameters."""
    return {"parametersRef": {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": name}}


def route_object(
    kind: str, name: str, *rules: dict[str, Any], namespace: str = "default", **spec: Any
) -> dict[str, Any]:
    """Return a route of the Gateway ``front``."""
    spec = {"parentRefs": [{"name": "front"}], "rules": list(rules), **spec}
    return {"apiVersion": GROUP, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def to(backend: str, **rule: Any) -> dict[str, Any]:
    """Return a rule that leads to a Service's port 80."""
    return {"backendRefs": [{"name": backend, "port": 80}], **rule}
