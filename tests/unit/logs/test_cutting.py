"""Records over their limits are cut where no secret and no character is: parts are redacted as if they were whole."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs import assembling
from sampan.logs.assembling import Assembler, single
from sampan.logs.configuration import configuration_of
from sampan.logs.joining import Joiner, Limits, Record
from sampan.logs.joining.cutting import CutAt, whole_characters
from sampan.logs.processing.redaction import cutting
from sampan.logs.reading.line import Line
from sampan.logs.rules.file import joiner_for
from sampan.logs.rules.joiner import RuleJoiner
from sampan.logs.rules.rule import Rule
from tests.unit.logs.files import Bench
from tests.unit.logs.processing.drafts import take

REDACT = {"processing": [{"redact": {"patterns": {"order": "order-[0-9]{6}"}}}]}
LOOK = 300
SECRETS = (
    "AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "glpat-" + "x1" * 10, "password=hunter2", 'pwd: "two words"',
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "Authorization: Bearer abcdef0123456789xyz", "4111 1111 1111 1111", "postgres://shop:p@ss@db:5432/x", "order-123456",
    "-----BEGIN RSA PRIVATE KEY-----\\nMIIEow\\nAbC=\\n-----END RSA PRIVATE KEY-----",
)  # fmt: skip
WORDS = ("order", "is", "taken", "ünïcödé", "→", "💶", "x" * 40, "{", "}", ",", "passwords were", "=", '"')
TEXTS = st.lists(st.sampled_from(SECRETS + WORDS), min_size=1, max_size=60).map(lambda words: " ".join(words).encode())


@pytest.fixture
def short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembling, "LOOK_BYTES", LOOK)
    monkeypatch.setattr(cutting, "LOOK_BYTES", LOOK)


def cut_at() -> CutAt:
    found = configuration_of(REDACT).pipeline.cut_at
    assert found is not None
    return found


def made(cut: CutAt | None, limits: Limits | None = None) -> Joiner:
    joiner = Joiner(limits=limits)
    joiner.cut_at = cut
    return joiner


def pieces(text: bytes, sizes: list[int]) -> Iterator[Line]:
    """Yield a line as a runtime cuts it, of CRI's tag P and at last F."""
    at = 0
    while True:
        size = sizes.pop() if sizes else 1000
        last = at + size >= len(text)
        yield b"2026-11-30T10:00:00Z", b"stdout", b"F" if last else b"P", text[at : at + size]
        at += size
        if last:
            return


def redacted(*texts: bytes) -> list[bytes]:
    return [text.encode("utf-8", "surrogateescape") for text in take(REDACT, *texts).texts]


@pytest.mark.usefixtures("short_look")
@settings(max_examples=120, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 90), max_size=60), st.integers(1, 400), st.booleans())
def test_a_line_is_cut_anywhere_and_no_secret_is(text: bytes, sizes: list[int], longest: int, restart: bool) -> None:
    cut = cut_at()
    assembler = Assembler(lambda: made(cut), longest_line=longest)
    found = []
    for line in pieces(text, sizes):
        found += list(single(assembler.feed([line])))
        if restart:
            saved = assembler.save()
            assembler = Assembler(lambda: made(cut), longest_line=longest)
            assembler.restore(saved)
    found += list(single(assembler.flush("end")))
    parts = [record.text for _, record in found]
    assert b"".join(parts) == text
    assert b"".join(redacted(*parts)) == redacted(text)[0]
    for part in parts:
        part.decode()
    if len(parts) > 1:
        assert {record.id for _, record in found} == {found[0][1].id} != {""}
        assert [record.part for _, record in found] == list(range(len(parts)))


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=200), st.lists(st.integers(1, 9), max_size=200), st.integers(4, 50))
def test_a_line_in_parts_has_its_characters_whole(text: str, sizes: list[int], longest: int) -> None:
    assembler = Assembler(longest_line=longest)
    line = text.replace("\n", " ").encode("utf-8", "replace")
    found = [*single(assembler.feed(pieces(line, sizes))), *single(assembler.flush("end"))]
    assert b"".join(record.text for _, record in found) == line
    for _, record in found:
        record.text.decode()


@given(st.binary(max_size=12), st.integers(0, 12))
def test_bytes_that_are_no_text_are_cut_somewhere(text: bytes, at: int) -> None:
    at = min(at, len(text))
    assert max(at - 3, 0) <= whole_characters(text, at) <= at


OVER_LINES = ("password:\nhunter2", 'token: "one\ntwo"', "secret =\n'abc'", "plain", "indented", "}", "x y z")
RULE = Rule("rule", step=lambda state, line, held: (not line.startswith(b"BEGIN"), False, ""), max_lines=50)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(OVER_LINES), min_size=30, max_size=90), st.booleans())
def test_a_record_of_many_lines_is_cut_between_secrets(texts: list[str], by_rule: bool) -> None:
    text = "\n\t".join(["BEGIN", *(text.replace("\n", "\n\t") for text in texts)]).encode()
    joiner = RuleJoiner(RULE) if by_rule else made(None, Limits(lines=50))
    joiner.cut_at = cut_at()
    for line in text.split(b"\n"):
        joiner.take(b"2026-11-30T10:00:00Z", line)
    joiner.flush("end")
    found = [record for record in joiner.done if isinstance(record, Record)]
    parts = [record.text for record in found]
    assert b"\n".join(parts) == text
    assert [record.part for record in found] == list(range(len(parts)))
    assert [record.lines for record in found] == [part.count(b"\n") + 1 for part in parts]
    assert b"\n".join(redacted(*parts)) == redacted(text)[0]


async def test_the_agent_cuts_at_a_mebibyte_and_shows_no_secret(tmp_path) -> None:  # type: ignore[no-untyped-def]
    bench = Bench(tmp_path)
    pipeline = configuration_of(REDACT).pipeline
    bench.agent.pipeline = pipeline
    bench.agent.following._make = lambda path: joiner_for([], path, cut_at=pipeline.cut_at)
    secret = "ghp_" + "a1B2" * 9
    text = (secret + " ") * (3_300_000 // (len(secret) + 1))
    size = 16_384
    entries = [text[at : at + size] for at in range(0, len(text), size)]
    with (bench.logs / "0.log").open("w") as file:
        for number, entry in enumerate(entries):
            file.write(f"2026-11-30T10:00:00Z stdout {'F' if number + 1 == len(entries) else 'P'} {entry}\n")
    await bench.end()
    found = [orjson.loads(line) for line in bench.out.read_bytes().splitlines()]
    assert [line["part"] for line in found] == [0, 1, 2, 3]
    assert "".join(line["text"] for line in found) == text.replace(secret, "[redacted:github_token]")
