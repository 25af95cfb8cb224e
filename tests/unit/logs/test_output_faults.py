"""Faults of ours in an output end in it: what it holds waits, the others go on, nothing is lost; it is said and counted."""

from __future__ import annotations

import asyncio
import random
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.agent import Agent
from sampan.logs.joining import Joiner, Record
from sampan.logs.log_record import Batch, Delivery, Fields, Labels
from sampan.logs.metrics import Server
from sampan.logs.outputs import delivering
from sampan.logs.outputs.aside import Aside
from sampan.logs.outputs.batches import Numbered, ids_of
from sampan.logs.outputs.delivering import Counts, deliver
from sampan.logs.outputs.output import Gone, Output, Undelivered
from sampan.logs.outputs.registry import output_named
from sampan.logs.outputs.sending import TAKEN, Sender, Verdict
from sampan.logs.outputs.spool import Segments, Spooled
from sampan.logs.processing.draft import Draft, Passing, Step, Tally
from sampan.logs.processing.pipeline import UNREDACTED, Configured, Pipeline, contained
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.following import Following
from sampan.logs.reading.ledger import Ledger
from tests.unit.logs.remote import serving

LABELS = Labels({"file": "/a.log", "namespace": "shop"})
SECRET = "hunter2"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_SECONDS", 0.0)


def numbered(count: int) -> Numbered:
    found: list[Delivery] = [
        (LABELS, Record(b"2026-11-30T10:00:00Z", b"%d" % number, 1, "", "next"), 7, None) for number in range(count)
    ]
    return Numbered(found, [str(number) for number in range(count)])


def texts(batch: Batch) -> list[str]:
    return [record.text.decode() for _, record, _, _ in batch]


class Bad(Sender):
    """An output that fails at the records of ``poison`` always, at others as ``plan`` says for the next attempts."""

    name = "bad"

    def __init__(self, poison: set[str] = frozenset(), plan: list[str] | None = None, batch_bytes: int = 700) -> None:  # type: ignore[assignment]
        self.poison, self.plan, self._batch_bytes = poison, plan or [], batch_bytes
        self.taken: list[str] = []
        self.resets = 0

    async def _send(self, part: Batch) -> Verdict:
        assert ids_of(part) is None or list(ids_of(part) or ()) == texts(part)
        step = self.plan.pop(0) if self.plan else "take"
        if step == "fault":
            raise KeyError(SECRET)
        if step == "cancelled":
            raise asyncio.CancelledError(SECRET)
        if step == "later":
            raise Undelivered("later", 0.0)
        if bad := self.poison.intersection(texts(part)):
            raise ValueError(f"{SECRET} of {bad}")
        self.taken += texts(part)
        return TAKEN

    async def reset(self) -> None:
        self.resets += 1

    async def close(self) -> None:
        pass


STEPS = st.lists(st.sampled_from(["take", "take", "fault", "cancelled", "later"]), max_size=40)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 60), st.sets(st.integers(0, 59), max_size=5), STEPS, st.integers(301, 2000))
def test_all_is_taken_but_what_it_fails_at(
    tmp_path_factory: pytest.TempPathFactory, count: int, poison: set[int], plan: list[str], batch_bytes: int
) -> None:
    """Whatever fails in whatever order: each record is taken once, or stands in the file of those that were put aside."""
    path = tmp_path_factory.mktemp("aside") / "bad.json"
    output = Bad({str(number) for number in poison}, list(plan), batch_bytes)
    counts = Counts(records=1)
    asyncio.run(deliver(output, numbered(count), counts, Aside(path)))
    aside = [line["text"] for line in map(orjson.loads, path.read_bytes().splitlines())] if path.exists() else []
    assert sorted([*output.taken, *aside], key=int) == texts(numbered(count))
    assert set(aside) >= {str(number) for number in poison if number < count}
    assert (counts.records - 1, counts.set_aside, counts.refused) == (len(output.taken), len(aside), 0)
    assert counts.faults == output.resets
    assert (counts.state, counts.reason) == ("working", "")
    if not plan:
        assert set(aside) == {str(number) for number in poison if number < count}
        if len(poison) < 2:
            assert output.taken == [text for text in texts(numbered(count)) if int(text) not in poison]


