"""Where an etcd is, as one URL: ``etcd://host:port,host:port/registry/?…`` in the clear, ``etcds://…`` with TLS.

The path is the prefix of all keys (default ``/registry/``). Parameters, each a file: ``cacert``, ``cert``, ``key``
(the words of etcdctl's options).
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from sampan.store.layout import REGISTRY
from sampan.store.protocol import StoreError

SCHEMES = {"etcd": False, "etcds": True}
PARAMETERS = {"cacert", "cert", "key"}
DEFAULT_PORT = 2379
URL = re.compile(r"(?P<scheme>[a-z]+)://(?P<hosts>[^/?#]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?")
"""``urllib`` reads one host a URL: it refuses an IPv6 address among several."""


@dataclass(frozen=True, slots=True)
class EtcdAddress:
    """One etcd cluster: its members, the prefix of the keys, and the files of TLS."""

    endpoints: tuple[tuple[str, int], ...]
    root: str = REGISTRY
    tls: bool = False
    cacert: str = ""
    cert: str = ""
    key: str = ""

    def key_of(self, key: str) -> bytes:
        """Return where a key (or a prefix of keys) is in etcd: the root stands for ``/registry/``."""
        return (self.root + key[len(REGISTRY) :]).encode()

    def store_key(self, key: bytes) -> str:
        """Return the store's name of a key of etcd."""
        return REGISTRY + key.decode()[len(self.root) :]

    def context(self) -> ssl.SSLContext | None:
        """Return how to speak TLS to it, None in the clear. Raises ``StoreError`` naming a file that is no good."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.cacert or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(file for file in (self.cacert, self.cert, self.key) if file)
            raise StoreError(f"the TLS files of etcd cannot be used ({files}): {error}") from error
        context.set_alpn_protocols(["h2"])
        return context


def parse(url: str) -> EtcdAddress:
    """Return the address of a URL. Raises ``StoreError`` saying what is wrong with it."""
    parts = URL.fullmatch(url)
    if parts is None or parts["scheme"] not in SCHEMES:
        raise StoreError(f"{url!r} is no store: etcd://HOST:PORT or etcds://HOST:PORT")
    given = dict(parse_qsl(parts["query"] or "", keep_blank_values=True))
    unknown = sorted(set(given) - PARAMETERS)
    if unknown:
        raise StoreError(f"{url!r}: unknown parameter {unknown[0]!r}, there are {', '.join(sorted(PARAMETERS))}")
    tls = SCHEMES[parts["scheme"]]
    if given and not tls:
        raise StoreError(f"{url!r}: {', '.join(sorted(given))} need etcds://")
    if given.get("key") and not given.get("cert"):
        raise StoreError(f"{url!r}: key needs cert")
    endpoints = tuple(endpoint(url, text) for text in parts["hosts"].split(",") if text)
    if not endpoints:
        raise StoreError(f"{url!r} names no host")
    path = parts["path"].strip("/")
    root = f"/{path}/" if path else REGISTRY
    return EtcdAddress(endpoints, root, tls, **given)


def absolute(url: str, folder: Path) -> str:
    """Return the URL with the paths of its files absolute: what they are relative to is ``folder``.

    Raises ``StoreError`` where the URL, or a file that it names, is no good."""
    address = parse(url)
    files = {name: str(folder / getattr(address, name)) for name in sorted(PARAMETERS) if getattr(address, name)}
    query = urlencode(files, safe="/")
    made = url.partition("?")[0] + (f"?{query}" if query else "")
    parse(made).context()
    return made


def endpoint(url: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise StoreError(f"{url!r}: {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
