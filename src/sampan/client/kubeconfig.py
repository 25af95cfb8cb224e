"""kubeconfig files: where an API is and who we are there.

``load`` reads one file, or several as ``KUBECONFIG`` lists them (certificates inline or as paths relative to their file),
and resolves the current context;
``in_cluster`` reads the ServiceAccount volume of a pod. Source: the kubeconfig v1 format of client-go.
"""

from __future__ import annotations

import base64
import os
import ssl
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class KubeconfigError(Exception):
    """A kubeconfig that cannot be used; the message names the file and what is missing."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach an API: URL and TLS material (PEM bytes), with at most one of certificate and token."""

    server: str
    ca: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    token: str = ""
    verify: bool = True
    token_file: Path | None = None
    """Where ``token`` came from: it is replaced there before it expires."""

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return the TLS context, None for plain HTTP. The key touches the disk only while OpenSSL reads it."""
        if not self.server.startswith("https://"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(self.certificate + b"\n" + self.key)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


TOKEN_SECONDS = 60.0
"""How long a token from a file is used before the file is read again (client-go: a minute)."""


class Credentials:
    """The bearer token of a connection, read anew from its file in time."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = connection.token_file
        self._token = connection.token
        self._clock = clock
        self._read_at = clock()

    def token(self) -> str:
        if self._file is not None and self._clock() - self._read_at >= TOKEN_SECONDS:
            self.renew()
        return self._token

    def renew(self) -> bool:
        """Read the file; return whether another token is in it."""
        if self._file is None:
            return False
        self._read_at = self._clock()
        try:
            fresh = self._file.read_text().strip()
        except OSError:
            return False  # being replaced: the one we have is good a while longer
        changed = bool(fresh) and fresh != self._token
        self._token = fresh or self._token
        return changed


def load(path: str | os.PathLike[str], context: str = "") -> Connection:
    """Return the connection of a context (default: the current one). Of several files, joined by ``:``, the first that
    says something about a name or the current context counts, and missing ones are passed over. Raises
    ``KubeconfigError``."""
    files = [Path(part) for part in os.fspath(path).split(os.pathsep) if part]
    if len(files) > 1:
        files = [file for file in files if file.exists()] or files[:1]
    documents = [(file, _read(file)) for file in files]
    name = context or next((c for _, d in documents if (c := d.get("current-context"))), "")
    _, chosen = _named(documents, "contexts", name, "context")
    at, cluster = _named(documents, "clusters", chosen.get("cluster", ""), "cluster")
    file, user = _named(documents, "users", chosen["user"], "user") if chosen.get("user") else (at, {})
    token, token_file = user.get("token") or "", None
    if user.get("tokenFile"):  # it takes precedence, as in client-go
        token_file = file.parent / str(user["tokenFile"])
        token = _token_of(token_file)
    return Connection(
        server=str(cluster.get("server", "")).rstrip("/"),
        ca=_pem(cluster, "certificate-authority", at),
        certificate=_pem(user, "client-certificate", file),
        key=_pem(user, "client-key", file),
        token=token,
        verify=not cluster.get("insecure-skip-tls-verify", False),
        token_file=token_file,
    )


def _token_of(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError as error:
        raise KubeconfigError(f"cannot read token {file}: {error.strerror}") from error


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
    except OSError as error:
        raise KubeconfigError(f"cannot read kubeconfig {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise KubeconfigError(f"kubeconfig {file} is not YAML: {error}") from error
    if not isinstance(document, dict):
        raise KubeconfigError(f"{file} is no kubeconfig")
    return document


def in_cluster() -> Connection:
    """Return the connection of a pod's ServiceAccount. Raises ``KubeconfigError`` outside a pod."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (SERVICE_ACCOUNT_DIR / "token").exists():
        raise KubeconfigError("not in a pod: KUBERNETES_SERVICE_HOST or the ServiceAccount token is missing")
    host = f"[{host}]" if ":" in host else host
    return Connection(
        f"https://{host}:{port}",
        ca=(SERVICE_ACCOUNT_DIR / "ca.crt").read_bytes(),
        token=_token_of(SERVICE_ACCOUNT_DIR / "token"),
        token_file=SERVICE_ACCOUNT_DIR / "token",
    )


def _named(
    documents: list[tuple[Path, dict[str, Any]]], section: str, name: str, key: str
) -> tuple[Path, dict[str, Any]]:
    """Return the file and the content of an entry."""
    for file, document in documents:
        for entry in document.get(section) or []:
            if entry.get("name") == name:
                return file, entry.get(key) or {}
    files = ", ".join(str(file) for file, _ in documents)
    raise KubeconfigError(f"kubeconfig {files} has no {key} named {name!r}")


def _pem(entry: dict[str, Any], key: str, file: Path) -> bytes | None:
    if entry.get(f"{key}-data"):
        return base64.b64decode(entry[f"{key}-data"])
    if entry.get(key):
        return Path(file.parent, str(entry[key])).read_bytes()
    return None
