"""Bytes in are bytes out, or dropped and counted, or held: over random files, rules, steps, limits, restarts."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import aiohttp
import orjson
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.logs.agent import Agent
from sampan.logs.configuration import configuration_of
from sampan.logs.metrics import Server
from sampan.logs.outputs.output import Batch, Refused
from sampan.logs.outputs.registry import output_named
from sampan.logs.reading import file as reading
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.following import Following
from sampan.logs.reading.ledger import Ledger
from sampan.logs.rules.file import joiner_for

CORPUS = Path(__file__).parent / "corpus"
TRACES = [
    (CORPUS / f"{name}.log").read_bytes().splitlines()
    for name in ("java-cause", "python-3.11-group", "go-panic", "json-pretty")
]
TEXTS = st.one_of(
    st.builds(b"2026-11-30 10:00:%02d,000 INFO order %d".__mod__, st.tuples(st.integers(0, 59), st.integers())).map(
        lambda line: [line] * 3
    ),
    st.sampled_from(TRACES),
    st.binary(max_size=30).map(lambda text: [text.replace(b"\n", b"")]),
    st.just([b"== section", b"x", b"--"]),
    st.just([b'{"level":"info","msg":"password=hunter22"}', b"level=error msg=x code=1", b"y" * 300]),
)
CONFIGS = [
    "{}",
    "rules: [{name: sections, path: '*', multiline: {start: '^==', continue: '^[^=]', end: '^--', max_lines: 2}}]",
    "rules: [{name: dated, path: '*', multiline: {pattern: '^2026', negate: true, match: after}}]",
    "rules: [{name: pairs, path: '*', multiline: {type: count, count_lines: 2}}]",
    "processing: [{parse: auto}, {redact: {}}]",
    "processing: [{filter: {drop: {matches: 'order|y'}}}, {sample: {ratio: 0.5, by: text}}]",
    "processing: [{map: {set: {text: other}}, where: {stream: stderr}}, {route: [], where: {matches: x}}]",
]


class Picky:
    """An output that refuses what it is told to."""

    name = "picky"

    def __init__(self) -> None:
        self.taken = 0

    async def open(self, mark: int | None) -> int:
        return 0

    async def deliver(self, batch: Batch) -> int:
        bad = sum(b"INFO" in record.text for _, record, _, _ in batch)
        self.taken += len(batch) - bad
        if bad:
            raise Refused("no INFO here", bad)
        return 0

    async def close(self) -> None:
        pass


class Files:
    """Log files of a test, an agent with a configuration, and how much was written."""

    def __init__(self, home: Path, config: str, format: str) -> None:
        self.home, self.config, self.format = home, config, format
        self.logs, self.written, self.gone = home / "logs", 0, 0
        self.logs.mkdir()
        self.path = self.logs / "0.log"
        self.number = 0
        self.begin()

    def begin(self) -> None:
        configuration = configuration_of(yaml.safe_load(self.config))
        ledger = Ledger(self.home / "state" / "positions.db")
        following = Following(
            Roots([str(self.logs)]),
            ledger.positions(),
            make_joiner=lambda path: joiner_for(configuration.rules, path),
            linger_seconds=0,
            settling_seconds=0,
        )
        self.picky = Picky()
        outputs = [output_named(f"json:{self.home}/out", self.home / "state"), self.picky]
        self.agent = Agent(following, ledger, outputs, flush_seconds=3600, pipeline=configuration.pipeline)

    def write(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            self.written += file.write(data)

    def rotate(self) -> None:
        self.number += 1
        self.path.rename(self.logs / f"0.log.{self.number}")

    async def turn(self) -> None:
        self.agent._look()
        self.agent.following.all_may_be_written()
        await self.agent._turn()
        for file in self.agent.following.files.values():
            assert file.account.missing(file.assembler.held_bytes) == 0
        assert self.agent.following.gone.missing(0) == 0


def lines_of(format: str, texts: list[bytes], number: int) -> bytes:
    """Return texts as lines of a file of a format; some of CRI's are cut in pieces, some are torn."""
    out = bytearray()
    for at, text in enumerate(texts, number):
        stream = b"stderr" if at // 50 % 5 == 0 else b"stdout"
        time = b"2026-11-30T10:00:00.%dZ" % (at % 1000)
        if format == "plain":
            out += text + (b"\r\n" if at % 7 == 0 else b"\n")
        elif format == "docker":
            entry = {
                "log": text.decode("utf-8", "replace") + "\n" * (at % 4 > 0),
                "stream": stream.decode(),
                "time": time.decode(),
            }
            out += orjson.dumps(entry) + b"\n"
        elif at % 211 == 0:
            out += text + b"\n"  # no entry: the writer crashed
        elif at % 60 == 0:
            half = len(text) // 2
            out += b"%b %b P %b\n" % (time, stream, text[:half]) + b"%b %b F %b\n" % (time, stream, text[half:])
        else:
            out += b"%b %b F %b\n" % (time, stream, text)
    return bytes(out)


