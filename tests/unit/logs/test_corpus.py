"""Traces of many languages, as they were really printed, are one record each: alone, among lines of logs, and several
languages mixed on one stream in any order.

``corpus/`` has a trace in each file. Those of Python, Java, Node.js, Go, Rust and the sanitizers were printed by
programs; the others are written as their documentation shows them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.joining import Joiner

CORPUS = {
    file.stem: file.read_bytes().removesuffix(b"\n")
    for file in sorted(Path(__file__).with_name("corpus").glob("*.log"))
}
OWN_HEAD = (
    "java-log4j",
    "java-logging",
    "java-logback",
    "python-2.7-logging",
    "python-3.10-logging",
    "python-3.11-logging",
    "elixir-genserver",
)
"""Traces that begin with the line of a log."""
PLAIN = [
    b"2026-11-30 10:00:00,%03d INFO  [main] c.e.Shop - order %d taken",
    b"2026-11-30T10:00:00.%03dZ INFO order %d is late",
    b"I1130 10:00:00.%03d000       1 main.go:%d] serving",
    b'{"time":"10:00:00.%03d","level":"info","order":%d}',
    b"level=info ts=10:00:00.%03d order=%d",
    b"[info] %03d order %d",
]


def time_of(place: int, written: int = 0) -> bytes:
    """Return a time: records are ten milliseconds apart, the lines of one some microseconds."""
    return b"2026-11-30T10:%02d:%02d.%09dZ" % (
        place // 6000,
        place // 100 % 60,
        place % 100 * 10_000_000 + written * 20_000,
    )


def joined(records: list[bytes]) -> list[bytes]:
    joiner = Joiner()
    for place, record in enumerate(records):
        for number, line in enumerate(record.split(b"\n")):
            joiner.take(time_of(place, number), line)
    joiner.flush("end")
    return [record.text for record in joiner.done]


@pytest.mark.parametrize("name", CORPUS)
def test_a_trace_alone(name: str) -> None:
    assert joined([CORPUS[name]]) == [CORPUS[name]]


@pytest.mark.parametrize("plain", PLAIN)
def test_every_trace_between_lines_that_say_all_is_well(plain: bytes) -> None:
    for name, trace in CORPUS.items():
        records = [*(plain % (n, n) for n in range(20)), trace, *(plain % (n, n) for n in range(20, 25))]
        assert joined(records) == records, name


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(sorted(CORPUS)), st.integers(0, 999)), min_size=1, max_size=12),
    st.sampled_from(PLAIN),
)
def test_traces_of_all_languages_on_one_stream(parts: list[str | int], plain: bytes) -> None:
    records = [CORPUS[part] if isinstance(part, str) else plain % (part, part) for part in parts]
    assert joined(records) == records


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_two_streams_at_once(data: st.DataObject) -> None:
    streams: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    joiners = {stream: Joiner() for stream in streams}
    waiting: dict[str, list[tuple[bytes, bytes]]] = {}
    for stream, records in streams.items():
        names = data.draw(st.lists(st.sampled_from(sorted(CORPUS)), min_size=1, max_size=5))
        records += [CORPUS[name] for name in names]
        waiting[stream] = [
            (time_of(place, number), line)
            for place, record in enumerate(records)
            for number, line in enumerate(record.split(b"\n"))
        ]
    while any(waiting.values()):
        stream = data.draw(st.sampled_from(sorted(stream for stream, lines in waiting.items() if lines)))
        for time, line in [waiting[stream].pop(0) for _ in range(data.draw(st.integers(1, len(waiting[stream]))))]:
            joiners[stream].take(time, line)
    for stream, joiner in joiners.items():
        joiner.flush("end")
        assert [record.text for record in joiner.done] == streams[stream]
