"""OTLP over gRPC against a server that answers as it is told: which codes are asked again is the specification's."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.outputs import delivering
from sampan.logs.outputs.delivering import Counts, deliver
from sampan.logs.outputs.otlp import logs_pb2 as pb
from sampan.logs.outputs.otlp.grpc import METHOD, Bytes, Details
from sampan.logs.outputs.otlp.message import any_value, request_of, retry_delay
from sampan.logs.resource import Value
from tests.unit.logs.remote import Taken, batch_of, made, of_otlp_bytes, texts_of

COUNT = 20


def retry_info(seconds: float) -> bytes:
    delay = pb.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    detail = pb.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=pb.RetryInfo(retry_delay=delay).SerializeToString())
    return pb.Status(details=[detail]).SerializeToString()


class WithDetails(Details):
    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        return bytes(details)


class Collector:
    """``plan``: a status, a status with details, an answer, or None (it takes)."""

    def __init__(self, plan: list[Any]) -> None:
        self.plan = plan
        self.taken: Taken = []
        self.metadata: list[dict[str, Any]] = []

    async def export(self, stream: Stream[bytes, bytes]) -> None:
        request = await stream.recv_message()
        assert request is not None
        self.metadata.append(dict(stream.metadata or {}))
        step = self.plan.pop(0) if self.plan else None
        if callable(step):
            step = step(request)
        if isinstance(step, Status):
            raise GRPCError(step, "told so")
        if isinstance(step, tuple):
            raise GRPCError(step[0], "told so", step[1])
        self.taken += of_otlp_bytes(request)
        await stream.send_message(step or b"")

    def __mapping__(self) -> dict[str, Handler]:
        return {METHOD: Handler(self.export, Cardinality.UNARY_UNARY, bytes, bytes)}


@asynccontextmanager
async def collector(plan: list[Any]) -> AsyncIterator[tuple[Collector, str]]:
    it = Collector(plan)
    server = Server([it], codec=Bytes(), status_details_codec=WithDetails())
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    port = server._server.sockets[0].getsockname()[1]
    try:
        yield it, f"grpc://127.0.0.1:{port}"
    finally:
        server.close()
        await server.wait_closed()


async def sent(plan: list[Any], **options: Any) -> tuple[Collector, Counts]:
    counts = Counts()
    async with collector(plan) as (it, url):
        output = made("otlp", url=url, **options)
        await deliver(output, batch_of(COUNT), counts)
        await output.close()
    assert counts.records + counts.refused == COUNT
    return it, counts


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_SECONDS", 0.0)


@pytest.mark.parametrize(
    "status",
    [Status.UNAVAILABLE, Status.CANCELLED, Status.DEADLINE_EXCEEDED, Status.ABORTED, Status.OUT_OF_RANGE, Status.DATA_LOSS]
    + [Status.UNAUTHENTICATED, Status.PERMISSION_DENIED, Status.UNIMPLEMENTED],
)
async def test_what_may_be_asked_again_is(status: Status) -> None:
    it, counts = await sent([status, status])
    assert sorted(text for _, text in it.taken) == sorted(texts_of(COUNT))
    assert counts.retries == 2


async def test_exhausted_waits_as_long_as_retry_info_says() -> None:
    it, counts = await sent([(Status.RESOURCE_EXHAUSTED, retry_info(0.01)), (Status.UNAVAILABLE, retry_info(0.02))])
    assert len(it.taken) == COUNT
    assert counts.retries == 2


async def test_exhausted_without_retry_info_is_a_message_that_is_too_large() -> None:
    def small_only(request: bytes) -> Status | None:
        it_plan.append(small_only)
        return Status.RESOURCE_EXHAUSTED if len(of_otlp_bytes(request)) > 5 else None

    it_plan: list[Any] = [small_only]
    it, counts = await sent(it_plan)
    assert sorted(text for _, text in it.taken) == sorted(texts_of(COUNT))
    assert (counts.refused, counts.retries) == (0, 0)


async def test_one_bad_record_is_found_and_refused() -> None:
    def picky(request: bytes) -> Status | None:
        it_plan.append(picky)
        return Status.INVALID_ARGUMENT if any(text == "INFO 3" for _, text in of_otlp_bytes(request)) else None

    it_plan: list[Any] = [picky]
    it, counts = await sent(it_plan)
    assert counts.refused == 1
    assert len(it.taken) == COUNT - 1


async def test_partial_success_and_who_we_are() -> None:
    success = pb.ExportLogsPartialSuccess(rejected_log_records=3, error_message="no")
    answer = pb.ExportLogsServiceResponse(partial_success=success).SerializeToString()
    it, counts = await sent([answer], user="u", password="p", headers={"X-Tenant": "tea"})
    assert counts.refused == 3
    assert it.metadata[0]["authorization"] == "Basic " + base64.b64encode(b"u:p").decode()
    assert it.metadata[0]["x-tenant"] == "tea"


async def test_a_collector_that_is_away_and_comes_back() -> None:
    counts = Counts()
    async with collector([]) as (it, url):
        pass
    output = made("otlp", url=url)
    delivery = asyncio.create_task(deliver(output, batch_of(COUNT), counts))
    async with asyncio.timeout(60):
        while not counts.retries:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    server = Server([it], codec=Bytes(), status_details_codec=WithDetails())
    await server.start("127.0.0.1", int(url.rpartition(":")[2]))
    async with asyncio.timeout(60):
        await delivery
    await output.close()
    server.close()
    await server.wait_closed()
    assert sorted(text for _, text in it.taken) == sorted(texts_of(COUNT))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def back(value: Any) -> Value:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [back(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: back(pair.value) for pair in value.kvlist_value.values}
    found: Value = getattr(value, kind) if kind else None
    return found


def as_sent(value: Any) -> Any:
    """A number that 64 bits do not hold is its digits; half a character is a question mark."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [as_sent(one) for one in value]
    if isinstance(value, dict):
        return {as_sent(name): as_sent(one) for name, one in value.items()}
    return value


@given(values)
def test_any_value_of_json_is_kept(value: Any) -> None:
    assert back(any_value(value)) == as_sent(value)


def test_records_of_a_stream_share_a_resource() -> None:
    request = pb.ExportLogsServiceRequest.FromString(request_of(batch_of(6)))
    assert [len(one.scope_logs[0].log_records) for one in request.resource_logs] == [3, 3]
    record = request.resource_logs[0].scope_logs[0].log_records[0]
    assert (record.severity_number, record.severity_text, record.body.string_value) == (9, "INFO", "INFO 0")


def test_retry_info_among_other_details() -> None:
    status = pb.Status.FromString(retry_info(1.5))
    assert retry_delay([pb.Any(type_url="x/y", value=b"z"), *status.details]) == 1.5
    assert retry_delay([pb.Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff")]) is None
