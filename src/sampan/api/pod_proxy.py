"""pods/proxy and services/proxy: HTTP requests carried to a pod, or to an endpoint of a Service, and back as they come.

``[SCHEME:]NAME[:PORT]`` names which; of a pod the port is its first container's first, of a Service the one that it has, and
there the port may be a name. The API must reach pods, as the API of a cluster of ours does, which lives in its network.
Source: kubernetes pkg/registry/core/pod/strategy.go (ResourceLocation), pkg/registry/core/service/storage
(ResourceLocation), k8s.io/apimachinery pkg/util/proxy (an empty path is redirected).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sampan.api.aggregation.proxy import body_of, query_of
from sampan.api.errors import StatusError, bad_request, not_found, service_unavailable
from sampan.api.node_proxy import METHODS, ask, relay, split
from sampan.api.request import Receive, Request, Response, Scope, Send
from sampan.api.resources.reading import items, text
from sampan.api.service_routes import Address, NoRoute, resolve
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import aiohttp

    from sampan.api.app import Api


def add(api: Api) -> None:
    """Serve both."""
    proxy = PodProxy(api)
    api.closing.append(proxy.close)
    for plural, kind in (("pods", "PodProxyOptions"), ("services", "ServiceProxyOptions")):
        handlers = {"GET": proxy.answer}
        api.catalog.stream("", "v1", plural, "proxy", METHODS, proxy.carry, kind=kind, handlers=handlers)


class PodProxy:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def answer(self, request: Request) -> Response:
        """Answer a GET of this process, whole."""
        async with await self._open(request, f"/{request.attributes.rest}", None) as found:
            return Response(await found.read(), found.status, found.headers.get("content-type", ""))

    async def carry(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            raise bad_request("streams are reached through pods/exec, pods/attach and pods/portforward")
        rest, path = request.attributes.rest, str(scope["path"])
        if not rest and not path.endswith("/") and request.method in ("GET", "HEAD"):
            query = query_of(request)
            location = f"{path}/{'?' if query else ''}{query}".encode("latin-1", "replace")
            await send({"type": "http.response.start", "status": 301, "headers": [(b"location", location)]})
            await send({"type": "http.response.body", "body": b""})
            return
        where = f"/{rest}/" if rest and path.endswith("/") else f"/{rest}"
        body = None if request.method in ("GET", "HEAD") else body_of(receive, asyncio.Event())
        async with await self._open(request, where, body) as found:
            await relay(found, receive if body is None else None, send)

    async def _open(self, request: Request, path: str, body: Any) -> aiohttp.ClientResponse:
        scheme, address = await self._target(request)
        return await ask(self._client(), request, f"{scheme or 'http'}://{address}", path, body)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            # a pod's certificate is its own affair: nobody has told the API whom to trust
            connector = aiohttp.TCPConnector(ssl=False, limit=0)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return self._session

    async def _target(self, request: Request) -> tuple[str, Address]:
        """Return the scheme that was asked for and where the request goes. Raises 400, 404 and 503."""
        at = request.attributes
        scheme, name, port = split(at.name, "pod" if at.resource == "pods" else "service")
        served = self._api.catalog.get("", "v1", at.resource)
        assert served is not None
        record = self._api.store.get(served.key(at.namespace, name))
        if record is None:
            raise not_found(served.resource, name)
        found = self._api.parsed(record)
        if at.resource == "pods":
            return scheme, address_of(found, port)
        try:
            return scheme, await resolve(self._api, at.namespace, name, service_port(found, port))
        except NoRoute as error:
            raise service_unavailable(str(error)) from error


def address_of(pod: Object, port: str) -> Address:
    """Return where a pod's port is served. Raises 400."""
    if not port:
        declared = (entry for container in items(pod, "spec", "containers") for entry in items(container, "ports"))
        port = str(next((entry["containerPort"] for entry in declared), 80))
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise bad_request(f"invalid port {port!r}: a pod's port is a number")
    ip = text(pod, "status", "podIP")
    if not ip:
        raise bad_request(f"pod {pod['metadata']['name']} has no address yet")
    return Address(ip, int(port))


def service_port(service: Object, port: str) -> int:
    """Return the number of a Service's port, given as a number or a name. Raises 503."""
    listed = items(service, "spec", "ports")
    if not port and len(listed) == 1:
        return int(listed[0]["port"])
    for entry in listed:
        if port and port in (entry.get("name"), str(entry["port"])):
            return int(entry["port"])
    raise StatusError(
        503, "ServiceUnavailable", f'no service port {port!r} found for service "{service["metadata"]["name"]}"'
    )
