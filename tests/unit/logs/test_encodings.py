"""Files that are no UTF-8: by their mark, by a rule; NULs; cut anywhere, read in any chunks, with restarts between."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.configuration import configuration_of
from sampan.logs.outputs.options import OptionError
from sampan.logs.reading import file as reading
from sampan.logs.reading.encodings import Encoded, encoding_for, encoding_named, of_mark
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.following import Following
from sampan.logs.reading.ledger import Ledger
from sampan.logs.reading.stream import records_of
from tests.unit.logs.files import Bench

WORDS = {
    "gbk": "订单 已接受", "gb18030": "订单 𠀀 €", "shift_jis": "注文 ソ表能 受付", "euc_jp": "注文受付",
    "big5": "訂單 許功蓋", "euc_kr": "주문 접수", "latin-1": "Größe café", "cp1251": "Заказ принят", "cp1252": "5 € – ok",
    "utf-8": "Größe 订单",
}  # fmt: skip
WIDE = dict.fromkeys(("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"), "Größe 订单 𠀀 Ċ ਊ")
"""With letters whose bytes are a newline's: U+010A and U+0A0A."""


def texts(path: Path, encoding: str = "") -> list[str]:
    known = encoding_named(encoding, "") if encoding else None
    return [record.text.decode() for _, record in records_of(str(path), "plain", encoding=known)]


@pytest.mark.parametrize(("name", "word"), [*WORDS.items(), *WIDE.items()])
@pytest.mark.parametrize("chunk", [1, 3, 7, 1 << 18])
def test_each_encoding(tmp_path: Path, name: str, word: str, chunk: int) -> None:
    lines = [f"INFO {word} {number}" for number in range(5)]
    (tmp_path / "a.log").write_bytes("".join(f"{line}\r\n" for line in lines).encode(name) + "no end".encode(name))
    with patch.object(reading, "CHUNK", chunk):
        assert texts(tmp_path / "a.log", name) == [*lines, "no end"]


@pytest.mark.parametrize("name", [*WIDE, "utf-8"])
def test_the_mark_is_enough_and_is_no_text(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.log").write_bytes("\ufeffINFO Größe\nINFO 2\n".encode(name))
    assert texts(tmp_path / "a.log") == ["INFO Größe", "INFO 2"]
    assert texts(tmp_path / "a.log", name) == ["INFO Größe", "INFO 2"]


@pytest.mark.parametrize(
    "first", [b"\xff\xfe\x00 bad\n", b"\xff\xfe\xff\xfe", b"\xff\xfe", b"", b"plain", b"\xfe\xff\xd8\x00\x00a"]
)
def test_what_only_looks_like_a_mark(first: bytes) -> None:
    assert of_mark(first) is None


def test_a_line_that_is_too_long_is_cut_between_characters(tmp_path: Path) -> None:
    for name, word in {**WORDS, **WIDE}.items():
        line = word * 60
        (tmp_path / "a.log").write_bytes(f"{line}\nnext\n{line}".encode(name))
        with patch.object(reading, "LONGEST_ENTRY", 50), patch.object(reading, "CHUNK", 17):
            assert texts(tmp_path / "a.log", name) == [line, "next", line]


def test_what_is_no_text_of_the_encoding_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"INFO \xff\xff ok\nINFO next\n")
    assert texts(tmp_path / "a.log", "gbk") == ["INFO \ufffd\ufffd ok", "INFO next"]
    (tmp_path / "a.log").write_bytes("INFO a\n".encode("utf-16-le") + b"\x00\xdc" + "\nb\n".encode("utf-16-le") + b"x")
    assert texts(tmp_path / "a.log", "utf-16-le") == ["INFO a", "\ufffd", "b", "\ufffd"]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["gbk", "shift_jis", "utf-16-le", "utf-16-be"]),
    st.lists(st.text("ab 订单注文\u010a\u0a0a", max_size=12), min_size=1, max_size=30),
    st.data(),
)
def test_written_in_any_pieces_with_restarts(name: str, lines: list[str], data: st.DataObject) -> None:
    lines = [line.encode(name, "ignore").decode(name) for line in lines]
    raw = "".join(f"{line}\n" for line in lines).encode(name)
    with tempfile.TemporaryDirectory() as home, patch.object(reading, "CHUNK", data.draw(st.sampled_from([5, 64]))):
        assert asyncio.run(written(Path(home), name, raw, data)) == lines


