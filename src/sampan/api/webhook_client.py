"""Calls to webhooks: a JSON document by HTTPS POST to ``clientConfig``, a JSON document back.

Admission and conversion webhooks have the same ``clientConfig`` (url or service, caBundle). Connections are kept and
used again, one pool an endpoint. Failures are worded as kube-apiserver's, for people search for these words. aiohttp and ssl
are imported with the first call. Source: kubernetes/apiserver pkg/util/webhook, client-go rest.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import orjson

from sampan.api.resources.reading import mapping
from sampan.api.service_routes import Address, NoRoute, resolve

if TYPE_CHECKING:
    import ssl

    import aiohttp

    from sampan.api.app import Api

TRUSTED = 64
"""TLS contexts kept, one a caBundle."""
MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""The longest answer to a short question; one to a list to be converted may be longer by four times the list."""


class CallError(Exception):
    """A webhook that could not be asked, or whose answer is none; the text is Kubernetes'."""


class Target(NamedTuple):
    """Where a call goes: the URL as it is shown, the one that is dialled, and the name its certificate must have."""

    shown: str
    dialled: str
    server_name: str
    host: str
    address: str


class WebhookClient:
    """The webhook client of one API."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._session: aiohttp.ClientSession | None = None
        self._trust: dict[str, ssl.SSLContext] = {}

    async def post(self, client_config: Mapping[str, Any], body: bytes, timeout_seconds: float) -> Any:
        """Return the decoded answer. Raises ``CallError``."""
        import aiohttp

        shown = url_of(client_config, timeout_seconds)
        try:
            async with asyncio.timeout(timeout_seconds):
                target = await self._target(client_config, shown)
                status, answer = await self._send(target, self.trust(client_config.get("caBundle") or ""), body)
        except NoRoute as error:
            raise CallError(f'Post "{shown}": {error}') from None
        except TimeoutError:
            raise CallError(f'Post "{shown}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError) as error:
            raise CallError(f'Post "{shown}": {reason(error, target)}') from None
        except ValueError as error:
            raise CallError(str(error)) from None
        return decoded(status, answer)

    async def _target(self, client_config: Mapping[str, Any], shown: str) -> Target:
        service = client_config.get("service")
        if not service:
            parts = urlsplit(shown)
            port = parts.port or 443
            return Target(shown, shown, parts.hostname or "", parts.netloc, f"{parts.hostname}:{port}")
        address = await resolve(self._api, service["namespace"], service["name"], service.get("port") or 443)
        name = f"{service['name']}.{service['namespace']}.svc"
        return Target(shown, redirected(shown, address), name, urlsplit(shown).netloc, str(address))

    async def _send(self, target: Target, trust: ssl.SSLContext, body: bytes) -> tuple[int, bytes]:
        import aiohttp

        headers = {"content-type": "application/json", "accept": "application/json", "host": target.host}
        for attempt in (1, 2):
            try:
                async with self.session().post(
                    target.dialled,
                    data=body,
                    headers=headers,
                    ssl=trust,
                    server_hostname=target.server_name,
                    allow_redirects=False,
                ) as answer:
                    return answer.status, await whole(answer, MAX_ANSWER_BYTES + 4 * len(body))
            except aiohttp.ServerDisconnectedError:
                # a kept connection that the other end closed meanwhile: nothing was read, so it is asked once more
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def session(self) -> aiohttp.ClientSession:
        """Return the session all calls share."""
        if self._session is None or self._session.closed:
            import aiohttp

            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=90)
            timeout = aiohttp.ClientTimeout(total=None)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=True, headers={"user-agent": "kube-apiserver"}
            )
        return self._session

    def trust(self, ca_bundle: str) -> ssl.SSLContext:
        """Return the TLS that believes a caBundle (base64 of PEM; ``""``: the system's roots). Raises ``ValueError``."""
        known = self._trust.get(ca_bundle)
        if known is None:
            if len(self._trust) >= TRUSTED:
                del self._trust[next(iter(self._trust))]
            known = self._trust[ca_bundle] = context_of(ca_bundle)
        return known

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def whole(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """Return the body of an answer. Raises ``CallError`` where it is larger than ``limit``."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > limit:
            raise CallError(f"the answer is larger than {limit} bytes")
    return bytes(body)


def context_of(ca_bundle: str) -> ssl.SSLContext:
    import ssl

    if not ca_bundle:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cadata=base64.b64decode(ca_bundle).decode())
    except (ssl.SSLError, binascii.Error, UnicodeDecodeError, ValueError):
        raise ValueError("unable to load root certificates: unable to parse bytes as PEM block") from None


def url_of(client_config: Mapping[str, Any], timeout_seconds: float) -> str:
    """Return the URL of a call as Kubernetes shows it. Raises ``CallError``."""
    service = client_config.get("service")
    if service:
        path = "/" + str(service.get("path") or "").lstrip("/")
        base = f"https://{service['name']}.{service['namespace']}.svc:{service.get('port') or 443}{path}"
    else:
        base = str(client_config.get("url") or "")
        if not base:
            raise CallError("webhook configuration must have either service or URL")
    return f"{base}?timeout={timeout_seconds:g}s"


def redirected(url: str, address: Address) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=str(address)).geturl()


def reason(error: Exception, target: Target) -> str:
    """Return what went wrong on the way, in the words of Go's net/http."""
    import ssl

    cause: BaseException | None = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {certificate_problem(cause, target)}"
    if isinstance(cause, ssl.SSLError):
        return f"tls: {cause.reason or cause}"
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {target.address}: connect: connection refused"
    if type(error).__name__ == "ServerDisconnectedError":
        return "EOF"
    if type(error).__name__ == "ClientConnectorDNSError":
        return f"dial tcp: lookup {target.server_name}: no such host"
    if isinstance(cause, OSError) and cause.strerror:
        return f"dial tcp {target.address}: connect: {cause.strerror.lower()}"
    return str(error)


VERIFICATION = {
    10: "x509: certificate has expired or is not yet valid",
    9: "x509: certificate has expired or is not yet valid",
    18: "x509: certificate signed by unknown authority",
    19: "x509: certificate signed by unknown authority",
    20: "x509: certificate signed by unknown authority",
    21: "x509: certificate signed by unknown authority",
}
"""OpenSSL's verification codes (x509_vfy.h) in Go's words."""


def certificate_problem(error: ssl.SSLCertVerificationError, target: Target) -> str:
    if error.verify_code in (62, 64):
        return f"x509: certificate is not valid for {target.server_name}: {error.verify_message}"
    return VERIFICATION.get(error.verify_code, f"x509: {error.verify_message}")


def decoded(status: int, body: bytes) -> Any:
    """Return the answer's JSON. Raises ``CallError`` for statuses that are failures and bodies that are none."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if status < 300:
            raise CallError(f"couldn't get version/kind; json parse error: {error}") from None
        raise CallError(server_error(status, body)) from None
    if status >= 300:
        told = mapping({"status": found}, "status")
        message = told.get("message") if told.get("kind") == "Status" else None
        raise CallError(str(message) if message else server_error(status, body))
    return found


SERVER_ERRORS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    406: "the server was unable to respond with a content type that the client supports",
    409: "the server reported a conflict",
    415: "the server was unable to respond with a content type that the client supports",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


def server_error(status: int, body: bytes) -> str:
    """Return what client-go says of an HTTP status (``NewGenericServerResponse``)."""
    text = body[:2048].decode("utf-8", "replace").strip()
    if status == 403:
        return text or "unknown"
    if status in SERVER_ERRORS:
        return SERVER_ERRORS[status]
    if status >= 500:
        return f"an error on the server ({json.dumps(text)}) has prevented the request from succeeding"
    return f"the server responded with the status code {status} but did not return more details"
