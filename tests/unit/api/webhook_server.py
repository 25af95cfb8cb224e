"""A real HTTPS server on loopback that answers as a webhook does, for tests."""

from __future__ import annotations

import base64
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from cryptography import x509

Answer = Callable[[dict[str, Any]], Any]
"""From a decoded body to the answer: a dict, or an ``aiohttp`` response."""


@dataclass
class WebhookServer:
    """Paths are answered by ``answers[path]``; what was asked is in ``asked``."""

    port: int
    ca: bytes
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    headers: list[dict[str, str]] = field(default_factory=list)

    def client_config(self, path: str) -> dict[str, str]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": base64.b64encode(self.ca).decode()}

    def requests(self, path: str) -> list[dict[str, Any]]:
        return [body["request"] for at, body in self.asked if at == path]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        sent = await request.read()
        body = orjson.loads(sent) if sent else {}
        self.asked.append((request.path, body))
        self.headers.append(dict(request.headers))
        answer = self.answers[request.path](body)
        if hasattr(answer, "__await__"):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@asynccontextmanager
async def webhook_server(authority: Any, *names: str) -> AsyncIterator[WebhookServer]:
    """Serve with a certificate of ``authority`` for 127.0.0.1 and ``names`` until the context ends."""
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    authority.write("webhook", "webhook", extension=x509.SubjectAlternativeName(alternatives))
    stem = Path(authority.directory) / "webhook"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stem.with_suffix(".crt"), stem.with_suffix(".key"))
    app = web.Application()
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    server = WebhookServer(0, authority.ca)
    app.router.add_route("*", "/{path:.*}", server.handle)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()


def allow(body: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the AdmissionReview that allows a request."""
    response = {"uid": body["request"]["uid"], "allowed": True, **more}
    return {"apiVersion": body["apiVersion"], "kind": "AdmissionReview", "response": response}


def deny(body: dict[str, Any], **status: Any) -> dict[str, Any]:
    return allow(body, allowed=False, status=status)


def patch(body: dict[str, Any], *operations: dict[str, Any]) -> dict[str, Any]:
    encoded = base64.b64encode(orjson.dumps(list(operations))).decode()
    return allow(body, patch=encoded, patchType="JSONPatch")
