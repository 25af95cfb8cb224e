"""What an output is. What it gets are deliveries (``log_record.py``)."""

from __future__ import annotations

from typing import Protocol

import orjson

from sampan.logs.log_record import Batch, Delivery, Fields
from sampan.logs.timestamps import written

__all__ = ["Batch", "Delivery", "Output", "Refused", "Undelivered", "json_line", "text_line"]


class Undelivered(Exception):
    """The output does not take the batch now. It is asked again, after ``retry_after`` seconds where it says so.

    ``rest``: only this of the batch, ``refused`` records of it will never be taken, and what is neither was taken. None: all.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, *, rest: Batch | None = None, refused: int = 0
    ) -> None:
        super().__init__(message)
        self.retry_after, self.rest, self.refused = retry_after, rest, refused


class Refused(Exception):
    """The output will never take these records. ``count`` of them are lost to it; that is said and counted."""

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class Output(Protocol):
    """Marks say how far an output had come: a length, a number of records; 0 where it has nothing of the kind."""

    name: str

    async def open(self, mark: int | None) -> int:
        """Take everything back that came after the mark; return where the output is then. None: it is new to us."""

    async def deliver(self, batch: Batch) -> int:
        """Return the mark after the batch, when it is there for good. Raises ``Undelivered``, ``Refused``."""

    async def close(self) -> None: ...


def json_line(delivery: Delivery) -> bytes:
    """Return a record as one line of JSON: ``time``, ``text``, where it is of several lines ``lines`` and ``rule``, where it
    was over the limits ``id`` and ``part``, what processing found, then the labels. What is no UTF-8 is replaced."""
    labels, record, _, fields = delivery
    time, text, lines, rule, _, identity, part = record
    more = labels.json
    if fields is not None:
        more = json_of(fields) + more
        if fields.time_unix_nano:
            time = written(fields.time_unix_nano).encode()
    if lines > 1:
        more = b',"lines":%d,"rule":%b%b' % (lines, orjson.dumps(rule), more)
    if identity:
        more = b',"id":%b,"part":%d%b' % (orjson.dumps(identity), part, more)
    return b'{"time":%b,"text":%b%b}\n' % (
        orjson.dumps(time.decode("utf-8", "replace")),
        orjson.dumps(text.decode("utf-8", "replace")),
        more,
    )


def json_of(fields: Fields) -> bytes:
    """Return what processing found as the rest of a JSON object: ``severity`` (a number), ``level``, ``event``, ``trace_id``,
    ``span_id``, ``attributes``, as far as there are such."""
    found = {
        "severity": fields.severity_number,
        "level": fields.severity_text,
        "event": fields.event_name,
        "trace_id": fields.trace_id,
        "span_id": fields.span_id,
        "attributes": fields.attributes,
    }
    rest = orjson.dumps({name: value for name, value in found.items() if value})[1:-1]
    return b"," + rest if rest else b""


def text_line(delivery: Delivery) -> bytes:
    """Return a record as it was written."""
    return delivery[1].text + b"\n"
