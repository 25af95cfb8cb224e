"""A record on its way out, and how OpenTelemetry's log data model sees it.

Records are many: what goes from the agent to the outputs is a plain tuple of bytes, ``Delivery``. What processing has found
of a record stands in its ``Fields``; without processing there are none. An output that wants OpenTelemetry's fields asks
``log_record``, and only then are they computed.

Source: opentelemetry-specification, logs/data-model.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import orjson

from sampan.logs import severity
from sampan.logs.joining import Record
from sampan.logs.resource import Value, attributes_of, resource_of
from sampan.logs.timestamps import rfc3339, time_of

NO_WISHES: Mapping[str, str] = {}


def nothing_wished(path: str) -> Mapping[str, str]:
    """Return what the pods of log files ask for where nobody knows of pods."""
    return NO_WISHES


class Labels:
    """What the records of one stream have in common: ``file``, ``stream``, and of pods ``namespace``, ``pod``, ``container``,
    ``pod_uid``, ``restart``, ``node``, ``labels.NAME``, ``workload.KIND``, ``resource.NAME``."""

    def __init__(self, values: Mapping[str, str], wishes: Mapping[str, str] = NO_WISHES) -> None:
        """``wishes``: what the pod's annotations ask of processing (``processing/wishes.py``)."""
        self.values, self.wishes = dict(values), wishes

    @cached_property
    def json(self) -> bytes:
        """As the rest of a JSON object."""
        return b"".join(b",%b:%b" % (orjson.dumps(name), orjson.dumps(value)) for name, value in self.values.items())

    @cached_property
    def of_pod(self) -> dict[str, str]:
        """The labels of the pod, as Kubernetes has them."""
        return {name[7:]: value for name, value in self.values.items() if name.startswith("labels.")}

    @cached_property
    def resource(self) -> dict[str, Value]:
        """As a resource of OpenTelemetry. All records of a stream have the same object."""
        return resource_of(self.values)

    @cached_property
    def attributes(self) -> dict[str, Value]:
        """Attributes of OpenTelemetry that all records of the stream have."""
        return attributes_of(self.values)


class Fields:
    """What processing has found of a record. 0 and ``""`` where it has found nothing; the text is the record's own."""

    __slots__ = (
        "attributes",
        "event_name",
        "flags",
        "outputs",
        "severity_number",
        "severity_text",
        "span_id",
        "time_unix_nano",
        "trace_id",
    )

    def __init__(self) -> None:
        self.attributes: dict[str, Value] = {}
        self.severity_number, self.severity_text = 0, ""
        self.time_unix_nano = 0
        self.trace_id, self.span_id = "", ""
        """In hex, 32 and 16 digits."""
        self.flags = 0
        self.event_name = ""
        self.outputs: frozenset[str] | None = None
        """The names of the outputs that get it; None: all."""


Delivery = tuple[Labels, Record, int, Fields | None]
"""Of which stream, the record, when it was read (nanoseconds since 1970), and what processing found."""
Batch = Sequence[Delivery]


class LogRecord(NamedTuple):
    """The fields of the log data model. Times are nanoseconds since 1970, 0 where not known."""

    time_unix_nano: int
    observed_time_unix_nano: int
    severity_number: int
    severity_text: str
    body: str
    attributes: dict[str, Value]
    resource: dict[str, Value]
    """The same object for all records of a stream."""
    trace_id: bytes
    span_id: bytes
    flags: int
    event_name: str


def log_record(delivery: Delivery) -> LogRecord:
    """Return a record as the log data model has it. What processing has not found is looked for at the text's beginning: the
    level, and the time where the log file has none. Bytes that are no UTF-8 are replaced."""
    labels, record, observed, fields = delivery
    number, word = (fields.severity_number, fields.severity_text) if fields is not None else (0, "")
    if not number and not word:
        number, word = severity.found_in(record.text)
    return LogRecord(
        time_of_delivery(delivery),
        observed,
        number,
        word,
        record.text.decode("utf-8", "replace"),
        attributes_with(labels, record, fields),
        labels.resource,
        bytes.fromhex(fields.trace_id) if fields is not None else b"",
        bytes.fromhex(fields.span_id) if fields is not None else b"",
        fields.flags if fields is not None else 0,
        fields.event_name if fields is not None else "",
    )


def time_of_delivery(delivery: Delivery) -> int:
    """Return when a record was made, as processing, the log file or the text's beginning says; 0 where nothing tells."""
    _, record, observed, fields = delivery
    if fields is not None and fields.time_unix_nano:
        return fields.time_unix_nano
    if record.time:
        return rfc3339(record.time)
    return time_of(record.text[:64].decode("utf-8", "replace"), observed)


def attributes_with(labels: Labels, record: Record, fields: Fields | None) -> dict[str, Value]:
    """Return a record's attributes: its stream's, what joined it and which part of a larger one it is, and its own."""
    attributes = dict(labels.attributes)
    if record.lines > 1:
        attributes["sampan.lines"], attributes["sampan.rule"] = record.lines, record.rule
    if record.id:
        attributes["sampan.record.id"], attributes["sampan.record.part"] = record.id, record.part
    if fields is not None:
        attributes |= fields.attributes
    return attributes
