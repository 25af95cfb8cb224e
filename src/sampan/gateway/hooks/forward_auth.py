"""Another server decides: a GET with the request's headers; 2xx lets it pass, any other answer is the client's.

Source: Traefik v3, auth/forward.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin

from sampan.gateway.plugins.host import Function
from sampan.gateway.plugins.request import Request

TIMEOUT_SECONDS = 30.0
MOST_BYTES = 1 << 20
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "content-encoding",
        "host",
    }
)
FORWARDED = tuple(f"x-forwarded-{name}" for name in ("for", "proto", "host", "uri", "method", "port"))


def make(settings: dict[str, Any]) -> Function:
    """``settings``: Traefik's options, with ``tls`` as the texts of its certificates."""
    allowed = {name.lower() for name in settings["authRequestHeaders"]}
    expression = re.compile(settings["authResponseHeadersRegex"]) if settings["authResponseHeadersRegex"] else None
    copied = [name.lower() for name in settings["authResponseHeaders"] if name.lower() not in HOP_BY_HOP]
    kept_cookies = frozenset(settings["addAuthCookiesToResponse"])
    session: Any = None

    def asked_headers(request: Request) -> dict[str, str]:
        trusted = settings["trustForwardHeader"]
        headers = {
            name: value
            for name, value in request.headers.items()
            if name not in HOP_BY_HOP and (trusted or name not in FORWARDED) and (not allowed or name in allowed)
        }
        ours = {
            "x-forwarded-method": request.method,
            "x-forwarded-proto": request.scheme,
            "x-forwarded-host": request.host,
            "x-forwarded-uri": request.path,
            "x-forwarded-for": request.client,
        }
        return {**ours, **headers} if trusted else {**headers, **ours}

    async def request(request: Request) -> Any:
        nonlocal session
        import aiohttp

        if session is None:
            connector = aiohttp.TCPConnector(
                ssl=context_of(settings["tls"]), limit=0, resolver=resolver_of(settings["connectTo"])
            )
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            session = aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        method = request.method if settings["preserveRequestMethod"] else "GET"
        try:
            answer = await session.request(
                method,
                settings["address"],
                headers=asked_headers(request),
                data=request.body if settings["forwardBody"] else None,
                allow_redirects=False,
            )
            body = await read_at_most(answer.content, settings["maxResponseBodySize"] + 1)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            return request.respond(500, f"the authentication server does not answer: {type(error).__name__}\n")
        finally_headers = {name.lower(): value for name, value in answer.headers.items()}
        cookies = answer.headers.getall("set-cookie", [])
        finally_headers.pop("set-cookie", None)
        answer.release()
        if len(body) > settings["maxResponseBodySize"]:
            return request.respond(500, "the authentication server says too much\n")
        passes = 200 <= answer.status < 300
        request.response_cookies = [line for line in cookies if not passes or cookie_name(line) in kept_cookies]
        if not 200 <= answer.status < 300:
            return refused(request, settings, answer.status, finally_headers, body.decode(errors="replace"))
        for name in copied:
            if name in finally_headers:
                request.headers[name] = finally_headers[name]
            elif name in request.headers:
                del request.headers[name]
        if expression is not None:
            for name in [name for name in request.headers if name not in HOP_BY_HOP and expression.search(name)]:
                del request.headers[name]
            for name, value in finally_headers.items():
                if name not in HOP_BY_HOP and expression.search(name):
                    request.headers[name] = value
        if settings["headerField"] and "x-forwarded-user" in finally_headers:
            request.headers[settings["headerField"]] = finally_headers["x-forwarded-user"]
        return None

    return request


def cookie_name(line: str) -> str:
    return line.partition("=")[0].strip()


def refused(request: Request, settings: dict[str, Any], status: int, headers: dict[str, str], body: str) -> Any:
    if status == 401 and settings["authSigninURL"]:
        return request.respond(302, "", {"location": settings["authSigninURL"]})
    if "location" in headers and not settings["preserveLocationHeader"]:
        headers["location"] = urljoin(settings["address"], headers["location"])
    return request.respond(status, body, {name: value for name, value in headers.items() if name not in HOP_BY_HOP})


async def read_at_most(content: Any, most: int) -> bytes:
    """Return the beginning of a body, or all of it."""
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) >= most:
            break
    return bytes(body[:most])


def resolver_of(address: str) -> Any:
    """Return a resolver that knows one answer to every name, an address or another name; None: the machine's own."""
    if not address:
        return None
    from aiohttp.resolver import ThreadedResolver

    class Known(ThreadedResolver):
        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> Any:
            return [{**one, "hostname": host} for one in await super().resolve(address, port, socket.AF_UNSPEC)]

    return Known()


def context_of(tls: dict[str, Any] | None) -> ssl.SSLContext | bool:
    if tls is None:
        return True
    context = ssl.create_default_context(cadata=tls.get("ca") or None)
    if tls.get("insecureSkipVerify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    chain, key = tls.get("pair") or ("", "")
    if chain:
        with memory_file(f"{chain}\n{key}") as path:
            context.load_cert_chain(path)
    return context


@contextmanager
def memory_file(text: str) -> Iterator[str]:
    """Yield a path with a text that no file system has: OpenSSL reads a key from nowhere else."""
    descriptor = os.memfd_create("key")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
