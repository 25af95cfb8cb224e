"""What ``kubectl logs`` reads: lines put together from pieces, over rotations and packed files, from any line on."""

from __future__ import annotations

import asyncio
import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.reading import container_log, cri
from sampan.logs.reading.container_log import ContainerLog, Lines, LogLine, tail_of
from sampan.node.log_stream import LogOptions, follow_log


def entry(text: str, tag: str = "F", stream: str = "stdout", time: str = "2026-11-30T10:00:00.5Z") -> bytes:
    return f"{time} {stream} {tag} {text}\n".encode()


PIECES = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("abc \t", max_size=8), st.booleans()), max_size=12
)


@given(PIECES)
def test_pieces_are_put_together_each_stream_for_itself(pieces: list[tuple[str, str, bool]]) -> None:
    content = b"".join(entry(text, "P" if partial else "F", stream) for stream, text, partial in pieces)
    lines = Lines()
    found = lines.feed(cri.lines(content)) + lines.rest()
    for stream in ("stdout", "stderr"):
        wanted = "".join(text + ("" if partial else "\n") for of, text, partial in pieces if of == stream)
        assert b"".join(line.text for line in found if line.stream == stream.encode()).decode() == wanted


@given(st.binary(max_size=200))
def test_any_bytes_as_a_log(content: bytes) -> None:
    whole = content[: content.rfind(b"\n") + 1]
    assert all(isinstance(line, LogLine) for line in Lines().feed(cri.lines(whole)))


def test_carriage_returns_are_text() -> None:
    content = entry("10%\r50%\r100%") + entry("end\r", stream="stderr")
    assert [line.text for line in Lines().feed(cri.lines(content))] == [b"10%\r50%\r100%\n", b"end\r\n"]


class Kubelet:
    """Writes and rotates as the runtime and the kubelet do."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "0.log"
        self.path.touch()
        self.rotated = self.written = 0

    def write(self, count: int) -> None:
        with self.path.open("ab") as file:
            for _ in range(count):
                file.write(entry(f"line {self.written}"))
                self.written += 1

    def rotate(self) -> None:
        for aside in self.path.parent.glob("0.log.*"):
            if aside.suffix != ".gz":
                aside.with_name(f"{aside.name}.gz").write_bytes(gzip.compress(aside.read_bytes()))
                aside.unlink()
        self.path.rename(self.path.with_name(f"0.log.20261130-1000{self.rotated:02d}"))
        self.rotated += 1
        self.path.touch()


def texts(log: ContainerLog, lines: Lines) -> list[str]:
    return [line.text.decode().strip() for entries in log.read() for line in lines.feed(entries)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 30), st.sampled_from(["rotate", "read"])), max_size=14))
def test_every_line_once_over_rotations(steps: list[int | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kubelet = Kubelet(Path(folder))
        log, lines = ContainerLog(kubelet.path), Lines()
        found: list[str] = []
        for step in steps:
            if step == "rotate":
                kubelet.rotate()
            elif step == "read":
                found += texts(log, lines)
            else:
                assert isinstance(step, int)
                kubelet.write(step)
        found += texts(log, lines)
        log.close()
        assert found == [f"line {number}" for number in range(kubelet.written)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=4), st.integers(0, 150), st.integers(60, 400))
def test_a_tail_has_the_last_lines_wherever_they_are(sizes: list[int], wanted: int, chunk: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(container_log, "CHUNK", chunk)
        kubelet = Kubelet(Path(folder))
        for number, size in enumerate(sizes):
            if number:
                kubelet.rotate()
            kubelet.write(size)
        answer = asyncio.run(read(kubelet.path, LogOptions(tail_lines=wanted)))
        every = [f"line {number}" for number in range(kubelet.written)]
        assert answer.decode().split("\n")[:-1] == (every[-wanted:] if wanted else [])


async def read(path: Path, options: LogOptions) -> bytes:
    return b"".join([piece async for piece in follow_log(path, options, lambda: True)])


async def test_a_tail_keeps_what_begins_a_line_of_the_other_stream(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(
        entry("long ", "P", "stderr") + b"".join(entry(f"{n}") for n in range(5)) + entry("line", "F", "stderr")
    )
    assert await read(path, LogOptions(tail_lines=2)) == b"4\nlong line\n"


@pytest.mark.parametrize("before", [0, 3])
async def test_a_tail_has_the_whole_of_a_long_line(tmp_path: Path, before: int) -> None:
    """A line that goes out in pieces is one line of the tail, with one time."""
    path, pieces = tmp_path / "0.log", [str(number % 10) * 16384 for number in range(160)]
    long = b"".join(entry(piece, "P") for piece in pieces) + entry("end")
    path.write_bytes(b"".join(entry(f"{number}") for number in range(before)) + long)
    whole = "".join([*pieces, "end\n"]).encode()
    assert await read(path, LogOptions(tail_lines=1)) == whole
    timed = await read(path, LogOptions(tail_lines=1, timestamps=True))
    assert timed == b"2026-11-30T10:00:00.500000000Z " + whole


async def test_options(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(
        entry("early", time="2026-11-30T10:00:00.1Z")
        + entry("wrong", stream="stderr", time="2026-11-30T10:00:01.123456789Z")
        + entry("here", time="2026-11-30T12:00:01.2+02:00")
    )
    since = LogOptions.parse({"sinceTime": "2026-11-30T10:00:00.5Z"})
    assert await read(path, since) == b"wrong\nhere\n"
    assert await read(path, LogOptions.parse({"sinceTime": "2026-11-30T11:00:01+01:00"})) == b"wrong\nhere\n"
    assert await read(path, LogOptions(stream="Stderr", timestamps=True)) == b"2026-11-30T10:00:01.123456789Z wrong\n"
    assert await read(path, LogOptions(timestamps=True, limit_bytes=34)) == b"2026-11-30T10:00:00.100000000Z ear"
    assert await read(path, LogOptions(tail_lines=1)) == b"here\n"
    assert tail_of(path, lines=2, size_bytes=7) == "g\nhere\n"
    assert tail_of(tmp_path / "none.log", lines=2, size_bytes=7) == ""


async def test_following_goes_over_a_rotation_and_ends_with_the_container(tmp_path: Path) -> None:
    kubelet, gone = Kubelet(tmp_path), False
    kubelet.write(2)
    log = follow_log(kubelet.path, LogOptions(follow=True, tail_lines=1), lambda: gone)
    assert await anext(log) == b"line 1\n"
    kubelet.rotate()
    kubelet.write(1)
    async with asyncio.timeout(60):
        assert await anext(log) == b"line 2\n"
        with kubelet.path.open("ab") as file:
            file.write(entry("no newline", "P"))
        gone = True
        assert [piece async for piece in log] == [b"no newline"]


async def test_a_large_log_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    with path.open("wb") as file:
        for _ in range(40):
            file.write(entry("x" * 1000) * 1000)
    largest = total = 0
    async for piece in follow_log(path, LogOptions(), lambda: True):
        largest, total = max(largest, len(piece)), total + len(piece)
    assert total == 40_040_000
    assert largest <= container_log.CHUNK
