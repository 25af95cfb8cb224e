"""From a connection (ASGI) to an answer: the order in which a request is looked at.

    who → audit → impersonation → may they → body → flow control → the verb → the answer

``serve_http`` and ``serve_websocket`` are the two ways in. Whatever is wrong becomes a ``Status``. A request that takes too
long is answered with 504 while its work goes on: what has begun to be written is not torn in half. Source:
k8s.io/apiserver pkg/server/config.go (DefaultBuildHandlerChain).
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter, time
from typing import TYPE_CHECKING, Any

from sampan.api import connecting, encodings, routing
from sampan.api.asgi import MAX_BODY_BYTES, ClientGone, Headers, headers_of, read_body, refuse_websocket, respond
from sampan.api.audit.auditor import Entry, attempted_of, sources_of, uri_of
from sampan.api.der import validity
from sampan.api.errors import StatusError, bad_request, internal_error, method_not_allowed, timed_out, unauthorized
from sampan.api.flags import duration
from sampan.api.flowcontrol.control import TooManyRequests
from sampan.api.identity import denied, impersonated
from sampan.api.metrics.requests import labels_of
from sampan.api.rendering import error_response, wanted
from sampan.api.request import ANONYMOUS, Receive, Request, Response, Scope, Send, StreamHandler, User
from sampan.api.watching import WatchStream
from sampan.api.whole import WHOLE, Whole

if TYPE_CHECKING:
    from sampan.api.app import Api, Routed
    from sampan.api.verbs import Answer

logger = logging.getLogger("sampan.api")
READING = ("get", "list", "watch")
READS = ("GET", "HEAD")
LOOK_SECONDS = 5.0
"""The longest that a deadline is looked at late after the first of them was set."""


async def authenticated(api: Api, scope: Scope, headers: Headers) -> User:
    """Return who asks. Raises 401."""
    if api.measured.watched:
        return await counted(api, scope, headers)
    return await identified(api, scope, headers)


async def counted(api: Api, scope: Scope, headers: Headers) -> User:
    """The same, and count how it went."""
    result = "failure"
    try:
        user = await identified(api, scope, headers)
        result = "success"
    finally:
        api.measured.count("authentication_attempts", result)
    certificate = scope.get("sampan.peer_certificate")
    if certificate is not None:
        left = validity(certificate)[1] - time()
        api.measured.observe("apiserver_client_certificate_expiration_seconds", left)
    return user


async def identified(api: Api, scope: Scope, headers: Headers) -> User:
    user = api.authenticator.authenticate(
        headers, scope.get("sampan.peer_certificate"), scope.get("sampan.front_proxy_certificate")
    )
    if user is not None and not isinstance(user, User):
        user = await user
    if user is not None:
        return user
    if not api.anonymous(scope["path"]):
        raise unauthorized()
    return ANONYMOUS


async def arrived(api: Api, scope: Scope) -> tuple[Routed, Entry | None]:
    """Return the request of a connection, its user known, and what writes it down. Raises 401 and 403."""
    headers = headers_of(scope)
    if api.without_cbor and "cbor" in headers.get("accept", ""):
        headers["accept"] = encodings.without_cbor(headers["accept"])
    query = routing.parse_query(scope["query_string"])
    if api.store.shared:
        await api.fresh(scope.get("method", "GET"), scope["path"], query.last.get("resourceVersion", ""))
    try:
        user = await authenticated(api, scope, headers)
    except StatusError:
        if api.audit is not None:
            api.audit.refused(scope, headers, attempted_of(headers))
        raise
    routed = api.routed(user, scope.get("method", "GET"), scope["path"], query, headers)
    entry = None
    if api.audit is not None:
        sources = sources_of(scope, headers)
        entry = api.audit.begin(routed.request, user, uri=uri_of(scope), sources=sources)
    if entry is not None:
        routed.request.answer_headers = ((b"audit-id", entry.id.encode()),)
    if headers.impersonating:
        await impersonate(api, routed.request, entry)
    return routed, entry


async def impersonate(api: Api, request: Request, entry: Entry | None) -> None:
    """Go on as the user that the headers name. Raises 403 and 500."""
    try:
        user = await impersonated(api.authorizer, request.user, request.headers)
    except StatusError as error:
        if entry is not None:
            entry.decided(False, "")
            entry.complete(error_response(error))
        raise
    request.user = request.attributes.user = user
    if entry is not None:
        entry.impersonated(user)


async def allowed(api: Api, request: Request, entry: Entry | None) -> None:
    """Authorize a request, and write down why. Raises 403."""
    at, authorizer = request.attributes, api.authorizer
    if authorizer.pending(at):
        await authorizer.prepare(at)
    yes, reason = authorizer.authorize(at)
    if api.measured.watched:
        api.measured.count("authorization_attempts_total", "allowed" if yes else "denied")
    if entry is not None:
        entry.decided(yes, reason)
    if not yes:
        raise denied(at, reason)


async def audited(api: Api, routed: Routed) -> Answer:
    """Authorize, serve and write down a request that came without a connection. Raises ``StatusError``."""
    request, at = routed.request, routed.request.attributes
    entry = api.audit.begin(request, request.user, uri=at.path, sources=["127.0.0.1"]) if api.audit else None
    try:
        await allowed(api, request, entry)
        answer = await api.serve(routed)
    except StatusError as error:
        if entry is not None:
            entry.complete(error_response(error))
        raise
    if entry is not None:
        entry.complete(None if isinstance(answer, WatchStream) else answer)
    return answer


class Exchange:
    """One request and its answer; ``late`` once the deadline has answered it, and nothing more may be sent."""

    __slots__ = ("accept", "direct", "due", "late", "request", "scope", "send")

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self.send = scope, send
        self.direct: Whole | None = scope.pop(WHOLE, None)  # taken out, for it knows who knows the scope
        self.request: Request | None = None
        self.accept = ""
        self.due = 0.0
        self.late = False

    async def refuse_late(self) -> None:
        await respond(self.scope, self.send, error_response(timed_out(), self.accept), self.request, self.direct)


class Deadlines:
    """Answers 504 for requests that take too long. One timer for all: most end long before, and cost a look-up."""

    def __init__(self) -> None:
        self._open: dict[Exchange, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._late: set[asyncio.Task[None]] = set()

    def begin(self, exchange: Exchange, begun: float, seconds: float) -> None:
        exchange.due = begun + seconds
        self._open[exchange] = None
        if self._timer is None or (seconds < LOOK_SECONDS and self._looks_after(seconds)):
            self._look_in(seconds)

    def end(self, exchange: Exchange) -> None:
        self._open.pop(exchange, None)

    def _looks_after(self, seconds: float) -> bool:
        return self._timer is not None and self._timer.when() > asyncio.get_running_loop().time() + seconds

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(min(seconds, LOOK_SECONDS), self._look)

    def _look(self) -> None:
        now = perf_counter()
        self._timer = None
        late = [exchange for exchange in self._open if exchange.due <= now]
        for exchange in late:
            del self._open[exchange]
            exchange.late = True
            task = asyncio.get_running_loop().create_task(exchange.refuse_late(), name="deadline")
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        if self._open:
            self._look_in(max(min(exchange.due for exchange in self._open) - now, 0.001))


def allowed_seconds(api: Api, request: Request) -> float:
    """Return how long a request may take: what it asks for, at most what the server grants. Raises 400."""
    try:
        seconds = duration(request.query["timeout"] or "0")
    except ValueError:
        raise bad_request("invalid timeout specified in the request URL") from None
    return min(seconds, api.request_seconds) or api.request_seconds


async def serve_http(api: Api, scope: Scope, receive: Receive, send: Send) -> None:
    begun = perf_counter()
    routed: Routed | None = None
    entry: Entry | None = None
    exchange = Exchange(scope, send)
    answer: Answer
    spoken: Answer | None = None
    try:
        routed, entry = await arrived(api, scope)
        request = exchange.request = routed.request
        at = request.attributes
        exchange.accept = request.headers.get("accept", "")
        await allowed(api, request, entry)
        handler = streamed(api, routed)
        if handler is not None:
            await stream(handler, api, routed, entry, scope, receive, send)
            return
        seconds = allowed_seconds(api, request) if "timeout" in request.query else api.request_seconds
        if request.method not in READS:
            await read(request, exchange.direct, receive, seconds)
        if at.verb != "watch":
            api.deadlines.begin(exchange, begun, seconds)
        answer = spoken = await answered(api, routed)
        if routed.served is not None and encodings.may_be_binary(exchange.accept) and isinstance(answer, Response):
            answer = await encodings.encoded(answer, wanted(request).media)
    except StatusError as error:
        answer = refusal(error, exchange.accept)
    except ClientGone:
        if entry is not None:
            entry.complete(error_response(StatusError(500, "InternalError", "unexpected EOF")))
        api.metrics.observe(routed, 500, begun)
        return
    except Exception as error:
        logger.exception("%s %s", scope.get("method"), scope["path"])
        answer = error_response(internal_error(f"{type(error).__name__}: {error}"), exchange.accept)
        if entry is not None:
            entry.panicked(error)
            entry = None
    if isinstance(answer, WatchStream):
        api.deadlines.end(exchange)  # the store's watch is a "get" to begin with
        await watch(api, answer, routed, entry, scope, receive, send)
        api.metrics.observe(routed, 200, begun)
        return
    if entry is not None:
        entry.complete(answer if spoken is None or isinstance(spoken, WatchStream) else spoken)
    api.deadlines.end(exchange)
    api.metrics.observe(routed, 504 if exchange.late else answer.status, begun)
    if exchange.late or answer.status == 429:
        code = "504" if exchange.late else "429"
        api.measured.count("apiserver_request_terminations_total", code, "apiserver", *labels_of(routed)[:6])
    if api.measured.watched and routed is not None and routed.request.attributes.verb in ("get", "list"):
        labels = labels_of(routed)[:6]
        api.measured.observe("apiserver_response_sizes", answer.length, "apiserver", *labels)
    if not exchange.late:
        await respond(scope, send, answer, exchange.request, exchange.direct)


def streamed(api: Api, routed: Routed) -> StreamHandler | None:
    """Return who serves the connection of a request itself, None where an answer is made for it."""
    if api.remotes:
        remote = api.remote(routed.request.attributes.path)
        if remote is not None:
            return remote.stream
    subresource = routed.subresource
    if subresource is None or routed.request.method not in subresource.stream_methods:
        return None
    return subresource.stream


async def read(request: Request, direct: Whole | None, receive: Receive, seconds: float) -> None:
    """Read the body of a request. Raises 400, 413 and 504."""
    body = direct.body() if direct is not None else None
    if body is None or len(body) > MAX_BODY_BYTES:
        length = request.headers.get("content-length", "")
        body = await read_body(receive, int(length) if length.isdecimal() else len(body or b""), seconds)
    request.body = body
    encodings.decoded(request)
    await encodings.read_beside(request)


async def answered(api: Api, routed: Routed) -> Answer:
    """Serve a request within the seats of its priority level. Raises ``StatusError``."""
    control, request = api.flow_control, routed.request
    if control is None:
        return await api.serve(routed)
    at = request.attributes
    flow = control.flow_of(at)
    seats = control.width(at) if at.verb == "list" else 1
    if not control.enter(flow, seats):
        await control.wait(flow, seats)
    request.answer_headers = (*request.answer_headers, *flow.headers) if request.answer_headers else flow.headers
    kind = "readOnly" if at.verb in READING else "mutating"
    inflight = api.metrics.inflight
    inflight[kind] += 1
    try:
        answer = await api.serve(routed)
        if isinstance(answer, WatchStream):
            answer.headers = request.answer_headers
        elif at.verb == "list":
            control.learn(at, answer.length)
        return answer
    finally:
        inflight[kind] -= 1
        control.seats.give_back(flow.level, seats)


def refusal(error: StatusError, accept: str) -> Response:
    answer = error_response(error, accept)
    if isinstance(error, TooManyRequests):
        plain = "text/plain; charset=utf-8"
        return Response(error.message.encode() + b"\n", 429, plain, answer.headers)
    return answer


async def watch(
    api: Api,
    answer: WatchStream,
    routed: Routed | None,
    entry: Entry | None,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Send a watch until it ends."""
    if entry is not None:
        entry.started()
    try:
        with api.metrics.long_running(routed):
            await answer(scope, receive, send)
    finally:
        if entry is not None:
            entry.complete(None)


