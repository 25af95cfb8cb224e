"""Entries of files become records: formats, cut lines, both streams, and what is held over a restart."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.assembling import Assembler
from sampan.logs.joining import Joiner, Limits
from sampan.logs.reading.formats import FORMATS, detect
from tests.unit.logs.test_corpus import CORPUS

T = b"2026-11-30T10:00:00.000000001Z"
TRACE = CORPUS["python-3.11-plain"]


def cri(text: bytes, stream: bytes = b"stdout", cut: int = 40) -> bytes:
    """Write lines as a runtime does that cuts them after ``cut`` bytes."""
    out = b""
    for line in text.split(b"\n"):
        pieces = [line[at : at + cut] for at in range(0, len(line), cut)] or [b""]
        tags = [b"P"] * (len(pieces) - 1) + [b"F"]
        out += b"".join(b"%b %b %b %b\n" % (T, stream, tag, piece) for tag, piece in zip(tags, pieces, strict=True))
    return out


def docker(text: bytes, stream: str = "stdout", cut: int = 40) -> bytes:
    out = b""
    for line in text.split(b"\n"):
        whole = line + b"\n"
        for at in range(0, len(whole), cut):
            out += orjson.dumps({"log": whole[at : at + cut].decode(), "stream": stream, "time": T.decode()}) + b"\n"
    return out


def records(chunk: bytes, assembler: Assembler | None = None) -> list[tuple[bytes, bytes]]:
    assembler = assembler or Assembler()
    found = assembler.feed(FORMATS[detect(chunk)](chunk)) + assembler.flush("end")
    return [(stream, record.text) for stream, record in found]


@pytest.mark.parametrize("write", [cri, docker])
def test_cut_lines_are_put_together_before_traces_are(write: object) -> None:
    assert callable(write)
    text = b"INFO begin\n" + TRACE + b"\nINFO " + b"x" * 200
    assert records(write(text)) == [(b"stdout", b"INFO begin"), (b"stdout", TRACE), (b"stdout", b"INFO " + b"x" * 200)]


def test_both_streams_may_be_mixed_inside_cut_lines() -> None:
    out, err = cri(b"INFO " + b"a" * 90).split(b"\n"), cri(TRACE, b"stderr").split(b"\n")
    mixed = (
        b"\n".join(line for pair in zip(out[:3], err[:3], strict=True) for line in pair) + b"\n" + b"\n".join(err[3:])
    )
    assert sorted(records(mixed)) == [(b"stderr", TRACE), (b"stdout", b"INFO " + b"a" * 90)]


def test_a_torn_entry_comes_as_itself() -> None:
    torn = cri(b"INFO one") + b"2026-11-30T10:0\n" + cri(b"INFO two")
    assert [text for _, text in records(torn)] == [b"INFO one", b"2026-11-30T10:0", b"INFO two"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe broken", b"a\x00b", b" leading", b"tail\r"])
def test_bytes_come_through_as_they_are(content: bytes) -> None:
    assert records(b"%b stdout F %b\n" % (T, content)) == [(b"stdout", content)]


def test_a_line_over_the_limit_goes_on_in_parts_and_keeps_its_trace() -> None:
    assembler = Assembler(longest_line=100)
    chunk = cri(b"ERROR " + b"x" * 250 + b"\n" + TRACE + b"\nINFO next")
    found = [record for _, record in assembler.feed(FORMATS["cri"](chunk)) + assembler.flush("end")]
    parts, after = found[:-1], found[-1]
    assert b"".join(part.text for part in parts) == b"ERROR " + b"x" * 250 + b"\n" + TRACE
    assert len({part.id for part in parts}) == 1
    assert [part.part for part in parts] == list(range(len(parts)))
    assert (after.text, after.id, after.part) == (b"INFO next", "", 0)


def test_what_follows_a_record_that_was_cut_is_none_of_its_parts() -> None:
    joiner = Joiner(limits=Limits(bytes=10))
    for line in (b"INFO aaaaaaaaaaaaaaa", b"INFO b"):
        joiner.take(T, line)
    joiner.flush("end")
    assert [(record.text, bool(record.id)) for record in joiner.done] == [
        (b"INFO aaaaaaaaaaaaaaa", True),
        (b"INFO b", False),
    ]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_restart_at_any_line_changes_nothing(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(CORPUS)), min_size=1, max_size=4))
    text = b"\n".join(b"2026-11-30 10:00:00 INFO x\n" + CORPUS[name] for name in names)
    lines = FORMATS["cri"](cri(text))
    at = data.draw(st.integers(0, len(lines)))
    through, before, after = Assembler(), Assembler(), Assembler()
    first = before.feed(lines[:at])
    after.restore(before.save())
    assert first + after.feed(lines[at:]) + after.flush("end") == through.feed(lines) + through.flush("end")
