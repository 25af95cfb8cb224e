"""``kube-apiserver`` as envtest starts it: kube-apiserver's flags in, Sampan's API out. No controllers, as with envtest.

    python -m sampan.testing.kube_apiserver 1.37 --secure-port=… --cert-dir=… --client-ca-file=… --etcd-servers=…

Keys come from the files that the flags name. State is kept where the stand-in etcd keeps its data, or in a real etcd when
``--etcd-servers`` is one. Flags of ``api.flags`` are taken too; what is not understood is refused, as kube-apiserver does.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.testing.etcd import DATA_DIR_PATH, parse, usage

if TYPE_CHECKING:
    from sampan.api.server import ApiConfig
    from sampan.store import Store

OWN = (
    "advertise-address",
    "allow-privileged",
    "authorization-mode",
    "bind-address",
    "cert-dir",
    "client-ca-file",
    "etcd-servers",
    "secure-port",
    "service-account-issuer",
    "service-account-key-file",
    "service-account-signing-key-file",
    "service-cluster-ip-range",
    "tls-cert-file",
    "tls-private-key-file",
    "v",
)
FIXED = {"allow-privileged": ("true",), "authorization-mode": ("RBAC", "Node,RBAC", "RBAC,Node")}
"""Flags that say what is so in any case; another value is refused."""


class UsageError(Exception):
    """The command line asks for what there is not."""


@dataclass(frozen=True)
class Started:
    """What the command line asks for."""

    config: ApiConfig
    etcd: str
    scratch: Path
    log_level: str


def known_flags() -> tuple[str, ...]:
    from sampan.api.flags import Flags

    return (*OWN, *(field.name.replace("_", "-") for field in fields(Flags)))


def read(version: str, words: list[str]) -> Started:
    """Return what to serve, its socket bound. Raises ``UsageError`` and ``OSError``."""
    from sampan.api.flags import FlagError
    from sampan.api.flags import parse as parse_flags
    from sampan.api.server import ApiConfig

    try:
        flags = parse(words, known_flags())
        api_flags = parse_flags({name: value for name, value in flags.items() if name not in OWN})
    except (ValueError, FlagError) as error:
        raise UsageError(str(error)) from error
    for name, values in FIXED.items():
        if flags.get(name, values[0]) not in values:
            raise UsageError(f"--{name}={flags[name]}: only {' or '.join(values)} is served")
    address = flags.get("bind-address", "127.0.0.1")
    listener = socket.create_server((address, int(flags.get("secure-port", "6443"))), backlog=2048)
    scratch = Path(tempfile.mkdtemp(prefix="sampan-kube-apiserver-"))
    try:
        gather_keys(flags, scratch)
    except BaseException:
        shutil.rmtree(scratch)
        raise
    config = ApiConfig(
        pki_dir=scratch,
        sockets=(listener,),
        kubernetes_version=version,
        service_cidr=flags.get("service-cluster-ip-range", "10.0.0.0/24"),
        advertise=(flags.get("advertise-address", address), int(listener.getsockname()[1])),
        issuer=flags.get("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        flags=api_flags,
    )
    level = "INFO" if flags.get("v", "0") >= "2" else "WARNING"
    return Started(config, flags.get("etcd-servers", "").split(",")[0], scratch, level)


def gather_keys(flags: dict[str, str], folder: Path) -> None:
    """Lay the keys out as the API has them. Raises ``UsageError`` for a file that is missing or no key."""
    certs = Path(flags.get("cert-dir", "/var/run/kubernetes"))
    wanted = {
        "apiserver.crt": flags.get("tls-cert-file", str(certs / "apiserver.crt")),
        "apiserver.key": flags.get("tls-private-key-file", str(certs / "apiserver.key")),
        "ca.crt": flags.get("client-ca-file", str(certs / "apiserver.crt")),
        "sa.key": flags.get("service-account-signing-key-file", ""),
    }
    for name, given in wanted.items():
        try:
            (folder / name).write_bytes(Path(given).read_bytes())
        except OSError as error:
            raise UsageError(f"{name.partition('.')[0]}: {given or 'no file'}: {error.strerror}") from error
    try:
        (folder / "sa.pub").write_bytes(public_key(Path(flags.get("service-account-key-file", "")).read_bytes()))
    except (OSError, ValueError) as error:
        raise UsageError(f"--service-account-key-file: {error}") from error


def public_key(pem: bytes) -> bytes:
    """Return the public key of a certificate, a private or a public key, as kube-apiserver takes them. Raises
    ``ValueError``."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
        load_pem_public_key,
    )

    key: Any
    if b"CERTIFICATE" in pem:
        key = x509.load_pem_x509_certificate(pem).public_key()
    elif b"PRIVATE" in pem:
        key = load_pem_private_key(pem, None).public_key()
    else:
        key = load_pem_public_key(pem)
    public: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


async def open_store(etcd: str) -> Store:
    """Return the store of an etcd URL: the log in the stand-in's directory, or etcd itself. Raises ``StoreError``."""
    from sampan.store.etcd import EtcdStore
    from sampan.store.sqlite import SqliteStore

    if not etcd:
        return SqliteStore(None)
    where = await asyncio.to_thread(data_dir, etcd)
    if where is None:
        return await EtcdStore.open("etcd://" + etcd.partition("://")[2])
    return SqliteStore(Path(where["dataDir"]) / "sampan.db", durability="disk" if where["fsync"] else "process")


def data_dir(etcd: str) -> dict[str, Any] | None:
    """Return where the stand-in keeps its data, None for a real etcd, which knows no such path."""
    try:
        with urllib.request.urlopen(etcd + DATA_DIR_PATH, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except (urllib.error.HTTPError, ValueError):
        return None


async def serve(started: Started) -> None:
    """Serve until SIGTERM or SIGINT."""
    from sampan.api.server import listening, open_api

    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    api = await open_api(started.config, await open_store(started.etcd))
    try:
        async with listening(api, started.config):
            await ended.wait()
    finally:
        await api.close()


def main() -> int:
    version, words = sys.argv[1], sys.argv[2:]
    if "--help" in words or "-h" in words:
        print(usage("kube-apiserver", known_flags()))
        return 0
    if "--version" in words:
        print(f"Kubernetes v{version}.0 (sampan)")
        return 0
    try:
        started = read(version, words)
    except (UsageError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    import logging

    import uvloop

    from sampan.store import StoreError

    logging.basicConfig(level=started.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        uvloop.run(serve(started))
    except (StoreError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(started.scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
