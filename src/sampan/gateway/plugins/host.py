"""The plugin's side, inside Envoy: answers Envoy's authorization calls with what a Python function says of a request.

``host`` makes an ASGI application for pyvoy. Envoy asks (gRPC ``CheckRequest``) before it routes a request; the function
gets a ``Request``, changes headers for the backend (``request.headers``), sets headers of the answer
(``request.response_headers``), or returns ``request.respond(...)`` to answer itself. Whatever goes wrong in it (it raises,
awaits longer than it may, says what cannot be sent) ends here: the request passes as it came or is answered with 500, as
the owner chose (``spec.failure``). What blocks the plugin's own loop ends by Envoy's own time limit, the same way. Source:
Envoy's external authorization API v3, gRPC over HTTP/2.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from sampan.gateway.plugins import asgi
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.request import Answer, Request, header
from sampan.gateway.xds.encode import decode, encode

APPEND, OVERWRITE = 0, 2
OK, DENIED = 0, 7
CHECK_REQUEST, CHECK_RESPONSE = "envoy.service.auth.v3.CheckRequest", "envoy.service.auth.v3.CheckResponse"
OURS: dict[str, Any] = {"key": "", "settings": {}, "timeout_seconds": 35.0, "fails_open": False}
"""How our own hooks are called."""

Function = Callable[[Request], Any]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def load(package: str, deployment: dict[str, Any]) -> Function:
    """Return the function of a plugin package. Raises what its import raises, ``AttributeError``, ``TypeError``."""
    entry_point = deployment["entry_point"]
    found = found_in(package, entry_point)
    if deployment["factory"]:
        found = found(deployment["settings"])
        if not callable(found):
            raise TypeError(f"{entry_point} returned {found!r}, which is not a function")
    return found  # type: ignore[no-any-return]


def found_in(package: str, entry_point: str) -> Any:
    """Return what an entry point names. Raises what its import raises, ``AttributeError``, ``TypeError``."""
    module_name, _, name = entry_point.partition(":")
    found = getattr(importlib.import_module(f"{package}.{module_name}"), name)
    if not callable(found):
        raise TypeError(f"{entry_point} cannot be called")
    return found


def processor_of(package: str, deployment: dict[str, Any]) -> Any:
    """Return the processor of a plugin package. Raises what its import and its making raise."""
    made, settings = found_in(package, deployment["entry_point"]), deployment["settings"]
    return made(settings) if deployment["factory"] else made(**settings)


def options(headers: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"header": {"key": k, "value": v}, "append_action": APPEND if k == "set-cookie" else OVERWRITE}
        for k, v in headers.items()
    ]


def check_response(request: Request, answer: Any) -> bytes:
    """Return the ``CheckResponse`` for what a plugin did. Raises ``ValueError`` for what cannot be sent."""
    response_headers = dict(header(*pair) for pair in request.response_headers.items())
    cookies = [option for line in request.response_cookies for option in options(dict([header("set-cookie", line)]))]
    if isinstance(answer, Answer):
        denied = {
            "status": {"code": answer.status},
            "headers": [*options({**response_headers, **answer.headers}), *cookies],
            "body": answer.body,
        }
        return encode(CHECK_RESPONSE, {"status": {"code": DENIED}, "denied_response": denied})
    if answer is not None:
        raise ValueError(f"it returned {answer!r}, neither nothing nor request.respond(...)")
    allowed = {
        "headers": options(request.headers.changed),
        "headers_to_remove": sorted(request.headers.removed),
        "response_headers_to_add": [*options(response_headers), *cookies],
    }
    return encode(CHECK_RESPONSE, {"status": {"code": OK}, "ok_response": allowed})


class Hook:
    """A request hook with its counters. ``decide`` never raises."""

    def __init__(self, function: Function, deployment: dict[str, Any], counters: Counters) -> None:
        self._function = function
        self._settings = deployment["settings"]
        self._timeout: float = deployment["timeout_seconds"]
        self._opens: bool = deployment["fails_open"]
        self.counters = counters

    async def decide(self, body: bytes) -> bytes:
        """Return the answer (``CheckResponse``) to one ``CheckRequest``."""
        with self.counters.request() as measured:
            attributes = decode(CHECK_REQUEST, body).get("attributes", {})
            peer = attributes.get("source", {})
            source = peer.get("address", {}).get("socket_address", {})
            http = attributes.get("request", {}).get("http", {})
            request = Request(http, source.get("address", ""), self._settings, peer.get("certificate", ""))
            try:
                async with asyncio.timeout(self._timeout):
                    answer = self._function(request)
                    if inspect.isawaitable(answer):
                        answer = await answer
                found = check_response(request, answer)
            except Exception as error:
                if isinstance(error, TimeoutError) and not str(error):
                    error = TimeoutError(f"it took longer than {self._timeout:g} s")
                measured.failed(error)
                return self._failure(http, error)
            measured.answered = isinstance(answer, Answer)
            return found

    def _failure(self, http: dict[str, Any], error: Exception) -> bytes:
        """Return what is said in the plugin's stead: the request as it came, or 500."""
        untouched = Request(http, "")
        if self._opens:
            return check_response(untouched, None)
        return check_response(untouched, untouched.respond(500, f"plugin failed: {type(error).__name__}: {error}\n"))


def let_loops_end() -> None:
    """Let pyvoy end the loop of a version that is swapped out: it says how long to wait for the threads of the loop's
    executor, which Python takes since 3.12. Before, its own thread would panic and keep the loop's descriptors open."""
    if sys.version_info >= (3, 12):
        return

    async def shutdown_default_executor(loop: Any, timeout: float | None = None) -> None:
        loop._executor_shutdown_called = True
        if loop._default_executor is not None:  # what runs in it ends by itself
            loop._default_executor.shutdown(wait=False)

    setattr(asyncio.BaseEventLoop, "shutdown_default_executor", shutdown_default_executor)  # noqa: B010


def host(package: str, version: str, deployment_json: str) -> Asgi:
    """Return the ASGI application that pyvoy runs for a plugin."""
    let_loops_end()
    deployment = json.loads(deployment_json)
    if deployment["kind"] == "asgi":
        return asgi.application(package, deployment, Counters(deployment["key"], version), asgi.backend)
    return application(load(package, deployment), deployment, version)


def application(function: Function, deployment: dict[str, Any] = OURS, version: str = "") -> Asgi:
    """Return the ASGI application that asks a function about each request."""
    counters = Counters(deployment["key"], version)
    hook = Hook(function, deployment, counters)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/counters":  # only who may open the socket can ask; Envoy asks for another path
            await counters.send(send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = await hook.decide(body[5:])  # a gRPC message begins with a flag and four bytes of length
        headers = [(b"content-type", b"application/grpc")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
        frame = b"\x00" + len(answer).to_bytes(4, "big") + answer
        await send({"type": "http.response.body", "body": frame, "more_body": False})
        await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")], "more_trailers": False})

    return app
