"""nodes/proxy: the kubelet's own paths (``/stats/summary``, ``/metrics/resource``, ``/pods``) through the API.

A connection is carried as it comes; a client of this process gets the whole answer of a GET. The kubelet knows the API by
its client certificate, so who may ask is decided here alone, by ``nodes/proxy``.
Source: kubernetes pkg/registry/core/node/rest (ProxyREST).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sampan.api.aggregation.backend import HOP_BY_HOP, without_identity
from sampan.api.aggregation.proxy import body_of, query_of, until_gone
from sampan.api.errors import StatusError, bad_request, not_found, service_unavailable
from sampan.api.request import Asgi, Receive, Request, Response, Scope, Send

if TYPE_CHECKING:
    import aiohttp

    from sampan.api.app import Api
    from sampan.api.streams import Kubelets

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def add(api: Api, kubelets: Kubelets) -> None:
    """Serve it."""
    proxy = NodeProxy(api, kubelets)
    api.catalog.stream(
        "", "v1", "nodes", "proxy", METHODS, proxy.carry, kind="NodeProxyOptions", handlers={"GET": proxy.answer}
    )


class NodeProxy:
    def __init__(self, api: Api, kubelets: Kubelets) -> None:
        self._api, self._kubelets = api, kubelets

    def _address(self, asked: str) -> str:
        """Return the kubelet's address; ``https:NAME:PORT`` names another port. Raises 400, 404 and 500."""
        scheme, name, port = split(asked)
        node = self._kubelets.node(name)
        if node is None:
            served = self._api.catalog.get("", "v1", "nodes")
            assert served is not None
            raise not_found(served.resource, name)
        if not port:
            return self._kubelets.address(node)
        host = self._kubelets.host(node)
        if not host:
            addresses = node.get("status", {}).get("addresses") or []
            raise StatusError(500, "InternalError", f"no preferred addresses found; known addresses: {addresses}")
        kubelet = node.get("status", {}).get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")
        scheme = scheme or ("https" if port == str(kubelet) else "http")
        return f"{scheme}://{host}:{port}"

    def _in_process(self, request: Request) -> Asgi | None:
        return self._api.kubelet_of(request.attributes.name)

    async def answer(self, request: Request) -> Response:
        """Answer a GET of this process, whole."""
        kubelet = self._in_process(request)
        if kubelet is not None:
            return await whole(kubelet, scope_of(request))
        async with await self._open(request, None) as found:
            return Response(await found.read(), found.status, found.headers.get("content-type", ""))

    async def carry(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            raise bad_request("a kubelet's streams are reached through pods/exec, pods/attach and pods/portforward")
        kubelet = self._in_process(request)
        if kubelet is not None:
            await kubelet({**scope, **scope_of(request)}, receive, send)
            return
        body = None if request.method in ("GET", "HEAD") else body_of(receive, asyncio.Event())
        async with await self._open(request, body) as found:
            await relay(found, receive if body is None else None, send)

    async def _open(self, request: Request, body: Any) -> aiohttp.ClientResponse:
        address, rest = self._address(request.attributes.name), request.attributes.rest
        return await ask(self._kubelets.client(), request, address, f"/{rest}", body)


async def ask(
    client: aiohttp.ClientSession, request: Request, address: str, path: str, body: Any
) -> aiohttp.ClientResponse:
    """Send a request on to ``path`` of the server at ``address`` (``scheme://host:port``), without who asks; the answer's
    body is unread. Raises 503 where it cannot be reached."""
    import aiohttp
    from yarl import URL

    query = query_of(request)
    where = f"{address}{quote(path, safe='/:@~+,;=!$&*()')}{'?' if query else ''}{query}"
    try:
        return await client.request(
            request.method,
            URL(where, encoded=True),
            headers=dict(without_identity(request.headers)),
            data=body,
            allow_redirects=False,
        )
    except (aiohttp.ClientError, OSError) as error:
        raise service_unavailable(f"error trying to reach service: {error}") from error


async def relay(found: aiohttp.ClientResponse, receive: Receive | None, send: Send) -> None:
    """Answer with what another server answers, as it comes. ``receive``: where it is heard that the client has gone, unless a
    body is read from there."""
    await send({"type": "http.response.start", "status": found.status, "headers": list(headers_of(found))})
    gone = asyncio.ensure_future(until_gone(receive, None)) if receive is not None else None
    try:
        async for piece in found.content.iter_any():
            if gone is not None and gone.done():
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    finally:
        if gone is not None:
            gone.cancel()
    await send({"type": "http.response.body", "body": b""})


def split(asked: str, what: str = "node") -> tuple[str, str, str]:
    """Return scheme, name and port of ``[SCHEME:]NAME[:PORT]``. Raises 400."""
    match asked.split(":"):
        case [name]:
            return "", name, ""
        case [name, port]:
            return "", name, port
        case [("http" | "https") as scheme, name, port]:
            return scheme, name, port
    raise bad_request(f'invalid {what} request "{asked}"')


def scope_of(request: Request) -> dict[str, Any]:
    """Return the part of an ASGI scope that a kubelet in this process reads."""
    at = request.attributes
    path = f"/{at.rest}"
    return {
        "type": "http",
        "method": request.method,
        "path": path,
        "query_string": query_of(request).encode(),
        "headers": [],
        "sampan.node": at.name,
    }


def headers_of(answer: aiohttp.ClientResponse) -> Iterable[tuple[bytes, bytes]]:
    for name, value in answer.headers.items():
        if name.lower() not in HOP_BY_HOP and name.lower() not in ("content-length", "content-encoding"):
            yield name.lower().encode("latin-1"), value.encode("latin-1")


async def whole(app: Asgi, scope: Scope) -> Response:
    """Return an app's answer to a request without a body."""
    made = Response(b"", 500, "")

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            made.status = message["status"]
            found = [value for name, value in message["headers"] if name == b"content-type"]
            made.content_type = found[0].decode("latin-1") if found else ""
        else:
            made.body += message.get("body", b"")

    await app(scope, receive, send)
    return made