async def stream(
    handler: StreamHandler, api: Api, routed: Routed, entry: Entry | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Let a handler have the connection; what it refuses before its first message is answered for it."""
    started, refused, begun = False, None, perf_counter()
    code = 101 if scope["type"] == "websocket" else 200

    async def tell(message: Any) -> None:
        nonlocal started
        if not started and entry is not None:
            entry.started()
        started = True
        await send(message)

    try:
        await connecting.admit(routed)
        with api.metrics.long_running(routed):
            await handler(routed.request, scope, receive, tell)
    except StatusError as error:
        if started:
            logger.warning("%s: %s", scope["path"], error)
            return
        refused = error_response(error)
        if scope["type"] == "websocket":
            await refuse_websocket(scope, send, refused)
        else:
            await respond(scope, send, refused, routed.request)
    finally:
        api.metrics.observe(routed, code if refused is None else refused.status, begun)
        if entry is not None:
            entry.complete(refused, code)


async def serve_websocket(api: Api, scope: Scope, receive: Receive, send: Send) -> None:
    begun = perf_counter()
    entry: Entry | None = None
    try:
        routed, entry = await arrived(api, scope)
        await allowed(api, routed.request, entry)
        handler = streamed(api, routed)
        if handler is not None:
            await stream(handler, api, routed, entry, scope, receive, send)
            return
        answer = await answered(api, routed)
        if not isinstance(answer, WatchStream):
            raise method_not_allowed()
    except StatusError as error:
        refused = error_response(error)
        if entry is not None:
            entry.complete(refused)
        await refuse_websocket(scope, send, refused)
        return
    await watch(api, answer, routed, entry, scope, receive, send)
    api.metrics.observe(routed, 200, begun)
