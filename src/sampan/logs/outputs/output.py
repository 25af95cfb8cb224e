"""What an output is. What it gets are deliveries (``log_record.py``)."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import orjson

from sampan.logs.joining import Record
from sampan.logs.log_record import Batch, Delivery, Fields
from sampan.logs.resource import Value
from sampan.logs.timestamps import written

__all__ = [
    "Batch",
    "Delivery",
    "Faulty",
    "Gone",
    "Output",
    "Refused",
    "Resets",
    "Undelivered",
    "json_line",
    "text_line",
]


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


class Faulty(Exception):
    """A fault of ours has ended a request: it is its cause. ``rest`` and ``refused`` are as those of ``Undelivered``."""

    def __init__(self, rest: Batch, refused: int) -> None:
        super().__init__("a fault of ours")
        self.rest, self.refused = rest, refused


class Gone(Exception):
    """Nobody reads any more what the output writes, and nobody can begin to: the agent ends."""


class Output(Protocol):
    """Marks say how far an output had come: a length, a number of records; 0 where it has nothing of the kind."""

    name: str

    async def open(self, mark: int | None) -> int:
        """Take everything back that came after the mark; return where the output is then. None: it is new to us."""

    async def deliver(self, batch: Batch) -> int:
        """Return the mark after the batch, when it is there for good. Raises ``Undelivered``, ``Refused``, ``Faulty``,
        ``Gone``; whatever else it raises is a fault of ours, and nothing of the batch counts as taken."""

    async def close(self) -> None: ...


@runtime_checkable
class Lines(Protocol):
    """An output that writes lines. ``as_json``: as ``json_line`` has them, so that nobody need see each record."""

    @property
    def as_json(self) -> bool: ...


@runtime_checkable
class Resets(Protocol):
    """An output that can begin anew: it drops its connections, and the next ``deliver`` makes others."""

    async def reset(self) -> None: ...


def json_line(delivery: Delivery) -> bytes:
    """Return a record as one line of JSON: ``time``, ``text``, where it is of several lines ``lines`` and ``rule``, where it
    was over the limits ``id`` and ``part``, what processing found, then the labels. What is no UTF-8 is replaced."""
    labels, record, _, fields = delivery
    time, text, lines, rule, _, identity, part = record
    more = labels.json
    if fields is not None:
        return b"%b%b}\n" % (orjson.dumps(json_of(record, fields))[:-1], more)
    if lines > 1:
        more = b',"lines":%d,"rule":%b%b' % (lines, orjson.dumps(rule), more)
    if identity:
        more = b',"id":%b,"part":%d%b' % (orjson.dumps(identity), part, more)
    return b'{"time":%b,"text":%b%b}\n' % (
        orjson.dumps(time.decode("utf-8", "replace")),
        orjson.dumps(text.decode("utf-8", "replace")),
        more,
    )


def json_of(record: Record, fields: Fields) -> dict[str, Value]:
    """Return what ``json_line`` has of a record that was processed, without its labels: ``severity`` is a number, and there
    are ``level``, ``event``, ``trace_id``, ``span_id``, ``attributes`` as far as they were found."""
    time, text, lines, rule, _, identity, part = record
    found: dict[str, Value] = {
        "time": written(fields.time_unix_nano) if fields.time_unix_nano else time.decode("utf-8", "replace"),
        "text": text.decode("utf-8", "replace"),
    }
    if identity:
        found["id"], found["part"] = identity, part
    if lines > 1:
        found["lines"], found["rule"] = lines, rule
    if fields.severity_number:
        found["severity"] = fields.severity_number
    if fields.severity_text:
        found["level"] = fields.severity_text
    if fields.event_name:
        found["event"] = fields.event_name
    if fields.trace_id:
        found["trace_id"] = fields.trace_id
    if fields.span_id:
        found["span_id"] = fields.span_id
    if fields.attributes:
        found["attributes"] = fields.attributes
    return found


def text_line(delivery: Delivery) -> bytes:
    """Return a record as it was written."""
    return delivery[1].text + b"\n"
