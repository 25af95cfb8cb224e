"""What OpenID issuers say of themselves: each that a Middleware names is asked, and asked again, as long as it is named.

    Middlewares ──want──▶ Issuers ──HTTP──▶ issuer/.well-known/openid-configuration
                             └──known, problem──▶ World

What an issuer said stands until it says otherwise: one that does not answer for a time changes nothing. Source: OpenID
Connect Discovery 1.0, sections 3 and 4.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

logger = logging.getLogger("sampan.gateway")

PATH = "/.well-known/openid-configuration"
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
AGAIN_SECONDS = 3600.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0
TIMEOUT_SECONDS = 10.0
MOST_BYTES = 1 << 20


class Issuer(NamedTuple):
    url: str
    connect_to: str = ""
    """Another name or address than the URL's; ``""``: the URL's."""
    authorities: str = ""
    """PEM; ``""``: the machine's own."""
    insecure: bool = False


class NoIssuer(Exception):
    """What answered is no issuer, or not this one; the text says why."""


OnAnswer = Callable[[Issuer, "dict[str, Any] | None", str], None]
"""``(issuer, what it says or None while that is not known, problem)``; both empty: nobody wants to know any more."""


class Issuers:
    def __init__(self, on_answer: OnAnswer, group: asyncio.TaskGroup) -> None:
        self._on_answer, self._group = on_answer, group
        self._tasks: dict[Issuer, asyncio.Task[None]] = {}
        self._tried: dict[Issuer, asyncio.Event] = {}

    def want(self, issuers: set[Issuer]) -> None:
        """Ask these, and no others."""
        for issuer in self._tasks.keys() - issuers:
            self._tasks.pop(issuer).cancel()
            self._tried.pop(issuer).set()
            self._on_answer(issuer, None, "")
        for issuer in issuers - self._tasks.keys():
            self._tried[issuer] = asyncio.Event()
            self._tasks[issuer] = self._group.create_task(self._follow(issuer), name=f"issuer-{issuer.url}")

    async def tried(self) -> None:
        """Return when each was asked once."""
        for event in list(self._tried.values()):
            await event.wait()

    async def _follow(self, issuer: Issuer) -> None:
        known: dict[str, Any] | None = None
        pause = FIRST_PAUSE_SECONDS
        tried = self._tried[issuer]
        while True:
            try:
                known, problem = await discovery(issuer), ""
            except NoIssuer as error:
                problem = str(error)
                logger.warning("issuer %s: %s", issuer.url, problem)
            self._on_answer(issuer, known, problem)
            tried.set()
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if problem else FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause if problem else AGAIN_SECONDS)


async def discovery(issuer: Issuer) -> dict[str, Any]:
    """Return an issuer's configuration. Raises ``NoIssuer``."""
    import aiohttp

    from sampan.gateway.hooks.forward_auth import context_of, read_at_most, resolver_of

    try:
        tls = {"ca": issuer.authorities, "insecureSkipVerify": issuer.insecure}
        connector = aiohttp.TCPConnector(ssl=context_of(tls), resolver=resolver_of(issuer.connect_to))
    except (OSError, ValueError) as error:
        raise NoIssuer(f"its authorities cannot be read: {error}") from error
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        try:
            async with session.get(issuer.url.rstrip("/") + PATH) as answer:
                status, body = answer.status, await read_at_most(answer.content, MOST_BYTES)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise NoIssuer(f"it does not answer: {error or type(error).__name__}") from error
    if status != 200:
        raise NoIssuer(f"{PATH} is answered with {status}")
    return checked(issuer, body)


def checked(issuer: Issuer, body: bytes) -> dict[str, Any]:
    """Return a configuration that is one. Raises ``NoIssuer``."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoIssuer(f"{PATH} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise NoIssuer(f"{PATH} is no object")
    if found.get("issuer") != issuer.url:
        raise NoIssuer(f"it says that it is {found.get('issuer')!r}")
    for name in (*NEEDED, "end_session_endpoint"):
        url = found.get(name)
        if url is None and name not in NEEDED:
            continue
        if not isinstance(url, str) or not is_url(url):
            raise NoIssuer(f"its {name} is no URL: {url!r}")
    methods = found.get("code_challenge_methods_supported")
    if methods is not None and (not isinstance(methods, list) or "S256" not in methods):
        raise NoIssuer("it does not know the PKCE method S256")
    return found


def is_url(text: str) -> bool:
    """Whether it is one of http or https that Envoy takes: where it does not, it takes nothing of its listener any more."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
