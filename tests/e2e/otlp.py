"""A collector of the OpenTelemetry protocol over gRPC: keeps what it is sent, as the protocol's messages say it.

Source: opentelemetry-proto, ``trace/v1``, ``logs/v1`` and ``common/v1``.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Server

from sampan.gateway.xds import messages
from sampan.gateway.xds.ads import Raw, RawCodec
from sampan.gateway.xds.encode import decode

Message = dict[str, Any]
messages.MESSAGES.update(
    messages.parse("""
otlp.AnyValue: string_value=1:string bool_value=2:bool int_value=3:int64 double_value=4:double
otlp.KeyValue: key=1:string value=2:otlp.AnyValue
otlp.Resource: attributes=1:*otlp.KeyValue
otlp.Span: trace_id=1:bytes span_id=2:bytes parent_span_id=4:bytes name=5:string kind=6:enum attributes=9:*otlp.KeyValue
otlp.ScopeSpans: spans=2:*otlp.Span
otlp.ResourceSpans: resource=1:otlp.Resource scope_spans=2:*otlp.ScopeSpans
otlp.Traces: resource_spans=1:*otlp.ResourceSpans
otlp.LogRecord: body=5:otlp.AnyValue attributes=6:*otlp.KeyValue trace_id=9:bytes
otlp.ScopeLogs: log_records=2:*otlp.LogRecord
otlp.ResourceLogs: resource=1:otlp.Resource scope_logs=2:*otlp.ScopeLogs
otlp.Logs: resource_logs=1:*otlp.ResourceLogs
""")
)


def pairs(attributes: list[Message]) -> dict[str, Any]:
    """Return attributes by key."""
    return {entry["key"]: next(iter(entry.get("value", {"": ""}).values()), "") for entry in attributes}


class Collector(threading.Thread):
    """``spans`` and ``records``, each with the attributes of its resource under ``resource``."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(daemon=True)
        self.address, self.port = address, 0
        self.spans: list[Message] = []
        self.records: list[Message] = []
        self.ready = threading.Event()
        self.loop = asyncio.new_event_loop()

    def __mapping__(self) -> dict[str, Any]:
        service = "/opentelemetry.proto.collector"
        return {
            f"{service}.trace.v1.TraceService/Export": Handler(self.traces, Cardinality.UNARY_UNARY, Raw, Raw),
            f"{service}.logs.v1.LogsService/Export": Handler(self.logs, Cardinality.UNARY_UNARY, Raw, Raw),
        }

    async def traces(self, stream: Any) -> None:
        message = await stream.recv_message()
        for part in decode("otlp.Traces", message.content).get("resource_spans", ()):
            self.spans += flat(part, "scope_spans", "spans")
        await stream.send_message(Raw(b""))

    async def logs(self, stream: Any) -> None:
        message = await stream.recv_message()
        for part in decode("otlp.Logs", message.content).get("resource_logs", ()):
            self.records += flat(part, "scope_logs", "log_records")
        await stream.send_message(Raw(b""))

    def run(self) -> None:
        self.loop.run_until_complete(self.serve())

    async def serve(self) -> None:
        server = Server([self], codec=RawCodec())
        await server.start(self.address, 0)
        assert server._server is not None
        self.port = server._server.sockets[0].getsockname()[1]
        self.ending = asyncio.Event()
        self.ready.set()
        await self.ending.wait()
        server.close()

    def __enter__(self) -> Collector:
        self.start()
        assert self.ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self.ending.set)
        self.join(10)


def flat(part: Message, scopes: str, name: str) -> list[Message]:
    resource = pairs(part.get("resource", {}).get("attributes", []))
    found = []
    for scope in part.get(scopes, ()):
        for one in scope.get(name, ()):
            attributes = pairs(one.get("attributes", []))
            found.append({**one, "attributes": attributes, "resource": resource})
    return found
