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
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sampan.gateway.plugins import asgi
from sampan.gateway.plugins.counters import FAILURES, Counters
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


class Said(NamedTuple):
    """What a hook says of a request."""

    status: int
    """Of its own answer; 0: the request passes."""
    body: str
    headers: dict[str, str]
    """Of the request, as they are to be."""
    removed: list[str]
    answer_headers: dict[str, str]
    cookies: list[str]


PASSES = Said(0, "", {}, [], {}, [])


def said(request: Request, answer: Any) -> Said:
    """Return what a plugin did, checked. Raises ``ValueError`` for what cannot be sent."""
    answer_headers = dict([header(*pair) for pair in request.response_headers.items()])
    cookies = [header("set-cookie", line)[1] for line in request.response_cookies]
    if isinstance(answer, Answer):
        return Said(answer.status, answer.body, {}, [], {**answer_headers, **answer.headers}, cookies)
    if answer is not None:
        raise ValueError(f"it returned {answer!r}, neither nothing nor request.respond(...)")
    headers = request.headers
    return Said(0, "", headers.changed, sorted(headers.removed), answer_headers, cookies)


def check_response(found: Said) -> bytes:
    """Return the ``CheckResponse`` for what a plugin said. Raises ``ValueError`` for what cannot be encoded."""
    cookies = [option for line in found.cookies for option in options({"set-cookie": line})]
    answer_headers = [*options(found.answer_headers), *cookies]
    if found.status:
        denied = {"status": {"code": found.status}, "headers": answer_headers, "body": found.body}
        return encode(CHECK_RESPONSE, {"status": {"code": DENIED}, "denied_response": denied})
    allowed = {
        "headers": options(found.headers),
        "headers_to_remove": found.removed,
        "response_headers_to_add": answer_headers,
    }
    return encode(CHECK_RESPONSE, {"status": {"code": OK}, "ok_response": allowed})


class Hook:
    """A request hook with its counters. ``decide`` never raises."""

    def __init__(self, function: Function, deployment: dict[str, Any], counters: Counters) -> None:
        self.function = function
        self.settings = deployment["settings"]
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
            request = Request(http, source.get("address", ""), self.settings, peer.get("certificate", ""))
            try:
                async with asyncio.timeout(self._timeout):
                    answer = self.function(request)
                    if inspect.isawaitable(answer):
                        answer = await answer
                found = check_response(said(request, answer))
            except FAILURES as error:
                if isinstance(error, TimeoutError) and not str(error):
                    error = TimeoutError(f"it took longer than {self._timeout:g} s")
                measured.failed(error)
                return check_response(self.failure(error))
            measured.answered = isinstance(answer, Answer)
            return found

    def failure(self, error: BaseException) -> Said:
        """Return what is said in the plugin's stead: the request as it came, or 500."""
        if self._opens:
            return PASSES
        text = f"plugin failed: {type(error).__name__}: {error}\n".encode(errors="replace").decode()
        return PASSES._replace(status=500, body=text)


HOSTED: dict[str, Hook] = {}
"""Package → the hook that this process has made of it: the same one, with the same counters, whichever way it is asked."""


def host(package: str, version: str, deployment_json: str) -> Asgi:
    """Return the ASGI application that pyvoy runs for a plugin."""
    deployment = json.loads(deployment_json)
    if deployment["kind"] == "asgi":
        return asgi.application(package, deployment, Counters(deployment["key"], version), asgi.backend)
    hook = HOSTED[package] = Hook(load(package, deployment), deployment, Counters(deployment["key"], version))
    return asking(hook)


def application(function: Function, deployment: dict[str, Any] = OURS, version: str = "") -> Asgi:
    """Return the ASGI application that asks a function about each request."""
    return asking(Hook(function, deployment, Counters(deployment["key"], version)))


def asking(hook: Hook) -> Asgi:
    """Return the ASGI application that asks a hook about each request."""
    counters = hook.counters

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