DATED = [b"2026-11-30 10:00:%02d,000 INFO order %d" % (number % 60, number) for number in range(40)]
"""So many that what records begin with is learned, and lines are taken many at once."""
STEADY = st.sampled_from(TRACES).map(lambda trace: [*DATED, *trace, *DATED[:9], *trace * 2, *DATED])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.lists(STEADY, min_size=1, max_size=2)),
        st.tuples(st.just("write"), st.lists(TEXTS, max_size=6)),
        st.tuples(st.just("turn"), st.just(None)),
        st.tuples(st.sampled_from(["rotate", "restart", "rest"]), st.just(None)),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(CONFIGS),
    st.sampled_from(["cri", "docker", "plain"]),
    STEPS,
    st.sampled_from([60, 1 << 12, 1 << 18]),
    st.booleans(),
)
def test_every_byte_is_accounted_for(config: str, format: str, steps: list[Any], chunk: int, small: bool) -> None:
    with (
        tempfile.TemporaryDirectory() as home,
        patch.object(reading, "CHUNK", chunk),
        patch.object(reading, "LONGEST_ENTRY", 50 if small else 1 << 21),
    ):
        asyncio.run(account_for(Files(Path(home), config, format), steps))


async def account_for(files: Files, steps: list[Any]) -> None:
    read = 0

    def so_far() -> int:
        following = files.agent.following
        return sum(file.account.read_bytes for file in following.files.values()) + following.gone.read_bytes

    await files.agent._begin(watch=False)
    number = 0
    for what, texts in steps:
        if what == "write":
            lines = [line for text in texts for line in text]
            files.write(lines_of(files.format, lines, number))
            number += len(lines)
        elif what == "rest":
            files.write(b"2026-11-30T10:00:00Z stdout F a line without its end")
        elif what == "rotate" and files.path.exists():
            await files.turn()
            files.rotate()
        elif what == "restart":
            await files.turn()
            await files.agent.stop()
            assert files.agent.following.gone.missing(0) == 0
            read += so_far()
            files.begin()
            await files.agent._begin(watch=False)
        await files.turn()
    await files.turn()
    await files.agent.stop()
    read += so_far()
    following = files.agent.following
    held = sum(len(file._rest) for file in following.files.values())
    assert read + held == files.written
    counts = files.agent.totals.outputs["picky"]
    given_records = following.gone.given + sum(file.account.given for file in following.files.values())
    if not files.agent.pipeline.routes:
        assert counts.records + counts.refused == given_records
        assert counts.records == files.picky.taken


async def test_the_page_says_the_same(tmp_path: Path) -> None:
    config = "processing: [{redact: {}}, {filter: {drop: {matches: secret}}, where: {container: main}}]"
    files = Files(tmp_path, config, "cri")
    files.path = files.logs / "shop_web_u1" / "main" / "0.log"
    files.path.parent.mkdir(parents=True)
    texts = [b"INFO %d" % number for number in range(30)] + [b"secret", b"password=hunter22", *TRACES[0]]
    files.write(lines_of("cri", texts, 1))
    await files.agent._begin(watch=False)
    await files.turn()
    server = Server(files.agent)
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            page = await answer.text()
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200
    await server.close()
    shown = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in page.splitlines() if line[0] != "#"}
    of = f'{{file="{files.path}",namespace="shop",pod="web",container="main"'

    def file_bytes(name: str, more: str = "") -> float:
        return shown[f"sampan_logs_file_{name}{of}{more}}}"]

    assert file_bytes("read_bytes_total") == files.written == shown["sampan_logs_read_bytes_total"]
    assert files.written == (
        file_bytes("overhead_bytes_total")
        + file_bytes("given_bytes_total")
        + file_bytes("dropped_bytes_total", ',reason="filtered"')
        + file_bytes("held_bytes")
    )
    assert file_bytes("dropped_records_total", ',reason="filtered"') == 1
    assert shown['sampan_logs_processing_total{step="processing[0]",kind="redact",what="assignment"}'] == 1
    assert "hunter22" not in page
    picky = '{output="picky"}'
    assert shown[f"sampan_logs_output_refused_records_total{picky}"] > 0
    records = (
        shown[f"sampan_logs_output_records_total{picky}"] + shown[f"sampan_logs_output_refused_records_total{picky}"]
    )
    assert records == shown["sampan_logs_records_total"] - 1
    assert shown["sampan_logs_open_files"] == 1
    assert shown["process_open_fds"] > 0
    await files.agent.close()
