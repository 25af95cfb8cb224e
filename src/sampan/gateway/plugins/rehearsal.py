"""A plugin without Envoy: the same host code around a backend of one's own, for tests and for the foreground mode.

``surround`` makes an ASGI application of a plugin and a backend; ``play`` sends it recorded requests and compares what
comes out with what is expected. A recording is YAML or JSON:

    settings: {header: x-country}
    requests:
      - name: a visitor from home
        request: {method: GET, path: /, host: shop.example, client: 192.0.2.7, headers: {accept: "*/*"}, body: ""}
        backend: {status: 200, headers: {content-type: text/plain}, body: hello}
        expect: {status: 200, headers: {x-mark: a}, body: hello, backend: {path: /, headers: {x-country: CH}}}

``expect.backend: null`` says that the backend must not be asked. What is not mentioned is not compared; ``absent`` lists
headers that must not be there. A header or body that
begins with ``~`` is an expression to be found in it.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from sampan.gateway.plugins import asgi
from sampan.gateway.plugins.content import Content
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.exchanged import exchanged
from sampan.gateway.plugins.host import CHECK_REQUEST, CHECK_RESPONSE, Asgi, Hook, load, processor_of
from sampan.gateway.plugins.loader import package_of, write_package
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.processor import Processing
from sampan.gateway.plugins.wasm import HTTP_WASM, PROXY_WASM
from sampan.gateway.xds.encode import decode, encode
from sampan.gateway.xds.scopes import TABLE_HEADER

NAMES = ("requests.yaml", "requests.yml", "requests.json")
DAY_SECONDS = 86400.0


def surround(content: Content, folder: Path, backend: Asgi, *, patient: bool = False) -> Asgi:
    """Return the plugin around a backend. ``patient``: no time limit, for a debugger. Raises what its import raises."""
    write_package(folder, package_of(content), content)
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    deployment = content.deployment
    if patient:
        deployment = replace(deployment, timeout_seconds=DAY_SECONDS)
    said = {name: getattr(deployment, name) for name in deployment.__slots__}
    counters = Counters(deployment.key, content.version)
    if deployment.kind == PROXY_WASM:
        raise PluginError(
            "a proxy-wasm module runs in Envoy only: `sampan gateway run --config` serves it without a cluster"
        )
    if deployment.kind in ("asgi", HTTP_WASM):
        return tabled(asgi.application(package_of(content), said, counters, backend))
    if deployment.kind == "processor":
        return exchanged(Processing(processor_of(package_of(content), said), said, counters), backend)
    hook = Hook(load(package_of(content), said), said, counters)
    return asked(hook, backend)


def tabled(app: Asgi) -> Asgi:
    """Return an application that is called as by a listener of ours."""

    async def called(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "headers": [*scope["headers"], (TABLE_HEADER.encode(), b"here")]}, receive, send)

    return called


def asked(hook: Hook, backend: Asgi) -> Asgi:
    """Return an application that does with a hook's answers what Envoy does."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        http = {
            "method": scope["method"],
            "path": scope["path"] + (f"?{query}" if query else ""),
            "host": headers.get("host", ""),
            "scheme": scope["scheme"],
            "headers": headers,
        }
        address = {"socket_address": {"address": (scope.get("client") or ("",))[0]}}
        attributes = {"source": {"address": address}, "request": {"http": http}}
        found = decode(CHECK_RESPONSE, await hook.decide(encode(CHECK_REQUEST, {"attributes": attributes})))
        denied = found.get("denied_response")
        if denied is not None:
            pairs = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in said(denied.get("headers")).items()]
            await send({"type": "http.response.start", "status": denied["status"]["code"], "headers": pairs})
            await send({"type": "http.response.body", "body": denied.get("body", "").encode()})
            return
        allowed = found.get("ok_response", {})
        over = said(allowed.get("response_headers_to_add")).keys() - {"set-cookie"}  # a cookie goes beside the others
        changed, added = said(allowed.get("headers")), said(allowed.get("response_headers_to_add"))
        gone = {*changed, *allowed.get("headers_to_remove", ())}
        kept = [pair for pair in scope["headers"] if pair[0].decode("latin-1") not in gone]
        kept += [(k.encode("latin-1"), v.encode("latin-1")) for k, v in changed.items()]

        async def sent(message: Any) -> None:
            if message["type"] == "http.response.start":
                others = [pair for pair in message.get("headers", ()) if pair[0].decode("latin-1").lower() not in over]
                ours = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in added.items()]
                message = {**message, "headers": [*others, *ours]}
            await send(message)

        await backend({**scope, "headers": kept}, receive, sent)

    return app


def said(entries: Any) -> dict[str, str]:
    return {entry["header"]["key"]: entry["header"].get("value", "") for entry in entries or ()}


@dataclass
class Played:
    """What came of one recorded request."""

    name: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    backend: dict[str, Any] | None = None
    """What the backend was asked: method, path, headers, body; None: it was not."""
    problems: list[str] = field(default_factory=list)
    """Where it is not as expected."""


