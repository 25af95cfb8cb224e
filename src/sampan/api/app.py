"""The app: from a connection to an answer.

A request flows: who (authenticator, impersonation) → may they (authorizer) → route → verb (``verbs.py``) →
``Response``. ``Api.__call__`` is the ASGI application; ``Api.answer`` is the same without a connection, for the
in-process client. What an ``Api`` serves is put in from outside: resources in ``catalog``, other paths by ``route``,
plugins in ``admission``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import orjson

from sampan.api import routing, wire
from sampan.api.admitting import Chain
from sampan.api.asgi import ClientGone, headers_of, read_body, refuse_websocket, respond
from sampan.api.catalog import Catalog, Served, Subresource
from sampan.api.errors import (
    StatusError,
    bad_request,
    internal_error,
    method_not_allowed,
    service_unavailable,
    unauthorized,
)
from sampan.api.following import Following
from sampan.api.health import Check, add_health_routes
from sampan.api.identity import impersonated, permit
from sampan.api.registry import Registry
from sampan.api.rendering import error_response
from sampan.api.request import ANONYMOUS, Attributes, Handler, Receive, Request, Response, Scope, Send, User
from sampan.api.stored_versions import Source
from sampan.api.verbs import VERBS, Answer, scaled, status
from sampan.api.watching import Frames, WatchStream
from sampan.api.webhook_client import WebhookClient
from sampan.schema.objects import Object
from sampan.schema.types import TypeSystem
from sampan.store import Record, Store, StoreError

logger = logging.getLogger("sampan.api")

PARSED_OBJECTS = 8192
SELECTING = ("list", "watch", "deletecollection")


class Authenticator(Protocol):
    def authenticate(
        self, headers: Mapping[str, str], peer_certificate_der: bytes | None, front_proxy_der: bytes | None = None
    ) -> User | Awaitable[User | None] | None:
        """Return who asks; None: nobody said who they are. Raises ``StatusError`` 401."""


class Authorizer(Protocol):
    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        """Return whether it is allowed, and why, or why not."""

    def pending(self, attributes: Attributes) -> bool:
        """Whether ``prepare`` must be awaited before ``authorize`` knows."""

    async def prepare(self, attributes: Attributes) -> None: ...


class Routed:
    """A request and where it goes: ``served`` is None for paths that are no resource."""

    __slots__ = ("request", "served", "subresource", "target")

    def __init__(
        self, request: Request, target: routing.Target | None, served: Served | None, subresource: Subresource | None
    ) -> None:
        self.request, self.target, self.served, self.subresource = request, target, served, subresource


class Api:
    """One API server on one store. ``authenticator`` and ``authorizer`` are set before the first request."""

    authenticator: Authenticator
    authorizer: Authorizer

    def __init__(self, store: Store, types: TypeSystem) -> None:
        self.store = store
        self.types = types
        self.catalog = Catalog(types)
        self.registry = Registry(self)
        self.chain = Chain()
        self.catalog.on_change(lambda: self.chain.forget())
        self.frames = Frames(lambda: store.revision)
        self.live_checks: dict[str, Check] = {}
        self.components: dict[str, Check] = {}
        """The parts of the control plane that componentstatuses tells of."""
        self.ready_checks: dict[str, Check] = {}
        self.counts: dict[tuple[str, str, int], int] = {}
        self.anonymous: Callable[[str], bool] = lambda path: True
        """Whether a path may be asked for by somebody unknown."""
        self.event_ttl_seconds = 3600
        self.preparations: list[Callable[[], Awaitable[None]]] = []
        """What ``assembly.bootstrap`` runs once the store is open, in order."""
        self.webhook_client = WebhookClient(self)
        self.closing: list[Callable[[], Awaitable[None]]] = [self.webhook_client.close]
        """What ``close`` runs before it closes the store."""
        self._background: set[asyncio.Task[None]] = set()
        self.following = Following(self)
        self._routes: dict[str, Handler] = {}
        self._parsed: dict[str, tuple[int, Object]] = {}
        add_health_routes(self)

    async def close(self) -> None:
        """End what runs beside the requests; let go of connections to others, and of the store."""
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for close in self.closing:
            await close()
        await self.store.close()

    @property
    def admission(self) -> Sequence[Any]:
        """The admission plugins, in order."""
        return self.chain.plugins

    @admission.setter
    def admission(self, plugins: Sequence[Any]) -> None:
        self.chain = Chain(plugins)

    def route(self, prefix: str, handler: Handler) -> None:
        """Serve a path and all below it that are no resource; the longest prefix wins."""
        self._routes[prefix.rstrip("/") or "/"] = handler

    def source(self, served: Served) -> Source:
        """Return where the objects of a resource are read: the store, or the view of a version."""
        return served.view or self.store

    def parsed(self, record: Record) -> Object:
        """Return a record's object, parsed once and shared: never change it."""
        if record.__class__ is not Record:  # made for one version: not to be found by another
            made: Object = orjson.loads(record.value)
            return made
        known = self._parsed.get(record.key)
        if known is not None and known[0] == record.revision:
            return known[1]
        obj: Object = orjson.loads(record.value)
        if known is None and len(self._parsed) >= PARSED_OBJECTS:
            del self._parsed[next(iter(self._parsed))]
        if known is None or known[0] < record.revision:
            self._parsed[record.key] = (record.revision, obj)
        return obj

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the requests, for as long as the store is open: ``close`` ends it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    # a request without a connection

    def routed(
        self, user: User, method: str, path: str, query: routing.Query, headers: Mapping[str, str], body: bytes = b""
    ) -> Routed:
        """Return a request with what it asks for; nothing is allowed yet."""
        target = routing.parse(path)
        if target is None:
            attributes = Attributes(user, method.lower(), path)
            return Routed(self._request(user, attributes, method, query, headers, body), None, None, None)
        verb = routing.verb_of(method, target, query.last)
        name = target.name
        if not name and verb in SELECTING and "fieldSelector" in query.last:
            name = routing.selected_name(query.last)
        attributes = Attributes(
            user,
            verb,
            path,
            target.group,
            target.version,
            target.plural,
            target.subresource,
            target.namespace,
            name,
            target.rest,
        )
        if verb in SELECTING and query.last:
            attributes.field_selector = query.last.get("fieldSelector", "")
            attributes.label_selector = query.last.get("labelSelector", "")
        served = self.catalog.get(target.group, target.version, target.plural)
        subresource = served.subresources.get(target.subresource) if served and target.subresource else None
        return Routed(self._request(user, attributes, method, query, headers, body), target, served, subresource)

    def _request(
        self, user: User, at: Attributes, method: str, query: routing.Query, headers: Mapping[str, str], body: bytes
    ) -> Request:
        return Request(self, user, at, method, query.last, query.lists, headers, body)

    async def answer(self, routed: Routed) -> Answer:
        """Authorize a request and serve it. Raises ``StatusError``."""
        await permit(self.authorizer, routed.request.attributes)
        return await self._serve(routed)

    async def _serve(self, routed: Routed) -> Answer:
        request, target, served = routed.request, routed.target, routed.served
        if target is None:
            return await self._route_of(request.attributes.path)(request)
        if served is None or not _scope_fits(served, target):
            return await self._unknown(request)
        if served.resource.deprecated:
            request.warnings.append(served.resource.deprecated)
        if target.subresource:
            return await self._subresource(routed, served, target)
        if "" in served.subresources and request.method in served.subresources[""].handlers:
            return await served.subresources[""].handlers[request.method](request)
        verb = request.attributes.verb
        if not verb or verb not in served.resource.verbs:
            raise method_not_allowed()
        return await VERBS[verb](request, served)

    async def _subresource(self, routed: Routed, served: Served, target: routing.Target) -> Answer:
        request = routed.request
        if routed.subresource is not None:
            handler = routed.subresource.handlers.get(request.method)
            if handler is None:
                raise method_not_allowed()
            return await handler(request)
        if target.rest:
            raise unknown_path()
        if target.subresource == "status" and served.resource.status:
            return await status(request, served)
        if target.subresource == "scale" and served.resource.scale:
            return await scaled(request, served)
        raise unknown_path()

    def _route_of(self, path: str) -> Handler:
        at = path.rstrip("/") or "/"
        while True:
            handler = self._routes.get(at)
            if handler is not None:
                return handler
            if at == "/":
                raise unknown_path()
            at = at.rpartition("/")[0] or "/"

    async def _unknown(self, request: Request) -> Answer:
        raise unknown_path()

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)

    async def fresh(self, method: str, path: str, resource_version: str = "") -> None:
        """Have memory see what was written before a request came, by whichever server. Raises 503.

        Before anything else: who asks, what they may and what is served are state of the store, too. A read that names a
        revision that is there already is content with it, as Kubernetes' are."""
        store = self.store
        if not store.shared or not path.startswith("/api"):
            return
        known = resource_version.isascii() and resource_version.isdigit() and int(resource_version) <= store.revision
        if known and method == "GET":
            return
        try:
            await store.fresh()
        except StoreError as error:
            raise service_unavailable(f"the store cannot be reached: {error}") from error

    async def _arrived(self, scope: Scope) -> Routed:
        """Return the request of a connection, its user known. Raises 401 and 403."""
        headers = headers_of(scope)
        query = routing.parse_query(scope["query_string"])
        if self.store.shared:
            method = scope.get("method", "GET")
            await self.fresh(method, scope["path"], query.last.get("resourceVersion", ""))
        user = self.authenticator.authenticate(
            headers, scope.get("sampan.peer_certificate"), scope.get("sampan.front_proxy_certificate")
        )
        if user is not None and not isinstance(user, User):
            user = await user
        if user is None:
            if not self.anonymous(scope["path"]):
                raise unauthorized()
            user = ANONYMOUS
        if any(name.startswith("impersonate-") for name in headers):
            user = await impersonated(self.authorizer, user, headers)
        return self.routed(user, scope.get("method", "GET"), scope["path"], query, headers)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        routed: Routed | None = None
        accept = ""
        answer: Answer
        try:
            routed = await self._arrived(scope)
            request = routed.request
            accept = request.headers.get("accept", "")
            stream = routed.subresource.stream if routed.subresource else None
            if stream is not None and routed.subresource and request.method in routed.subresource.stream_methods:
                await permit(self.authorizer, request.attributes)
                await self._stream(stream, routed, scope, receive, send)
                return
            if request.method not in ("GET", "HEAD"):
                request.body = await read_body(scope, receive)
                protobuf = request.headers.get("content-type", "").startswith(wire.MEDIA_TYPE)
                if protobuf and routed.served is not None:
                    _from_protobuf(request)
            answer = await self.answer(routed)
        except StatusError as error:
            answer = error_response(error, accept)
        except ClientGone:
            return
        except Exception as error:
            logger.exception("%s %s", scope.get("method"), scope["path"])
            answer = error_response(internal_error(f"{type(error).__name__}: {error}"), accept)
        self._count(routed, answer)
        if isinstance(answer, WatchStream):
            await answer(scope, receive, send)
        else:
            await respond(scope, send, answer, routed.request if routed else None)

    async def _stream(self, stream: Any, routed: Routed, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def tell(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await stream(routed.request, scope, receive, tell)
        except StatusError as error:
            if started:
                logger.warning("%s: %s", scope["path"], error)
                return
            if scope["type"] == "websocket":
                await refuse_websocket(scope, send, error_response(error))
            else:
                await respond(scope, send, error_response(error), routed.request)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            routed = await self._arrived(scope)
            await permit(self.authorizer, routed.request.attributes)
            if routed.subresource is not None and routed.subresource.stream is not None:
                await self._stream(routed.subresource.stream, routed, scope, receive, send)
                return
            answer = await self._serve(routed)
        except StatusError as error:
            await refuse_websocket(scope, send, error_response(error))
            return
        if isinstance(answer, WatchStream):
            await answer(scope, receive, send)
        else:
            await refuse_websocket(scope, send, error_response(method_not_allowed()))

    def _count(self, routed: Routed | None, answer: Answer) -> None:
        at = routed.request.attributes if routed else None
        resource = routed.target.plural if routed and routed.target and routed.served else ""
        code = answer.status if isinstance(answer, Response) else 200
        key = (at.verb if at else "", resource, code)
        self.counts[key] = self.counts.get(key, 0) + 1


def _scope_fits(served: Served, target: routing.Target) -> bool:
    """Whether namespace and name are there as the resource's scope wants them."""
    if served.resource.namespaced:
        return bool(target.namespace) or not target.name
    return not target.namespace or target.plural == "namespaces"


def _from_protobuf(request: Request) -> None:
    """Go on with JSON: what typed Go clients send differs in form only. Raises 400."""
    if request.body:
        try:
            request.body = wire.to_json(request.body)
        except wire.WireError as error:
            raise bad_request(str(error)) from None
    request.headers = {**request.headers, "content-type": "application/json"}


def unknown_path() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", details={})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
