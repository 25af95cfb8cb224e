"""Records as an ExportLogsServiceRequest, and what a server answers. Pure.

Records of one stream share a resource. Messages are put together of the bytes of their parts, which protobuf allows: the
resource of a stream and an attribute that many records have are encoded once.
Source: opentelemetry-proto, logs/v1/logs.proto; OTLP specification 1.8 (partial success, retries).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError

from sampan.logs.log_record import Batch, log_record
from sampan.logs.outputs.batches import ids_of
from sampan.logs.outputs.otlp import logs_pb2 as pb
from sampan.logs.resource import Value
from sampan.schema.varints import varint

UID = "log.record.uid"
"""Semantic conventions: records with the same are the same one."""
INT64 = range(-(1 << 63), 1 << 63)
RESOURCE_LOGS, RESOURCE, SCOPE_LOGS = b"\x0a", b"\x0a", b"\x12"
SCOPE, LOG_RECORDS, ATTRIBUTES = b"\x0a", b"\x12", b"\x32"
"""Tags: field number and wire type 2, of the messages in ``logs.proto``."""
OUR_SCOPE = pb.InstrumentationScope(name="sampan.logs").SerializeToString()
LONG = 200
"""Characters of a value that is not kept as bytes for the next record."""


def request_of(batch: Batch) -> bytes:
    """Return the request for a batch. Ids of records become ``log.record.uid``."""
    ids = ids_of(batch)
    streams: dict[int, tuple[dict[str, Value], list[bytes]]] = {}
    for number, delivery in enumerate(batch):
        record = log_record(delivery)
        records = streams.setdefault(id(record.resource), (record.resource, []))[1]
        head = pb.LogRecord(
            time_unix_nano=max(record.time_unix_nano, 0),
            observed_time_unix_nano=record.observed_time_unix_nano,
            severity_number=record.severity_number,
            severity_text=record.severity_text,
            body=pb.AnyValue(string_value=record.body),
            trace_id=record.trace_id,
            span_id=record.span_id,
            flags=record.flags,
            event_name=record.event_name,
        ).SerializeToString()
        attributes = [field(ATTRIBUTES, pair(name, value)) for name, value in record.attributes.items()]
        if ids is not None and UID not in record.attributes:
            attributes.append(field(ATTRIBUTES, encode_pair(UID, ids[number])))
        records.append(head + b"".join(attributes))
    return b"".join(field(RESOURCE_LOGS, resource_logs(*stream)) for stream in streams.values())


def resource_logs(resource: dict[str, Value], records: Iterable[bytes]) -> bytes:
    attributes = b"".join(field(b"\x0a", pair(name, value)) for name, value in resource.items())
    scope_logs = field(SCOPE, OUR_SCOPE) + b"".join(field(LOG_RECORDS, record) for record in records)
    return field(RESOURCE, attributes) + field(SCOPE_LOGS, scope_logs)


def field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


def pair(name: str, value: Value) -> bytes:
    """Return a KeyValue."""
    if isinstance(value, str) and len(value) <= LONG:
        return text_pair(name, value)
    return encode_pair(name, value)


@lru_cache(20_000)
def text_pair(name: str, value: str) -> bytes:
    return encode_pair(name, value)


def encode_pair(name: str, value: Value) -> bytes:
    return bytes(pb.KeyValue(key=clean(name), value=any_value(value)).SerializeToString())


def any_value(value: Value) -> pb.AnyValue:
    """Return a value of JSON; None is the empty one, and a number that 64 bits do not hold is its digits."""
    if isinstance(value, str):
        return pb.AnyValue(string_value=clean(value))
    if isinstance(value, bool):
        return pb.AnyValue(bool_value=value)
    if isinstance(value, int):
        return pb.AnyValue(int_value=value) if value in INT64 else pb.AnyValue(string_value=str(value))
    if isinstance(value, float):
        return pb.AnyValue(double_value=value)
    if isinstance(value, list):
        return pb.AnyValue(array_value=pb.ArrayValue(values=[any_value(one) for one in value]))
    if isinstance(value, dict):
        pairs = [pb.KeyValue(key=clean(name), value=any_value(one)) for name, one in value.items()]
        return pb.AnyValue(kvlist_value=pb.KeyValueList(values=pairs))
    return pb.AnyValue()


def clean(text: str) -> str:
    """Return a text without halves of characters, which UTF-8 cannot have."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def partial_success(answer: bytes) -> tuple[int, str]:
    """Return how many records a server has rejected, and what it says. An answer that is none tells of nothing."""
    try:
        success = pb.ExportLogsServiceResponse.FromString(answer).partial_success
    except DecodeError:
        return 0, ""
    return success.rejected_log_records, success.error_message


def status_of(answer: bytes) -> tuple[str, float | None]:
    """Return the message of a ``google.rpc.Status``, and after how many seconds its RetryInfo wants to be asked again."""
    try:
        status = pb.Status.FromString(answer)
    except DecodeError:
        return "", None
    return status.message, retry_delay(status.details)


def retry_delay(details: Iterable[Any]) -> float | None:
    for detail in details:
        if detail.type_url.endswith("google.rpc.RetryInfo"):
            try:
                delay = pb.RetryInfo.FromString(detail.value).retry_delay
            except DecodeError:
                return None
            return max(delay.seconds + delay.nanos / 1e9, 0.0)
    return None
