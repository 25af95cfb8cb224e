"""Records to bytes and back, as they wait in a spool: CBOR, by columns; the labels of a stream, and what all have, once.

What is sent later is what would have been sent now: the bytes of the text, when it was read, and what processing found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat
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
    """Return a batch that is not empty as bytes."""
    of, records, observed, found = zip(*batch, strict=True)
    streams: dict[Labels, int] = {}
    numbers = [streams.setdefault(labels, len(streams)) for labels in of]
    fields = None if found.count(None) == len(found) else [None if one is None else values_of(one) for one in found]
    columns = [column(numbers), *map(column, zip(*records, strict=True)), column(observed), fields]
    return cbor2.dumps((VERSION, len(records), [labels.values for labels in streams], columns))


def column(values: Sequence[Any]) -> list[Any]:
    """Return values as they are written: of equal ones the first."""
    return list(values[:1]) if values.count(values[0]) == len(values) else list(values)


def unpack(packed: bytes) -> list[Delivery]:
    """Raises ``ValueError``: another version of ours has written it."""
    version, *content = cbor2.loads(packed)
    if version != VERSION:
        raise ValueError(f"it is of version {version} of the spool's format, this is version {VERSION}")
    count, tables, columns = content
    labels = [Labels(table) for table in tables]
    numbers, *parts, observed = (repeat(one[0], count) if len(one) == 1 else one for one in columns[:-1])
    fields = repeat(None, count) if columns[-1] is None else map(fields_of, columns[-1])
    records = map(partial(tuple.__new__, Record), zip(*parts, strict=True))
    return list(zip(map(labels.__getitem__, numbers), records, observed, fields, strict=True))


def fields_of(values: list[Any] | None) -> Fields | None:
    if values is None:
        return None
    fields = Fields()
    for name, value in zip(FIELDS, values, strict=True):
        setattr(fields, name, value)
    return fields
