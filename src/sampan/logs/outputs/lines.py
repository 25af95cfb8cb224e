"""Batches as lines of JSON or text. Runs of records, which no one has looked at, become lines all at once."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from sampan.logs.gathered import Gathered, Taken
from sampan.logs.joining import Run
from sampan.logs.log_record import Batch, Delivery, Labels
from sampan.logs.outputs.output import json_line, text_line

NEWLINE = b"\x7f"
"""Stands for a newline where JSON would escape that: JSON leaves it as it is."""


def lines(batch: Batch, line: Callable[[Delivery], bytes]) -> bytes:
    """Return the lines of all records; ``line`` makes that of one."""
    of_run = RUNS.get(line)
    if of_run is None or not isinstance(batch, Gathered):
        return b"".join(map(line, batch))
    found: list[bytes] = []
    for labels, item, observed, fields in batch.parts:
        if isinstance(item, Run):
            found.append(of_run(item, labels))
        elif isinstance(item, Taken):
            found.append(item.json if line is json_line else b"".join(map(line, item.deliveries())))
        else:
            found.append(line((labels, item, observed, fields)))
    return b"".join(found)


def json_run(run: Run, labels: Labels) -> bytes:
    """Return what ``json_line`` makes of each record."""
    raw, head, tail = run.raw, run.framing.head, labels.json + b"}\n"
    if NEWLINE in raw or (raw.count(head) != run.lines and head):
        return b"".join(json_line((labels, record, 0, None)) for record in run.records())
    if not head:
        raw = raw.replace(b"\r\n", b"\n")
    # an escaped string, from its first line's first byte to the last newline
    escaped = orjson.dumps(raw[:-1].replace(b"\n", NEWLINE).decode("utf-8", "replace"))[1:-1]
    if head:
        begin, amid = b'{"time":"', b'","text":"'
        escaped = escaped.replace(head, amid)
    else:
        begin = b'{"time":"","text":"'
    tail = b'"' + tail
    return begin + escaped.replace(NEWLINE, tail + begin) + tail


def text_run(run: Run, labels: Labels) -> bytes:
    """Return what ``text_line`` makes of each record."""
    return b"\n".join([*run.entries[1], b""])


RUNS: dict[Callable[[Delivery], bytes], Callable[[Run, Labels], bytes]] = {json_line: json_run, text_line: text_run}
