"""The plugin's side, inside Envoy: answers Envoy's authorization calls with what a Python function says of a request.

``host`` makes an ASGI application for pyvoy. Envoy asks (gRPC ``CheckRequest``) before it routes a request; the function
gets a ``Request``, changes headers for the backend (``request.headers``), sets headers of the answer
(``request.response_headers``), or returns ``request.respond(...)`` to answer itself. A function that raises answers 500 with
its error; the request never passes unseen. Source: Envoy's external authorization API v3, gRPC over HTTP/2.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from sampan.gateway.xds.encode import decode, encode

OVERWRITE = 2
OK, DENIED = 0, 7


class Headers(MutableMapping[str, str]):
    """Headers by lower-case name, that remember what was changed."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}
        self.changed: dict[str, str] = {}
        self.removed: set[str] = set()

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __setitem__(self, name: str, value: str) -> None:
        key = name.lower()
        self._values[key] = self.changed[key] = str(value)
        self.removed.discard(key)

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        del self._values[key]
        self.changed.pop(key, None)
        self.removed.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Answer:
    """What the plugin answers instead of the backend."""

    def __init__(self, status: int, body: str, headers: dict[str, str]) -> None:
        self.status, self.body, self.headers = status, body, headers


class Request:
    """A request on its way to the backend."""

    def __init__(self, http: dict[str, Any], peer: str) -> None:
        self.method: str = http.get("method", "GET")
        self.path: str = http.get("path", "/")
        self.host: str = http.get("host", "")
        self.scheme: str = http.get("scheme", "http")
        self.client: str = peer
        self.headers = Headers({k: v for k, v in (http.get("headers") or {}).items() if not k.startswith(":")})
        self.response_headers: dict[str, str] = {}

    def respond(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> Answer:
        """Return an answer; a plugin that returns it keeps the request from the backend."""
        return Answer(status, body, headers or {})


Function = Callable[[Request], Any]


def load(package: str, entry_point: str) -> Function:
    """Return the function of a plugin package. Raises what its import raises, ``AttributeError``, ``TypeError``."""
    module_name, _, name = entry_point.partition(":")
    module = importlib.import_module(f"{package}.{module_name}")
    function = getattr(module, name)
    if not callable(function):
        raise TypeError(f"{entry_point} is not a function")
    return function  # type: ignore[no-any-return]


def options(headers: dict[str, str]) -> list[dict[str, Any]]:
    return [{"header": {"key": k, "value": str(v)}, "append_action": OVERWRITE} for k, v in headers.items()]


def check_response(request: Request, answer: Any) -> bytes:
    """Return the ``CheckResponse`` for what a plugin did."""
    if isinstance(answer, Answer):
        denied = {
            "status": {"code": answer.status},
            "headers": options({**request.response_headers, **answer.headers}),
            "body": answer.body,
        }
        return encode("envoy.service.auth.v3.CheckResponse", {"status": {"code": DENIED}, "denied_response": denied})
    allowed = {
        "headers": options(request.headers.changed),
        "headers_to_remove": sorted(request.headers.removed),
        "response_headers_to_add": options(request.response_headers),
    }
    return encode("envoy.service.auth.v3.CheckResponse", {"status": {"code": OK}, "ok_response": allowed})


async def decide(function: Function, body: bytes) -> bytes:
    """Return the answer to one ``CheckRequest``."""
    attributes = decode("envoy.service.auth.v3.CheckRequest", body).get("attributes", {})
    source = attributes.get("source", {}).get("address", {}).get("socket_address", {})
    request = Request(attributes.get("request", {}).get("http", {}), source.get("address", ""))
    try:
        answer = function(request)
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        answer = request.respond(500, f"plugin failed: {type(error).__name__}: {error}\n")
    return check_response(request, answer)


Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def host(package: str, entry_point: str) -> Asgi:
    """Return the ASGI application that pyvoy runs for a plugin."""
    return application(load(package, entry_point))


def application(function: Function) -> Asgi:
    """Return the ASGI application that asks a function about each request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        answer = await decide(function, body[5:])  # a gRPC message begins with a flag and four bytes of length
        headers = [(b"content-type", b"application/grpc")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
        frame = b"\x00" + len(answer).to_bytes(4, "big") + answer
        await send({"type": "http.response.body", "body": frame, "more_body": False})
        await send({"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")], "more_trailers": False})

    return app
