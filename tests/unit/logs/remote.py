"""Servers of the outputs' protocols, in the test's process: they fail as they are told, then take what they are sent."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web

from sampan.logs.joining import Record
from sampan.logs.log_record import Delivery, Labels
from sampan.logs.outputs.batches import Numbered
from sampan.logs.outputs.options import Options
from sampan.logs.outputs.otlp import logs_pb2 as pb
from sampan.logs.outputs.output import Output
from sampan.logs.outputs.registry import REMOTE

STREAMS = [
    Labels({"file": f"/pods/{pod}.log", "namespace": "shop", "pod": pod, "pod_uid": f"u-{pod}", "container": "main"})
    for pod in ("web-1", "web-2")
]


def made(kind: str, **values: Any) -> Output:
    """Return an output as a configuration describes it, without a spool."""
    import importlib

    options = Options({"type": kind, "name": kind, **values}, kind)
    options.texts("type"), options.texts("name")
    output: Output = importlib.import_module(f"sampan.logs.outputs.{REMOTE[kind]}").make(kind, options)
    options.done()
    return output


def delivery(text: str, stream: int = 0, time: bytes = b"2026-11-30T10:00:00.5Z") -> Delivery:
    return STREAMS[stream], Record(time, text.encode(), text.count("\n") + 1, "", "next"), 1796032800 * 10**9, None


def batch_of(count: int, first: int = 0) -> Numbered:
    numbers = range(first, first + count)
    return Numbered(
        [delivery(f"INFO {number}", number % 2) for number in numbers], [f"id-{number}" for number in numbers]
    )


def texts_of(count: int) -> list[str]:
    return [f"INFO {number}" for number in range(count)]


Taken = list[tuple[str, str]]
"""Id and text."""


def of_http(request: web.Request, body: bytes) -> Taken:
    records = orjson.loads(body) if body[:1] == b"[" else map(orjson.loads, body.splitlines())
    return [("", record["text"]) for record in records]


def of_otlp(request: web.Request, body: bytes) -> Taken:
    assert request.headers["Content-Type"] == "application/x-protobuf"
    return of_otlp_bytes(body)


def of_otlp_bytes(body: bytes) -> Taken:
    found = []
    for resource in pb.ExportLogsServiceRequest.FromString(body).resource_logs:
        names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        assert names["k8s.namespace.name"] == "shop"
        for record in resource.scope_logs[0].log_records:
            ids = [pair.value.string_value for pair in record.attributes if pair.key == "log.record.uid"]
            found.append((ids[0], record.body.string_value))
    return found


def of_bulk(request: web.Request, body: bytes) -> Taken:
    lines = [orjson.loads(line) for line in body.splitlines()]
    return [
        (action["create"]["_id"], document["message"]) for action, document in zip(lines[::2], lines[1::2], strict=True)
    ]


def of_loki(request: web.Request, body: bytes) -> Taken:
    streams = orjson.loads(body)["streams"]
    return [(value[2]["log_record_uid"], value[1]) for stream in streams for value in stream["values"]]


READERS: dict[str, Callable[[web.Request, bytes], Taken]] = {
    "http": of_http,
    "otlp": of_otlp,
    "elasticsearch": of_bulk,
    "loki": of_loki,
}
Plan = list[Any]


class Remote:
    """``plan``: a status, ``hang``, ``close``, ``taken and close``, or what makes the answer of a request that it takes."""

    def __init__(self, kind: str, plan: Plan) -> None:
        self.kind, self.plan = kind, plan
        self.taken: Taken = []
        self.requests = 0
        self.url = ""
        self.headers: list[dict[str, str]] = []

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.taken]

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()  # aiohttp has undone gzip
        self.requests += 1
        self.headers.append(dict(request.headers))
        step = self.plan.pop(0) if self.plan else None
        if step == "hang":
            await asyncio.sleep(3600)
        if step == "close":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(step, int):
            return web.Response(status=step, headers={"Retry-After": "0"}, text="told so")
        data = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        found = READERS[self.kind](request, data)
        if callable(step):
            answer: web.Response = step(self, found)
            return answer
        self.taken += found
        if step == "taken and close":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response({"errors": False}) if self.kind == "elasticsearch" else web.Response()


@asynccontextmanager
async def serving(kind: str, plan: Plan, ssl_context: Any = None) -> AsyncIterator[Remote]:
    remote = Remote(kind, plan)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{rest:.*}", remote.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl_context).start()
    scheme = "https" if ssl_context else "http"
    remote.url = f"{scheme}://localhost:{runner.addresses[0][1]}"
    try:
        yield remote
    finally:
        await runner.cleanup()
