"""Records to bytes and back, as they wait in a spool: CBOR, the labels of each stream once.

What is sent later is what would have been sent now: the bytes of the text, when it was read, and what processing found.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import cbor2

from sampan.logs.joining import Record
from sampan.logs.log_record import Batch, Delivery, Fields, Labels

VERSION = 1
FIELDS = (
    "attributes",
    "severity_number",
    "severity_text",
    "time_unix_nano",
    "trace_id",
    "span_id",
    "flags",
    "event_name",
)
"""Of ``Fields``, but for ``outputs``: which output they are for is known here."""
values_of = attrgetter(*FIELDS)


def pack(batch: Batch) -> bytes:
    streams: dict[int, int] = {}
    tables: list[dict[str, str]] = []
    records: list[tuple[Any, ...]] = []
    for labels, record, observed, fields in batch:
        number = streams.get(id(labels))
        if number is None:
            number = streams[id(labels)] = len(tables)
            tables.append(labels.values)
        records.append((number, *record, observed, None if fields is None else values_of(fields)))
    return cbor2.dumps((VERSION, tables, records))


def unpack(packed: bytes) -> list[Delivery]:
    """Raises ``ValueError``: another version of ours has written it."""
    version, tables, records = cbor2.loads(packed)
    if version != VERSION:
        raise ValueError(f"it is of version {version} of the spool's format, this is version {VERSION}")
    labels = [Labels(table) for table in tables]
    return [(labels[one[0]], Record(*one[1:8]), one[8], fields_of(one[9])) for one in records]


def fields_of(values: list[Any] | None) -> Fields | None:
    if values is None:
        return None
    fields = Fields()
    for name, value in zip(FIELDS, values, strict=True):
        setattr(fields, name, value)
    return fields
