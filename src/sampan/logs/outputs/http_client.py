"""Requests to a server of logs over HTTP: TLS, who we are, gzip, and what its answer means for what was sent.

2xx acknowledges. What tells of the server or of us (401, 403, 404, 405, 407, 408, 425, 429, 5xx, no answer) is asked again
until it changes, and ``Retry-After`` is kept to; what tells of the records (another 4xx) is looked for in halves and refused.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from sampan.logs.outputs import tls
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.outputs.output import Undelivered
from sampan.logs.outputs.sending import Halve

HOLDS = frozenset({401, 403, 404, 405, 407, 408, 425, 429})
"""Not the records' fault: they wait until somebody has mended it."""


class Answer(NamedTuple):
    status: int
    body: bytes
    retry_after: float | None
    content_type: str = ""

    @property
    def said(self) -> str:
        """The status and the beginning of what came with it, for people."""
        return f"{self.status} {self.body[:400].decode('utf-8', 'replace').strip()}"


class HttpClient:
    """``post`` returns what the server says, or raises ``Undelivered``."""

    def __init__(
        self,
        *urls: str,
        headers: Mapping[str, str] | None = None,
        authorization: Callable[[], str] = str,
        contexts: tls.Contexts | None = None,
        timeout_seconds: float = 60.0,
        compress: bool = True,
    ) -> None:
        """``urls`` are of servers that are one cluster: where one is away the next is asked."""
        self.url, self._urls = urls[0], urls
        self._headers, self._authorization, self._contexts = dict(headers or {}), authorization, contexts
        self._context: ssl.SSLContext | bool = True
        self._timeout, self._compress = aiohttp.ClientTimeout(total=timeout_seconds), compress
        self._session: aiohttp.ClientSession | None = None

    async def post(
        self,
        body: bytes,
        headers: Mapping[str, str],
        path: str = "",
        holds: frozenset[int] = HOLDS,
        method: str = "POST",
    ) -> Answer:
        """Raises ``Undelivered`` for a status of ``holds``."""
        url = self.url + path
        more = {**self._headers, **headers}
        if (who := self._authorization()) and "Authorization" not in more:
            more["Authorization"] = who
        if self._compress:
            more["Content-Encoding"] = "gzip"
            body = await asyncio.to_thread(gzip.compress, body, 1)
        if self._session is None:
            if self._contexts is not None:
                self._context = self._contexts()
            self._session = aiohttp.ClientSession(timeout=self._timeout, auto_decompress=True)
        try:
            async with self._session.request(
                method,
                url,
                data=body,
                headers=more,
                ssl=self._context,
                allow_redirects=False,
            ) as response:
                content = await response.read()
                wait = retry_after(response.headers.get("Retry-After", ""))
                answer = Answer(response.status, content, wait, response.content_type)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            await self.close()
            raise self._away(f"{error or type(error).__name__}", None) from error
        if answer.status in holds or answer.status < 200 or 300 <= answer.status < 400:
            raise self._away(answer.said, answer.retry_after)
        return answer

    def judge(self, answer: Answer) -> None:
        """Raise what an answer means that is not 2xx: ``Undelivered``, ``Halve``."""
        if answer.status >= 500:
            raise self._away(answer.said, answer.retry_after)
        if answer.status >= 400:
            raise Halve(f"{self.url}: {answer.said}", too_large=answer.status == 413)

    def _away(self, said: str, retry_after: float | None) -> Undelivered:
        """Return the error of a server that does not take what it is sent; the next one is asked from now on."""
        error = Undelivered(f"{self.url}: {said}", retry_after)
        self.next()
        return error

    def next(self) -> None:
        """Ask the next server from now on."""
        self.url = self._urls[(self._urls.index(self.url) + 1) % len(self._urls)]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def retry_after(value: str) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for: seconds, or a date (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdigit():
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0)


def client_of(options: Options, path: str = "", headers: Mapping[str, str] | None = None) -> HttpClient:
    """Return a client as ``url`` (one, or those of a cluster), ``user`` and ``password``, ``bearer_token`` or ``api_key``,
    ``headers``, ``tls``, ``timeout`` and ``compression`` describe it. ``path``: of addresses that have none. Raises
    ``OptionError``."""
    urls = options.take("url", tuple[str, ...](), urls_of, "an address or a list of some") or (options.needed("url"),)
    parts = [urlsplit(url) for url in urls]
    for url, part in zip(urls, parts, strict=True):
        if part.scheme not in ("http", "https") or not part.hostname:
            raise OptionError(options.place("url"), f"http://… or https://… is wanted, not {url!r}")
    tls_options = options.inner("tls")
    contexts = tls.contexts_of(tls_options) if any(part.scheme == "https" for part in parts) else None
    return HttpClient(
        *(with_path(url, path) for url in urls),
        headers={**(headers or {}), **options.mapping("headers")},
        authorization=authorization_of(options),
        contexts=contexts,
        timeout_seconds=options.seconds("timeout", 60.0),
        compress=options.one_of("compression", ("gzip", "none"), "gzip") == "gzip",
    )


def urls_of(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, list):
        return tuple(map(str, value)) or None
    return (value,) if isinstance(value, str) and value else None


def with_path(url: str, path: str) -> str:
    parts = urlsplit(url)
    if parts.query:
        return url
    return url.rstrip("/") + ("" if parts.path.strip("/") else path)


def authorization_of(options: Options) -> Callable[[], str]:
    """Return what makes the header ``Authorization``: secrets of files are read anew each time, since they are rotated."""
    names = ("user", "bearer_token", "api_key")
    ways = [name for name in names if any(f"{name}{by}" in options for by in ("", "_file", "_env"))]
    if len(ways) > 1:
        raise OptionError(options.place(ways[1]), f"there is {ways[0]} as well")
    user = options.text("user")
    password, token, key = (options.secret(name) for name in ("password", "bearer_token", "api_key"))
    if password and not user:
        raise OptionError(options.place("user"), "a password is of no use without it")

    def authorization() -> str:
        if user:
            pair = f"{user}:{options.fresh('password', password)}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        if token:
            return f"Bearer {options.fresh('bearer_token', token)}"
        return f"ApiKey {options.fresh('api_key', key)}" if key else ""

    return authorization
