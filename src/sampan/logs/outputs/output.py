"""What an output is, and what it gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import orjson

from sampan.logs.joining import Record


class Labels:
    """What the records of one stream have in common: ``file``, ``stream``, and of pods ``namespace``, ``pod``, ``container``,
    ``pod_uid``, ``restart``, ``node`` and ``labels.NAME``."""

    __slots__ = ("json", "values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = dict(values)
        self.json = b"".join(b",%b:%b" % (orjson.dumps(name), orjson.dumps(value)) for name, value in values.items())
        """As the rest of a JSON object."""


Delivery = tuple[Labels, Record]


Batch = Sequence[Delivery]


class Undelivered(Exception):
    """The output does not take the batch now. It is asked again, after ``retry_after`` seconds where it says so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


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
    was over the limits ``id`` and ``part``, then the labels. What is no UTF-8 is replaced."""
    labels, record = delivery
    time, text, lines, rule, _, identity, part = record
    more = labels.json
    if lines > 1:
        more = b',"lines":%d,"rule":%b%b' % (lines, orjson.dumps(rule), more)
    if identity:
        more = b',"id":%b,"part":%d%b' % (orjson.dumps(identity), part, more)
    return b'{"time":%b,"text":%b%b}\n' % (
        orjson.dumps(time.decode("utf-8", "replace")),
        orjson.dumps(text.decode("utf-8", "replace")),
        more,
    )


def text_line(delivery: Delivery) -> bytes:
    """Return a record as it was written."""
    return delivery[1].text + b"\n"