def recordings(directory: Path) -> dict[str, Any]:
    """Return the recorded requests of a plugin's directory. Raises ``PluginError``."""
    file = next((directory / name for name in NAMES if (directory / name).is_file()), None)
    if file is None:
        raise PluginError(f"{directory} has no recorded requests ({', '.join(NAMES)})")
    try:
        found = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise PluginError(f"{file}: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("requests"), list) or not found["requests"]:
        raise PluginError(f"{file}: requests: a list of recorded requests is expected")
    for number, one in enumerate(found["requests"]):
        unknown = set(one) - {"name", "request", "backend", "expect"} if isinstance(one, dict) else {"?"}
        if unknown:
            raise PluginError(f"{file}: requests[{number}]: unknown field {sorted(unknown)[0]}")
    return found


async def play(content: Content, folder: Path, requests: list[dict[str, Any]]) -> list[Played]:
    """Send recorded requests through a plugin, one after the other; its state stays between them."""
    current: dict[str, Any] = {}

    async def backend(scope: Any, receive: Any, send: Any) -> None:
        played, answer = current["played"], current["answer"]
        body = await read(receive)
        query = scope["query_string"].decode("latin-1")
        played.backend = {
            "method": scope["method"],
            "path": scope["path"] + (f"?{query}" if query else ""),
            "headers": texts(scope["headers"]),
            "body": body.decode(errors="replace"),
        }
        headers = {"content-type": "text/plain", **(answer.get("headers") or {})}
        text = str(answer.get("body", "")).encode()
        pairs = [(k.lower().encode("latin-1"), str(v).encode("latin-1")) for k, v in headers.items()]
        pairs.append((b"content-length", str(len(text)).encode()))
        await send({"type": "http.response.start", "status": int(answer.get("status", 200)), "headers": pairs})
        await send({"type": "http.response.body", "body": text, "more_body": False})

    app = surround(content, folder, backend)
    results = []
    for number, one in enumerate(requests):
        played = Played(str(one.get("name", f"request {number + 1}")))
        current.update(played=played, answer=one.get("backend") or {})
        await ask(app, one.get("request") or {}, played)
        compare(one.get("expect") or {}, played)
        results.append(played)
    return results


async def ask(app: Asgi, request: dict[str, Any], played: Played) -> None:
    path, _, query = str(request.get("path", "/")).partition("?")
    headers = {"host": request.get("host", "test.example"), **(request.get("headers") or {})}
    body = str(request.get("body", "")).encode()
    if body:
        headers["content-length"] = str(len(body))
    scope = {
        "type": "http",
        "method": request.get("method", "GET"),
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": request.get("scheme", "http"),
        "client": (request.get("client", "192.0.2.1"), 40000),
        "headers": [(name.lower().encode("latin-1"), str(value).encode("latin-1")) for name, value in headers.items()],
    }
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if given:
            return given.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            played.status, played.headers = message["status"], texts(message.get("headers") or ())
        elif message["type"] == "http.response.body":
            played.body += bytes(message.get("body", b"")).decode(errors="replace")

    await app(scope, receive, send)


async def read(receive: Any) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def texts(pairs: Any) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}


def compare(expect: dict[str, Any], played: Played) -> None:
    """Note where a request went otherwise than expected."""
    problems = played.problems
    if "status" in expect and expect["status"] != played.status:
        problems.append(f"status: {expect['status']} is expected, not {played.status}")
    different("", expect, {"headers": played.headers, "body": played.body}, problems)
    if "backend" not in expect:
        return
    if expect["backend"] is None:
        if played.backend is not None:
            problems.append("backend: it must not be asked, and was")
    elif played.backend is None:
        problems.append("backend: it was not asked")
    else:
        for name in ("method", "path"):
            if name in expect["backend"] and expect["backend"][name] != played.backend[name]:
                problems.append(f"backend.{name}: {expect['backend'][name]!r} expected, not {played.backend[name]!r}")
        different("backend.", expect["backend"], played.backend, problems)


def different(place: str, expect: dict[str, Any], found: dict[str, Any], problems: list[str]) -> None:
    for name, value in (expect.get("headers") or {}).items():
        if not fits(str(value), found["headers"].get(name.lower())):
            problems.append(f"{place}headers.{name}: {value!r} expected, not {found['headers'].get(name.lower())!r}")
    problems += [
        f"{place}headers.{name}: it must not be there"
        for name in expect.get("absent") or ()
        if name in found["headers"]
    ]
    if "body" in expect and not fits(str(expect["body"]), found["body"]):
        problems.append(f"{place}body: {expect['body']!r} expected, not {found['body']!r}")


def fits(expected: str, found: str | None) -> bool:
    if found is None:
        return False
    return re.search(expected[1:], found) is not None if expected.startswith("~") else expected == found
