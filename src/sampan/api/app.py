"""The app: from a connection to an answer.

A request flows: who (authenticator, impersonation) → may they (authorizer) → route → verb (``verbs.py``) →
``Response``. ``Api.__call__`` is the ASGI application; ``Api.answer`` is the same without a connection, for the
in-process client. What an ``Api`` serves is put in from outside: resources in ``catalog``, other paths by ``route``,
plugins in ``admission``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from sampan.api import routing, serving
from sampan.api.admitting import Chain
from sampan.api.audit.auditor import Auditor
from sampan.api.authz.chain import Mode
from sampan.api.authz.decision import Decision
from sampan.api.catalog import Catalog, Served, Subresource
from sampan.api.errors import StatusError, method_not_allowed, service_unavailable
from sampan.api.feature_gates import FeatureGates
from sampan.api.flowcontrol.control import FlowControl
from sampan.api.following import Following
from sampan.api.health import Check, add_health_routes
from sampan.api.identity import permit
from sampan.api.metrics.exposition import Family, HistogramFamily
from sampan.api.metrics.measured import Measured
from sampan.api.metrics.requests import Requests
from sampan.api.registry import Registry
from sampan.api.remembered import Remembered
from sampan.api.request import Asgi, Attributes, Handler, Receive, Request, Scope, Send, User
from sampan.api.stored_versions import Source
from sampan.api.verbs import VERBS, Answer, scaled, status
from sampan.api.watching import Frames
from sampan.api.webhook_client import WebhookClient
from sampan.schema.objects import Object
from sampan.schema.types import TypeSystem
from sampan.store import Record, Store, StoreError

if TYPE_CHECKING:
    from sampan.api.aggregation.proxy import Remote

logger = logging.getLogger("sampan.api")

PARSED_BYTES = 8 << 20
"""JSON of the objects that are kept parsed; as dicts they take about four times that."""
SELECTING = ("list", "watch", "deletecollection")


class Authenticator(Protocol):
    def authenticate(
        self, headers: Mapping[str, str], peer_certificate_der: bytes | None, front_proxy_der: bytes | None = None
    ) -> User | Awaitable[User | None] | None:
        """Return who asks; None: nobody said who they are. Raises ``StatusError`` 401."""


class Authorizer(Protocol):
    @property
    def modes(self) -> Sequence[Mode]:
        """The authorizers it asks, in order."""

    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        """Return whether it is allowed, and why, or why not."""

    def decide(self, attributes: Attributes) -> Decision:
        """Return the same as a decision: ``allowed`` None where nobody allows and nobody denies."""

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


def unmanaged(obj: Object) -> Object:
    """Return an object without its managedFields: a third of its memory, and nobody looks at them but who writes."""
    obj["metadata"].pop("managedFields", None)
    return obj


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
        self.metrics = Requests()
        self.measured = Measured()
        self.features = FeatureGates(types.version)
        self.tracks_fields = True
        """Whether who sets which field is written down (managedFields): an API that nobody applies to does without."""
        self.without_cbor = False
        """Whether CBOR is not spoken."""
        self.metric_sources: list[Callable[[], Iterable[Family | HistogramFamily]]] = []
        """What else ``/metrics`` shows."""
        self.started = self.stopping = False
        self.flow_control: FlowControl | None = None
        self.deadlines = serving.Deadlines()
        self.audit: Auditor | None = None
        self.request_seconds = 60.0
        """How long a request may take that is no watch or stream."""
        self.anonymous: Callable[[str], bool] = lambda path: True
        """Whether a path may be asked for by somebody unknown."""
        self.kubelet_of: Callable[[str], Asgi | None] = lambda node: None
        """Who answers for the pods of a node in this process (a simulated one); None: its kubelet is asked over HTTPS."""
        self.event_ttl_seconds = 3600
        self.preparations: list[Callable[[], Awaitable[None]]] = []
        """What ``assembly.bootstrap`` runs once the store is open, in order."""
        self.webhook_client = WebhookClient(self)
        self.closing: list[Callable[[], Awaitable[None]]] = [self.webhook_client.close]
        """What ``close`` runs before it closes the store."""
        self._background: set[asyncio.Task[None]] = set()
        self.following = Following(self)
        self.remotes: dict[tuple[str, str], Remote] = {}
        """Group's versions that other servers serve (``aggregation/``)."""
        self._routes: dict[str, Handler] = {}
        self._parsed: Remembered[str, tuple[int, Object]] = Remembered(PARSED_BYTES)
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

    def remote(self, path: str) -> Remote | None:
        """Return the extension server that serves a path, if one does."""
        if not self.remotes or not path.startswith("/api"):
            return None
        if "//" in path and routing.parse(path) is None:
            return None  # authorized as a path that is no resource: a server that reads past the gap would serve one
        parts = path.split("/", 4)
        if parts[1] == "apis":
            return self.remotes.get((parts[2], parts[3])) if len(parts) > 3 else None
        return self.remotes.get(("", parts[2])) if len(parts) > 2 else None

    def source(self, served: Served) -> Source:
        """Return where the objects of a resource are read: the store, or the view of a version."""
        return served.view or self.store

    def parsed(self, record: Record) -> Object:
        """Return a record's object without its managedFields, parsed once and shared: never change it, and write only what is
        made of ``whole``."""
        if record.__class__ is not Record:  # made for one version: not to be found by another
            return unmanaged(orjson.loads(record.value))
        known = self._parsed.get(record.key)
        if known is not None and known[0] == record.revision:
            return known[1]
        obj = unmanaged(orjson.loads(record.value))
        if known is None or known[0] < record.revision:
            self._parsed.put(record.key, (record.revision, obj), len(record.value))
        return obj

    def remember(self, most_bytes: int) -> None:
        """Keep parsed objects of so many bytes."""
        self._parsed = Remembered(most_bytes)

    def whole(self, record: Record) -> Object:
        """Return a record's object as it is stored, for the caller alone."""
        obj: Object = orjson.loads(record.value)
        return obj

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the requests, for as long as the store is open: ``close`` ends it."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

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
        if self.audit is not None:
            return await serving.audited(self, routed)
        await permit(self.authorizer, routed.request.attributes)
        return await self.serve(routed)

    async def serve(self, routed: Routed) -> Answer:
        """Serve a request that is allowed. Raises ``StatusError``."""
        request, target, served = routed.request, routed.target, routed.served
        remote = self.remote(request.attributes.path)
        if remote is not None:
            return await remote.answer(request)
        if target is None:
            return await self._route_of(request.attributes.path)(request)
        if served is None or not _scope_fits(served, target):
            return await self._unknown(request)
        if request.method == "HEAD":
            raise method_not_allowed()
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
            await serving.serve_http(self, scope, receive, send)
        elif kind == "websocket":
            await serving.serve_websocket(self, scope, receive, send)
        elif kind == "lifespan":
            await _lifespan(receive, send)

    async def fresh(self, method: str, path: str, resource_version: str = "") -> None:
        """Have memory see what was written before a request came, by whichever server. Raises 503.

        Before anything else: who asks, what they may and what is served are state of the store, too. A read that names a
        revision that is there already is content with it, as Kubernetes' are."""
        store = self.store
        if not store.shared or not path.startswith("/api"):
            return
        numeric = resource_version.isascii() and resource_version.isdigit() and len(resource_version) <= 20
        known = numeric and int(resource_version) <= store.revision
        if known and method == "GET":
            return
        try:
            await store.fresh()
        except StoreError as error:
            raise service_unavailable(f"the store cannot be reached: {error}") from error


def _scope_fits(served: Served, target: routing.Target) -> bool:
    """Whether namespace and name are there as the resource's scope wants them."""
    if served.resource.namespaced:
        return bool(target.namespace) or not target.name
    return not target.namespace or target.plural == "namespaces"


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
