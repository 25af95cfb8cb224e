"""Extension API servers as the front proxy meets them: by our client certificate, with the user's name in headers.

Connections are kept, one pool an endpoint and trust. aiohttp is imported with the first call.
"""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.api.request import User
from sampan.api.resources.reading import mapping
from sampan.api.service_routes import Address, resolve
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import aiohttp

    from sampan.api.app import Api

LEGAL_IN_HEADER = frozenset("!#$&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
CONTEXTS = 64
NOT_ADDED = ("accept", "accept-encoding", "content-type", "user-agent")
"""Headers that a request has only where its client sent them."""


class Backends:
    """The way from one API to its extension servers."""

    def __init__(self, api: Api, pki_dir: Path) -> None:
        self.api = api
        self._certificate = pki_dir / "front-proxy-client.crt"
        self._session: aiohttp.ClientSession | None = None
        self._trust: dict[tuple[str, bool], ssl.SSLContext] = {}

    def session(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            import aiohttp

            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=90)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=False, skip_auto_headers=NOT_ADDED
            )
        return self._session

    async def address(self, spec: Object) -> Address:
        """Return an endpoint of an APIService's Service. Raises ``NoRoute``."""
        service = mapping(spec, "service")
        return await resolve(self.api, service["namespace"], service["name"], service.get("port") or 443)

    def tls(self, spec: Object) -> dict[str, Any]:
        """Return the TLS of calls to an APIService as aiohttp takes it. Raises ``ValueError`` for a caBundle that is none."""
        service = mapping(spec, "service")
        name = f"{service.get('name')}.{service.get('namespace')}.svc"
        key = (str(spec.get("caBundle") or ""), bool(spec.get("insecureSkipTLSVerify")))
        context = self._trust.get(key)
        if context is None:
            if len(self._trust) >= CONTEXTS:
                del self._trust[next(iter(self._trust))]
            context = self._trust[key] = self._context(*key)
        return {"ssl": context, "server_hostname": name}

    def _context(self, ca_bundle: str, insecure: bool) -> ssl.SSLContext:
        try:
            pem = base64.b64decode(ca_bundle).decode()
            context = ssl.create_default_context(cadata=pem) if pem else ssl.create_default_context()
        except (ssl.SSLError, binascii.Error, UnicodeDecodeError) as error:
            raise ValueError("unable to load root certificates: unable to parse bytes as PEM block") from error
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self._certificate.exists():
            context.load_cert_chain(self._certificate, self._certificate.with_suffix(".key"))
        return context

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def identity(user: User) -> Iterator[tuple[str, str]]:
    """Yield the headers that say for whom the front proxy asks."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra.items():
        for value in values:
            yield f"X-Remote-Extra-{escaped(key)}", value


def escaped(key: str) -> str:
    """Return a key as part of a header's name: what is not legal there in percent encoding."""
    return "".join(c if c in LEGAL_IN_HEADER else "".join(f"%{b:02X}" for b in c.encode()) for c in key)


def without_identity(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the headers of a request that may go on: none that says who asks, none of the connection itself."""
    for name, value in headers.items():
        if name not in HOP_BY_HOP and not name.startswith(("x-remote-", "impersonate-", "sec-websocket-")):
            yield name, value


HOP_BY_HOP = frozenset(
    ("authorization", "connection", "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
     "transfer-encoding", "upgrade", "proxy-connection")
)  # fmt: skip
