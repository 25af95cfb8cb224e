"""Many lines at once are what they are one by one, whatever they are, and wherever a chunk ends."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs import assembling
from sampan.logs.account import Account
from sampan.logs.assembling import Assembled, Assembler
from sampan.logs.gathered import Gathered
from sampan.logs.joining import Joiner, Limits, Record, Run, learning
from sampan.logs.joining.joiner import BUILT_IN
from sampan.logs.joining.language import Entry, Language
from sampan.logs.joining.languages import LANGUAGES
from sampan.logs.joining.machine import first_bytes
from sampan.logs.joining.stretch import Framing, Turns
from sampan.logs.log_record import Labels
from sampan.logs.outputs.lines import lines as lines_of
from sampan.logs.outputs.output import json_line, text_line
from sampan.logs.reading.formats import FORMATS
from tests.unit.logs.test_corpus import CORPUS, PLAIN

ODD = [
    b"", b" ", b"\t", b"  indented", b"}", b"plain words", b"\xff\xfe", b"a\x00b", b'"quoted" \\ back\\n',
    b"2026-11-30 10:00:00,001 INFO  [main] stdout F twice",
    b"2026-11-30 10:00:00,001 ERROR Traceback (most recent call last):",
    b"2026-11-30 10:00:00,001", b"\x7f del", b"  File \"a.py\", line 1", b"\tat a.b(C.java:1)", b"tail\r", b"ends last):\r",
    b"   ", b"+ Exception Group Traceback (most recent call last):", b"goroutine 1 [running]:", b"main.f(0x1)", b"{",
]  # fmt: skip
LINES = sorted({line for trace in CORPUS.values() for line in trace.split(b"\n")})
WHAT = st.one_of(
    st.sampled_from(sorted(CORPUS)).map(lambda name: CORPUS[name].split(b"\n")),
    st.tuples(st.sampled_from(PLAIN), st.integers(1, 12)).map(lambda of: [of[0] % (n, n) for n in range(of[1])]),
    st.sampled_from(ODD).map(lambda line: [line]),
)


def framed(format: str, stream: bytes, line: bytes, number: int) -> bytes:
    if format == "plain":
        return line + b"\n"
    if line == b"":
        return b"2026-11-30T10:00:00.%dZ %b F\n" % (number, stream)
    return b"2026-11-30T10:00:00.%dZ %b F %b\n" % (number, stream, line)


def single(found: list[Assembled]) -> dict[bytes, list[Record]]:
    """Return the records of each stream, runs of them taken apart."""
    streams: dict[bytes, list[Record]] = {}
    for stream, item in found:
        records = streams.setdefault(stream, [])
        records += [item] if isinstance(item, Record) else item.records()
    return streams


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_chunks_and_lines_give_the_same_records(data: st.DataObject) -> None:
    plain = data.draw(st.sampled_from(PLAIN))
    same_records(data, [plain % (n, n) for n in range(20)])


@settings(max_examples=150, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_so_they_do_where_nothing_is_learned(data: st.DataObject, sample: int) -> None:
    words = [b"started worker %d", b"at once %d", b"the %d. word", b"\xc3\xa9t\xc3\xa9 %d", b"no worker"]
    chance = data.draw(st.randoms())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "MOST_LINES", 15)
        patch.setattr(learning, "SAMPLE", sample * 3)
        same_records(data, [words[chance.randrange(5)].replace(b"%d", b"%d" % n) for n in range(40)])


def same_records(data: st.DataObject, first: list[bytes]) -> None:
    format = data.draw(st.sampled_from(["cri", "plain"]))
    content = b"".join(framed(format, b"stdout", line, number) for number, line in enumerate(first))
    number = len(first)
    for lines in data.draw(st.lists(WHAT, max_size=12)):
        streams = data.draw(st.sampled_from([(b"stdout",), (b"stderr",), (b"stdout", b"stderr")]))
        for line in lines:
            number += 1
            stream = streams[number % len(streams)]
            content += framed(format, stream, line, number)
    if data.draw(st.booleans()):
        content += b"torn"
        content += b"\n"
    limits = Limits(
        bytes=data.draw(st.sampled_from([60, 400, 1 << 20])), lines=data.draw(st.sampled_from([5, 30, 1000]))
    )
    by_chunks, by_lines = (Assembler(lambda: Joiner(limits=limits)) for _ in range(2))
    ends = [at + 1 for at in range(len(content)) if content[at : at + 1] == b"\n"]
    cuts = [0, *sorted(data.draw(st.sets(st.sampled_from(ends), max_size=5))), len(content)]
    found: list[Assembled] = []
    tried = data.draw(st.sampled_from([2, 64]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembling, "STRIDES_TRIED", tried)
        for start, end in itertools.pairwise(cuts):
            if end > start:
                found += by_chunks.feed_chunk(format, content[start:end])
    by_lines_found = by_lines.feed(FORMATS[format](content))
    assert cbor2.loads(by_chunks.save()) == cbor2.loads(by_lines.save()), "what is held is the same, too"
    assert single(found + by_chunks.flush("end")) == single(by_lines_found + by_lines.flush("end"))


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_what_a_stretch_takes_leads_where_it_says(language: Language) -> None:
    for name, (turns, target) in language.stretches.items():
        assert not BUILT_IN.states[language.name, target].tentative
        for turn in turns:
            matching = [[line for line in [*LINES, *ODD] if takes(pattern, line)] for pattern in turn]
            assert all(matching), (name, turn)
            for lines in zip(*(itertools.islice(itertools.cycle(lines), 200) for lines in matching), strict=True):
                assert_leads(language, name, target, lines)
            chunk = b"".join(lines[0] + b"\n" for lines in matching)
            assert Framing(b"").stretch(Turns(turns))(chunk + chunk, 0).end() == 2 * len(chunk)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([language for language in LANGUAGES if language.stretches]), st.data())
def test_no_line_leads_elsewhere(language: Language, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(language.stretches)))
    turns, target = language.stretches[name]
    turn = data.draw(st.sampled_from(turns))
    lines = [data.draw(some_line(pattern)) for pattern in turn]
    if all(takes(pattern, line) for pattern, line in zip(turn, lines, strict=True)):
        assert_leads(language, name, target, lines)


def takes(pattern: bytes, line: bytes) -> bool:
    return Framing(b"").stretch(Turns(((pattern,),)))(line + b"\n", 0).end() > 0


def some_line(pattern: bytes) -> st.SearchStrategy[bytes]:
    simple = pattern.replace(b"++", b"+").replace(b"*+", b"*").replace(b"(?=\\n)", b"")
    return st.from_regex(simple).map(lambda found: found.replace(b"\n", b""))


def assert_leads(language: Language, name: str, target: str, lines: Sequence[bytes]) -> None:
    state = BUILT_IN.states[language.name, name]
    for line in lines:
        following = state.next(line)
        assert following is not None, (name, line)
        assert not following.last
        state = following
    assert state is BUILT_IN.states[language.name, target], (name, lines)


def test_a_stretch_ends_with_its_line() -> None:
    turns = Turns(((rb"\d+[^\S\n]+x",),))
    assert Framing(b"").stretch(turns)(b"1 x\n2\n3 x\n", 0).end() == 4
    assert Framing(b" stdout F ").stretch(turns)(b"T stdout F 1 x\nT stdout F \n  x\n", 0).end() == 15


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b" stdout F ", b""]),
    st.lists(st.one_of(st.sampled_from([*ODD, b"a stdout F b"]), st.binary(max_size=12)), min_size=1, max_size=6),
)
def test_a_run_is_given_out_as_its_records_are(head: bytes, texts: list[bytes]) -> None:
    texts = [text.replace(b"\n", b"") for text in texts]
    raw = b"".join(
        (b"2026-11-30T10:00:00.%dZ%b" % (n, head) if head else b"") + text + b"\n" for n, text in enumerate(texts)
    )
    labels, batch = Labels({"file": 'a"b', "stream": "stdout"}), Gathered()
    batch.add(labels, [Run(raw, Framing(head))], 1, Account())
    assert [delivery[1].text for delivery in batch] == (texts if head else [text.removesuffix(b"\r") for text in texts])
    assert len(batch) == len(texts)
    for line in (json_line, text_line):
        assert lines_of(batch, line) == b"".join(map(line, batch))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(language, entry) for language in LANGUAGES for entry in language.entries if entry.needs]),
    st.data(),
)
def test_no_trace_begins_without_one_of_its_words(of: tuple[Language, Entry], data: st.DataObject) -> None:
    language, entry = of
    line = data.draw(st.one_of(st.from_regex(entry.pattern), st.sampled_from(LINES))).replace(b"\n", b"")
    if line and line[0] in first_bytes(entry) and re.match(entry.pattern, line):
        assert BUILT_IN.words.search(line) is not None, (language.name, line)


def test_what_is_ordinary_begins_no_trace() -> None:
    ordinary = Framing(b"").stretch(BUILT_IN.ordinary)
    for line in [*LINES, *ODD]:
        if ordinary(line + b"\n", 0).end() and BUILT_IN.words.search(line) is None:
            entries = BUILT_IN.by_byte[line[0]]
            assert entries is None or entries.enter(line) is None, line