class Encoding(Bench):
    name = ""

    def make(self):  # type: ignore[no-untyped-def]
        agent = super().make()
        ledger = Ledger(self.home / "state" / "positions.db")
        rules = [Encoded("*", encoding_named(self.name, ""))] if self.name else []
        agent.following = Following(
            Roots([str(self.logs)]), ledger.positions(), make_joiner=lambda _: Alone, encoding_of=encoding_for(rules),
            linger_seconds=0, settling_seconds=0, format="plain",
        )  # fmt: skip
        ledger.close()
        return agent


def Alone():  # type: ignore[no-untyped-def]
    from sampan.logs.rules.joiner import RuleJoiner
    from sampan.logs.rules.rule import rule_of

    return RuleJoiner(rule_of("alone", {"type": "count", "count_lines": 1}, ""))


async def written(home: Path, name: str, raw: bytes, data: st.DataObject) -> list[str]:
    kind = type("Of", (Encoding,), {"name": name})
    bench = kind(home)
    path = bench.logs / "a.log"
    at = 0
    while at < len(raw):
        size = data.draw(st.integers(1, 40))
        with path.open("ab") as file:
            file.write(raw[at : at + size])
        at += size
        await bench.turn()
        if data.draw(st.booleans()):
            await bench.agent.stop()
            bench.agent, bench.begun = bench.make(), False
    found: list[str] = await bench.end()
    return found


async def test_nuls_of_a_truncated_file_are_no_text(tmp_path: Path) -> None:
    """copytruncate under a writer that does not append: the file goes on where it was, and what is before is NULs."""
    bench = Bench(tmp_path)
    path = bench.logs / "a.log"
    lines = [f"INFO {number} {'x' * 40}\n".encode() for number in range(30)]
    with path.open("wb", buffering=0) as writer:
        writer.write(b"".join(lines[:10]))
        await bench.turn()
        path.open("r+b").truncate(0)
        await bench.turn()
        writer.write(b"".join(lines[10:20]))
        assert path.read_bytes().startswith(b"\0" * 400)
        await bench.turn()
        with patch.object(reading, "CHUNK", 70):
            path.open("r+b").truncate(0)
            await bench.turn()
            writer.write(b"".join(lines[20:]))
            await bench.turn()
    assert await bench.end() == [line.decode().rstrip() for line in lines]
    assert bench.agent.following.gone.missing(0) == 0


async def test_a_few_nuls_are_text(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.logs / "a.log").write_bytes(b"\0\0x\nINFO a\0b\n\0\n")
    assert await bench.end() == ["\0\0x", "INFO a\0b", "\0"]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"path": "*", "encoding": "klingon"}, r"encodings\[0\].encoding: there is no encoding 'klingon'"),
        ({"path": "*", "encoding": "utf-16"}, "says nothing of the order of bytes: utf-16-le or utf-16-be"),
        ({"path": "*", "encoding": "cp037"}, "'cp037' is no encoding for files of lines"),
        ({"path": "*", "encoding": "iso2022_jp"}, "'iso2022_jp' is no encoding for files of lines"),
        ({"path": "*", "encoding": "rot13"}, "there is no encoding 'rot13'"),
        ({"encoding": "gbk"}, r"encodings\[0\].path: it is wanted"),
        ({"path": "*", "encoding": "gbk", "x": 1}, r"encodings\[0\].x: there is no such option"),
    ],
)  # fmt: skip
def test_what_cannot_be(given: dict[str, str], error: str) -> None:
    with pytest.raises(OptionError, match=error):
        configuration_of({"encodings": [given]})
