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
from typing import NamedTuple
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
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        authorization: Callable[[], str] = str,
        contexts: tls.Contexts | None = None,
        timeout_seconds: float = 60.0,
        compress: bool = True,
    ) -> None:
        self.url = url
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
            raise Undelivered(f"{self.url}: {error or type(error).__name__}") from error
        if answer.status in holds or answer.status < 200 or 300 <= answer.status < 400:
            raise Undelivered(f"{self.url}: {answer.said}", answer.retry_after)
        return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def judge(url: str, answer: Answer) -> None:
    """Raise what an answer means that is not 2xx: ``Undelivered``, ``Halve``."""
    if answer.status >= 500:
        raise Undelivered(f"{url}: {answer.said}", answer.retry_after)
    if answer.status >= 400:
        raise Halve(f"{url}: {answer.said}", too_large=answer.status == 413)


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


def client_of(options: Options, url: str = "", headers: Mapping[str, str] | None = None) -> HttpClient:
    """Return a client as ``url``, ``user`` and ``password``, ``bearer_token`` or ``api_key``, ``headers``, ``tls``,
    ``timeout`` and ``compression`` describe it. Raises ``OptionError``."""
    url = url or options.needed("url")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise OptionError(options.place("url"), f"http://… or https://… is wanted, not {url!r}")
    tls_options = options.inner("tls")
    contexts = tls.contexts_of(tls_options) if parts.scheme == "https" else None
    own = options.mapping("headers")
    return HttpClient(
        url.rstrip("/") if not parts.query else url,
        headers={**(headers or {}), **own},
        authorization=authorization_of(options),
        contexts=contexts,
        timeout_seconds=options.seconds("timeout", 60.0),
        compress=options.one_of("compression", ("gzip", "none"), "gzip") == "gzip",
    )


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