async def test_an_output_that_is_broken_has_nothing_put_aside(tmp_path: Path) -> None:
    """It has never worked, so nothing tells that a record is bad; when it is mended all goes."""
    output, counts = Bad(), Counts()
    output.plan = ["fault"] * 400
    await deliver(output, numbered(300), counts, Aside(tmp_path / "aside.json"))
    assert sorted(output.taken, key=int) == texts(numbered(300))
    assert not (tmp_path / "aside.json").exists()
    assert counts.faults >= 300


async def test_one_that_breaks_later_has_little_put_aside(tmp_path: Path) -> None:
    output, counts = Bad(), Counts(records=1000)
    output.plan = ["fault"] * 400
    await deliver(output, numbered(300), counts, Aside(tmp_path / "aside.json"))
    aside = (tmp_path / "aside.json").read_bytes().splitlines()
    assert len(aside) <= 5
    assert len(output.taken) + len(aside) == 300


async def test_it_is_said_where_and_not_what(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await deliver(Bad({"3"}), numbered(6), Counts(records=1), Aside(tmp_path / "aside" / "bad.json"))
    assert "bad fails by a fault of ours, and is in quarantine: ValueError at " in caplog.text
    assert "test_output_faults.py:" in caplog.text
    assert f"it is put aside in {tmp_path}/aside/bad.json" in caplog.text
    [line] = (tmp_path / "aside" / "bad.json").read_bytes().splitlines()
    found = orjson.loads(line)
    assert (found["output"], found["text"], found["namespace"]) == ("bad", "3", "shop")
    assert found["fault"].startswith("ValueError at ")
    assert SECRET not in caplog.text + line.decode()
    assert stat.S_IMODE((tmp_path / "aside" / "bad.json").stat().st_mode) == 0o600


async def test_a_record_that_cannot_be_written_is_put_aside_with_what_can(tmp_path: Path) -> None:
    """``json_line`` is what fails: the file of those that were put aside is written by it, too."""
    fields = Fields()
    fields.attributes = {"what": {1, 2}, "why": 2**80}  # type: ignore[dict-item]
    batch = list(numbered(3))
    batch[1] = (*batch[1][:3], fields)
    out = tmp_path / "out.json"
    output = output_named(f"json:{out}", tmp_path)
    await output.open(None)
    counts = Counts()
    mark = await deliver(output, batch, counts, Aside(tmp_path / "aside.json"))
    assert mark == out.stat().st_size
    assert [orjson.loads(line)["text"] for line in out.read_bytes().splitlines()] == ["0", "2"]
    [line] = (tmp_path / "aside.json").read_bytes().splitlines()
    assert orjson.loads(line)["text"] == "1"
    assert str(2**80) in orjson.loads(line)["fields"]
    await output.close()


@pytest.mark.parametrize("how", ["full", "nowhere"])
async def test_what_cannot_be_put_aside_waits(tmp_path: Path, how: str) -> None:
    aside = None
    if how == "full":
        (tmp_path / "aside.json").write_bytes(b"{}\n")
        aside = Aside(tmp_path / "aside.json", limit_bytes=10)
    output, counts = Bad({"1"}), Counts()
    work = asyncio.create_task(deliver(output, numbered(4), counts, aside))
    async with asyncio.timeout(60):
        while counts.faults < 40:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (counts.state, counts.set_aside) == ("quarantined", 0)
    output.poison = set()
    async with asyncio.timeout(60):
        await work
    assert sorted(output.taken) == texts(numbered(4))


async def test_cancelling_ends_it() -> None:
    output = Bad({"0"})
    work = asyncio.create_task(deliver(output, numbered(1), counts := Counts()))
    async with asyncio.timeout(60):
        while not counts.faults:  # noqa: ASYNC110
            await asyncio.sleep(0)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(60):
            await work


async def test_stdout_that_nobody_reads_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    output = output_named("json:-", Path())

    def broken(data: bytes) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(output, "_write", broken)
    with pytest.raises(Gone):
        await deliver(output, numbered(1), Counts())


class Failing:
    """An output that raises while it is broken, and may refuse."""

    name = "failing"

    def __init__(self) -> None:
        self.broken = True
        self.taken: list[str] = []

    async def open(self, mark: int | None) -> int:
        return 0

    async def deliver(self, batch: Batch) -> int:
        if self.broken:
            raise RuntimeError(SECRET)
        self.taken += texts(batch)
        return 0

    async def close(self) -> None:
        if self.broken:
            raise RuntimeError(SECRET)


def agent_of(home: Path, outputs: list[Output]) -> Agent:
    ledger = Ledger(home / "state" / "positions.db")
    following = Following(
        Roots([str(home / "logs")]), ledger.positions(), make_joiner=lambda _: Joiner, settling_seconds=0
    )
    return Agent(
        following, ledger, outputs, flush_seconds=0.0, aside_of=lambda name: Aside(home / "aside" / f"{name}.json")
    )


async def seen(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def shown(port: int, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
        assert response.status == 200
        return await response.text()


async def test_the_other_outputs_go_on_and_its_spool_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "0.log"
    failing = Failing()
    spooled = Spooled(failing, tmp_path / "spool", 1 << 20, 1000, Aside(tmp_path / "aside" / "failing.json"))
    agent = agent_of(tmp_path, [spooled, output_named(f"json:{tmp_path / 'out.json'}", tmp_path)])
    server = Server(agent)
    port = await server.start("127.0.0.1", 0)
    work = asyncio.create_task(agent.run())
    wanted: list[str] = []

    def there() -> list[str]:
        out = tmp_path / "out.json"
        return [orjson.loads(line)["text"] for line in out.read_bytes().splitlines()] if out.exists() else []

    for number in range(5):
        wanted.append(f"INFO {number}")
        with log.open("a") as file:
            file.write(f"2026-11-30T10:00:00Z stdout F {wanted[-1]}\n")
        await seen(lambda: there() == wanted)
    await seen(lambda: spooled.counts.faults > 0 and spooled.counts.waiting_records == 5)
    assert not work.done()
    assert 'sampan_logs_output_quarantined{output="failing"} 1' in await shown(port, "/metrics")
    status = {each["name"]: each for each in orjson.loads(await shown(port, "/status"))["outputs"]}
    assert status["failing"]["state"] == "quarantined"
    assert status["failing"]["reason"].startswith("RuntimeError at ")
    assert status["failing"]["waiting_records"] == 5
    assert [each["state"] for name, each in status.items() if name != "failing"] == ["working"]
    assert await shown(port, "/healthz") == "ok"
    failing.broken = False
    await seen(lambda: failing.taken == wanted)
    await seen(lambda: spooled.counts.state == "working")
    assert 'sampan_logs_output_quarantined{output="failing"} 0' in await shown(port, "/metrics")
    await server.close()
    await agent.stop()
    await asyncio.wait({work})
    assert SECRET not in caplog.text
    assert not (tmp_path / "aside").exists()


async def test_what_waits_in_quarantine_is_sent_by_the_next_agent(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "0.log").write_text(
        "2026-11-30T10:00:00Z stdout F INFO a\n2026-11-30T10:00:00Z stdout F INFO b\n"
    )
    failing = Failing()
    agent = agent_of(tmp_path, [Spooled(failing, tmp_path / "spool", 1 << 20, 1000)])
    work = asyncio.create_task(agent.run())
    await seen(lambda: agent.totals.outputs["failing"].faults > 2)
    await agent.stop(0.01)
    await asyncio.wait({work})  # on a slow machine it has been cancelled
    mended = Failing()
    mended.broken = False
    agent = agent_of(tmp_path, [Spooled(mended, tmp_path / "spool", 1 << 20, 1000)])
    await agent.once()
    await agent.close()
    assert mended.taken == ["INFO a", "INFO b"]


@pytest.mark.parametrize("work", ["read", "sends", "acknowledge", "_keep", "_drop_acknowledged"])
async def test_a_disk_that_fails_does_not_end_the_sending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    output = Failing()
    output.broken = False
    spooled = Spooled(output, tmp_path / "spool", 1 << 20, 1000)
    await spooled.open(None)
    real, chance = getattr(Segments, work), random.Random(8)

    def sometimes(self: Segments, *given: Any) -> Any:
        found = real(self, *given) if chance.random() < 0.5 else None
        if chance.random() < 0.5:
            raise OSError(5, "Input/output error")
        return found if found is not None else real(self, *given)

    monkeypatch.setattr(Segments, work, sometimes)
    try:
        for first in range(0, 60, 6):
            batch = list(numbered(60))[first : first + 6]
            while True:
                try:
                    spooled.committed(await spooled.deliver(batch))
                except Undelivered:
                    continue
                break
        async with asyncio.timeout(60):
            await spooled.drained()
    finally:
        monkeypatch.undo()
        await spooled.close()
    assert list(dict.fromkeys(output.taken)) == texts(numbered(60))
    assert spooled.counts.faults > 0
    assert spooled.counts.state == "working"


PROGRAM = """
import sys
from sampan.cli.main import main
from sampan.logs.outputs import http

def broken(batch, whole=http.as_lines):
    if any(b"poison" in record.text for _, record, _, _ in batch):
        raise ZeroDivisionError("a secret")
    return whole(batch)

http.FORMATS["ndjson"] = (http.FORMATS["ndjson"][0], broken)
sys.exit(main(["logs", *sys.argv[1:]]))
"""


async def test_the_agent_as_a_process_puts_aside_what_its_output_fails_at(tmp_path: Path) -> None:
    texts = [f"INFO {number}" for number in range(40)]
    texts[17] += " poison"
    log = tmp_path / "0.log"
    log.write_text("".join(f"2026-11-30T10:00:00Z stdout F {text}\n" for text in texts))
    async with serving("http", []) as remote:
        word = ["agent", "--once", "--path", str(log), "--state", str(tmp_path / "state"), "--output", remote.url]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *word, "--output", f"text:{tmp_path / 'out'}", stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(180):
            _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert sorted(remote.texts) == sorted(text for text in texts if "poison" not in text)
    assert (tmp_path / "out").read_text().splitlines() == texts
    [aside] = (tmp_path / "state" / "aside").glob("*.json")
    [line] = aside.read_bytes().splitlines()
    assert orjson.loads(line)["text"] == texts[17]
    assert f"it is put aside in {aside}" in said.decode()
    assert "a secret" not in said.decode()


class Broken:
    def __call__(self, labels: Labels) -> Step | None:
        raise ZeroDivisionError(SECRET)


def passing(labels: Labels) -> Step:
    def passes(raw: bytes) -> bool:
        raise ZeroDivisionError(SECRET)

    return Passing(lambda draft: "", passes, passes)


@pytest.mark.parametrize(("kind", "text"), [("redact", UNREDACTED), ("map", b"hunter2")])
def test_a_step_that_cannot_be_made_ends_nothing(caplog: pytest.LogCaptureFixture, kind: str, text: bytes) -> None:
    tally = Tally()
    pipeline = Pipeline([Configured("processing[0]", kind, contained(Broken(), "processing[0]", kind, tally), tally)])
    steps = pipeline.steps_of(LABELS)
    draft = Draft(LABELS, Record(b"", SECRET.encode(), 1, "", "next"), 7)
    for step in steps:
        assert step(draft) == ""
    assert draft.text == text
    assert tally["failed"] == 1
    assert "ZeroDivisionError at" in caplog.text
    assert SECRET not in caplog.text


def test_a_look_at_many_lines_that_fails_has_them_taken_apart() -> None:
    tally = Tally()
    pipeline = Pipeline(
        [Configured("processing[0]", "redact", contained(passing, "processing[0]", "redact", tally), tally)]
    )
    assert not pipeline.passes(LABELS, b"x\n")
    assert tally["failed"] == 1
