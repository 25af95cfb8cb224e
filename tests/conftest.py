"""A real API server for tests of any room: HTTPS, a throwaway CA, a kubeconfig for kubectl and client libraries."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, settings

from sampan.api.app import Api
from sampan.api.server import ApiConfig, open_api
from tests import foreign_server
from tests.etcd_server import etcd, etcd_url  # noqa: F401  # fixtures

if os.environ.get("SAMPAN_TEST_CONTAINERD"):
    # a folder with another containerd (its shim and `ctr` beside it) for every cluster of the tests
    os.environ["PATH"] = os.pathsep.join([os.environ["SAMPAN_TEST_CONTAINERD"], os.environ["PATH"]])

# a busy machine is no failure, and what one run finds every run finds: SAMPAN_EXPLORE=1 looks for more
settings.register_profile(
    "sampan",
    deadline=None,
    derandomize=not os.environ.get("SAMPAN_EXPLORE"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("sampan")

Key = ec.EllipticCurvePrivateKey


def _name(common_name: str, groups: tuple[str, ...] = ()) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: Key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Authority:
    """A certificate authority that writes the files an API server wants into ``directory``; with another ``stem`` than
    ``ca`` only its own pair."""

    def __init__(self, directory: Path, stem: str = "ca") -> None:
        self.directory = directory
        self.name = f"throwaway-{stem}"
        directory.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(_name(self.name), self.key, x509.BasicConstraints(True, None))
        self.ca = self.certificate.public_bytes(serialization.Encoding.PEM)
        (directory / f"{stem}.crt").write_bytes(self.ca)
        (directory / f"{stem}.key").write_bytes(_pem(self.key))
        if stem != "ca":
            return
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.write("apiserver", "kube-apiserver", extension=x509.SubjectAlternativeName(names))
        self.write("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",))
        accounts = ec.generate_private_key(ec.SECP256R1())
        (directory / "sa.key").write_bytes(_pem(accounts))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        (directory / "sa.pub").write_bytes(accounts.public_key().public_bytes(serialization.Encoding.PEM, form))

    def write(
        self,
        file: str,
        user: str,
        groups: tuple[str, ...] = (),
        extension: x509.ExtensionType | None = None,
        *,
        seconds: float = 86400,
    ) -> tuple[bytes, bytes]:
        """Write ``file.crt`` and ``file.key`` for a user, good for ``seconds`` from now; return both."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(user, groups), key, extension, seconds).public_bytes(serialization.Encoding.PEM)
        (self.directory / f"{file}.crt").write_bytes(certificate)
        (self.directory / f"{file}.key").write_bytes(_pem(key))
        return certificate, _pem(key)

    def _sign(
        self, subject: x509.Name, key: Key, extension: x509.ExtensionType | None, seconds: float = 86400
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(_name(self.name))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - day).not_valid_after(now + datetime.timedelta(seconds=seconds))
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(authority, critical=False)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
        if isinstance(extension, x509.BasicConstraints):
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        if extension is not None:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())


@dataclass(frozen=True)
class ApiServer:
    """A running API server in a process of its own."""

    url: str
    kubeconfig: Path
    """Of a member of system:masters."""
    pki_dir: Path
    authority: Authority
    process: subprocess.Popen[bytes] | foreign_server.Kubernetes

    def user_kubeconfig(self, user: str, groups: tuple[str, ...] = ()) -> Path:
        """Return a kubeconfig of another user."""
        path = self.pki_dir / f"{user.replace(':', '-')}.kubeconfig"
        certificate, key = self.authority.write(user.replace(":", "-"), user, groups)
        data = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, **_data(ca=self.authority.ca)}}],
            "users": [{"name": user, "user": _data(cert=certificate, key=key)}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(data))
        return path


FIELDS = {"ca": "certificate-authority-data", "cert": "client-certificate-data", "key": "client-key-data"}


def _data(**pems: bytes) -> dict[str, str]:
    return {FIELDS[name]: base64.b64encode(pem).decode() for name, pem in pems.items()}


SERVER = """
import asyncio, json, pathlib, socket, sys
from sampan.api import flags
from sampan.api.server import ApiConfig, serve
listener = socket.socket(fileno=int(sys.argv[1]))
config = ApiConfig(
    pki_dir=pathlib.Path(sys.argv[2]),
    store_path=pathlib.Path(sys.argv[3]) if sys.argv[3] else None,
    sockets=(listener,),
    advertise=listener.getsockname(),
    kubernetes_version=sys.argv[4],
    flags=flags.parse(json.loads(sys.argv[5])),
)
try:
    import uvloop
except ImportError:
    uvloop = asyncio
uvloop.run(serve(config, lambda: print("ready", flush=True)))
"""


def start_api_server(
    directory: Path, *, store: bool = True, version: str = "1.37", flags: dict[str, object] | None = None
) -> ApiServer:
    """Start an API server; the caller stops ``process``. It is somebody else's where ``foreign_server`` is told one."""
    authority = Authority(directory / "pki")
    if foreign_server.wanted():
        return start_foreign(directory, authority, flags or {})
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.set_inheritable(True)
    arguments = [
        str(listener.fileno()),
        str(authority.directory),
        str(directory / "store.db") if store else "",
        version,
        json.dumps(flags or {}),
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, *arguments], pass_fds=[listener.fileno()], stdout=subprocess.PIPE
    )
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        process.kill()
        raise RuntimeError(f"the API server ended with {process.wait()}")
    server = ApiServer(url, authority.directory / "admin.kubeconfig", authority.directory, authority, process)
    server.user_kubeconfig("admin", ("system:masters",))
    return server


def start_foreign(directory: Path, authority: Authority, flags: dict[str, object]) -> ApiServer:
    kubernetes = foreign_server.start(directory, authority.directory, flags)
    url = f"https://127.0.0.1:{kubernetes.port}"
    server = ApiServer(url, authority.directory / "admin.kubeconfig", authority.directory, authority, kubernetes)
    server.user_kubeconfig("admin", ("system:masters",))
    kubernetes.start_others(server.kubeconfig)
    return server


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real HTTPS API server on SQLite, shared: ``.url``, ``.kubeconfig``, ``.user_kubeconfig(name)``."""
    server = start_api_server(tmp_path_factory.mktemp("api"))
    yield server
    server.process.terminate()
    server.process.wait(60)


@pytest.fixture(scope="session")
def start_server() -> Iterator[Callable[..., ApiServer]]:
    """Start further servers: ``start_server(directory, store=True, version="1.30", flags={"anonymous-auth": False})``;
    they are stopped at the end."""
    started: list[ApiServer] = []

    def start(
        directory: Path, *, store: bool = True, version: str = "1.37", flags: dict[str, object] | None = None
    ) -> ApiServer:
        server = start_api_server(directory, store=store, version=version, flags=flags)
        started.append(server)
        return server

    yield start
    for server in started:
        server.process.kill()
        server.process.wait(60)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA of an API that lives in the test's own process."""
    return Authority(tmp_path_factory.mktemp("local") / "pki")


@pytest.fixture(scope="session")
def throwaway_pki(authority: Authority) -> Path:
    """The PKI directory of an API that lives in the test's own process."""
    return authority.directory


@pytest.fixture
async def local_api(throwaway_pki: Path) -> AsyncIterator[Api]:
    """A whole API in this process and in memory, for ``LocalClient``."""
    api = await open_api(ApiConfig(pki_dir=throwaway_pki))
    yield api
    await api.close()


@pytest.fixture(scope="session")
def make_authority() -> Callable[..., Authority]:
    """Make a certificate authority: ``make_authority(directory, stem="front-proxy-ca")``."""
    return Authority
