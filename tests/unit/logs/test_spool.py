"""A spool before an output that may be down: nothing lost, nothing sent that may be taken back, ids stay."""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.joining import Record
from sampan.logs.log_record import Batch, Delivery, Fields, Labels
from sampan.logs.outputs import delivering
from sampan.logs.outputs.batches import ids_of
from sampan.logs.outputs.output import Undelivered
from sampan.logs.outputs.spool import Damaged, Segments, Spooled, SpoolError
from sampan.logs.outputs.spool.packing import pack, unpack
from sampan.logs.outputs.spool.segments import FRAME
from tests.unit.logs.files import Bench

LABELS = Labels({"file": "/a.log", "namespace": "shop"})


def delivery(text: str) -> Delivery:
    return LABELS, Record(b"2026-11-30T10:00:00Z", text.encode(), 1, "", "next"), 7, None


def texts(batch: Batch) -> list[str]:
    return [record.text.decode() for _, record, _, _ in batch]


class Remote:
    """An output that takes what it is given while it is up."""

    name = "remote"

    def __init__(self) -> None:
        self.up = True
        self.taken: list[str] = []
        self.ids: list[str] = []
        self.requests: list[list[str]] = []
        self.asked = asyncio.Event()

    async def open(self, mark: int | None) -> int:
        return 0

    async def deliver(self, batch: Batch) -> int:
        self.asked.set()
        self.requests.append(texts(batch))
        if not self.up:
            raise Undelivered("it is down", 0.01)
        self.taken += texts(batch)
        self.ids += ids_of(batch) or ()
        return 0

    async def close(self) -> None:
        pass


def test_what_is_packed_is_unpacked() -> None:
    fields = Fields()
    fields.attributes, fields.severity_number, fields.trace_id = {"a": [1, {"b": None}]}, 9, "ab" * 16
    one = (Labels({"file": "/b"}), Record(b"", b"\xff\n x", 2, "java", "limit", "id", 3), 5, fields)
    found = unpack(pack([delivery("x"), one, delivery("y")]))
    assert [record for _, record, _, _ in found] == [delivery("x")[1], one[1], delivery("y")[1]]
    assert [labels.values for labels, _, _, _ in found] == [LABELS.values, {"file": "/b"}, LABELS.values]
    assert found[0][0] is found[2][0]
    assert found[1][3] is not None
    assert (found[1][3].attributes, found[1][3].severity_number, found[1][3].trace_id) == (
        fields.attributes, 9, "ab" * 16,
    )  # fmt: skip


def read_all(segments: Segments) -> list[tuple[int, bytes]]:
    found = []
    while (frame := segments.read(segments.end)) is not None:
        found.append((frame.first, frame.payload))
    return found


def reopened(folder: Path, mark: int | None = None, limit: int = 1 << 20) -> Segments:
    segments = Segments(folder, limit)
    segments.open(mark)
    return segments


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12), st.data())
def test_a_torn_tail_is_cut_off_and_the_rest_stays(sizes: list[int], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as home:
        segments = reopened(Path(home))
        marks = [segments.append(bytes([number]) * size, number + 1) for number, size in enumerate(sizes)]
        segments.close()
        path = next(Path(home).glob("*.spool"))
        whole = path.read_bytes()
        torn = data.draw(st.integers(0, len(whole)))
        path.write_bytes(whole[:torn])
        ends = [sum(sizes[: number + 1]) + FRAME.size * (number + 1) for number in range(len(sizes))]
        kept = sum(end <= torn for end in ends)
        segments = reopened(Path(home))
        assert segments.end == (marks[kept - 1] if kept else 0)
        assert [payload for _, payload in read_all(segments)] == [
            bytes([number]) * size for number, size in enumerate(sizes[:kept])
        ]
        segments.append(b"new", 1)
        assert read_all(segments)[-1][1] == b"new"
        segments.close()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(["append", "append", "read", "acknowledge", "reopen", "back"]), max_size=40), st.randoms()
)
def test_it_is_a_queue_over_any_steps(steps: list[str], chance: random.Random) -> None:
    """Beside a list in memory: what was committed and not acknowledged is there, in order, and its disk comes free."""
    with tempfile.TemporaryDirectory() as home:
        segments = reopened(Path(home), limit=4096)
        queue: list[tuple[int, bytes]] = []
        mark = ahead = 0
        for step in steps:
            if step == "append":
                payload, count = os.urandom(chance.randrange(1, 900)), chance.randrange(1, 4)
                queue.append((segments.end, payload))
                assert segments.append(payload, count) == queue[-1][0] + count
                if chance.random() < 0.7:
                    mark = segments.end
            elif step == "read":
                frame = segments.read(mark)
                committed = [one for one in queue[ahead:] if one[0] < mark]
                assert (None if frame is None else (frame.first, frame.payload)) == (committed or [None])[0]
                ahead += frame is not None
            elif step == "acknowledge":
                segments.acknowledge(segments.read_to)
                del queue[:ahead]
                ahead = 0
            else:
                segments.close()
                segments = reopened(Path(home), mark if step == "back" else None, limit=4096)
                mark, ahead = segments.end, 0
                queue = [one for one in queue if one[0] < mark]
        segments.read_to = segments.acknowledged
        segments._let_go()
        assert read_all(segments) == queue
        segments.acknowledge(segments.end)
        assert segments.size < 2 * 4096 / 8 + 900
        segments.close()


def test_a_damaged_frame_takes_nothing_else_with_it(tmp_path: Path) -> None:
    segments = reopened(tmp_path)
    for number in range(3):
        segments.append(b"%d" % number * 50, 2)
    segments.close()
    path = next(tmp_path.glob("*.spool"))
    with path.open("r+b") as file:
        file.seek(FRAME.size + 50 + FRAME.size + 10)
        file.write(b"X")
    segments = reopened(tmp_path)
    first = segments.read(6)
    assert first is not None
    with pytest.raises(Damaged) as damaged:
        segments.read(6)
    assert damaged.value.count == 2
    last = segments.read(6)
    assert (last is not None, last and last.payload) == (True, b"2" * 50)
    segments.close()


def test_a_segment_that_is_gone_is_said_and_the_numbers_go_on(tmp_path: Path) -> None:
    segments = reopened(tmp_path, limit=800)
    for _ in range(4):
        segments.append(b"x" * 120, 5)
    segments.close()
    paths = sorted(tmp_path.glob("*.spool"))
    assert len(paths) == 4
    paths[1].unlink()
    paths[3].unlink()
    segments = reopened(tmp_path, 20, limit=800)
    assert segments.end == 20
    lost = 0
    while segments.read_to < 20:
        try:
            segments.read(20)
        except Damaged as error:
            lost += error.count
    assert lost == 10
    segments.close()


def test_two_agents_do_not_share_a_spool(tmp_path: Path) -> None:
    segments = reopened(tmp_path)
    with pytest.raises(SpoolError, match="another agent"):
        Segments(tmp_path, 1 << 20).open(None)
    segments.close()


def test_numbers_that_were_sent_are_not_used_again(tmp_path: Path) -> None:
    """The ledger was put back: the mark is older than what was acknowledged."""
    segments = reopened(tmp_path)
    segments.append(b"a", 10)
    segments.acknowledge(10)
    segments.close()
    segments = reopened(tmp_path, 4)
    assert segments.end == 10
    segments.close()


def test_a_spool_without_an_identity_gets_one(tmp_path: Path) -> None:
    """Two spools with the same ids would have the records of one taken for the other's."""
    (tmp_path / "identity").touch()
    segments = reopened(tmp_path)
    assert len(segments.identity) == 16
    segments.close()


async def spooled(tmp_path: Path, remote: Remote, mark: int | None = None, limit: int = 1 << 20) -> Spooled:
    output = Spooled(remote, tmp_path / "spool", limit, batch_bytes=2000)
    await output.open(mark)
    return output


async def test_only_what_is_committed_is_sent(tmp_path: Path) -> None:
    remote = Remote()
    output = await spooled(tmp_path, remote)
    mark = await output.deliver([delivery("a"), delivery("b")])
    await output.deliver([delivery("taken back")])
    output.committed(mark)
    await output.drained()
    await output.close()
    assert remote.taken == ["a", "b"]
    output = await spooled(tmp_path, remote, mark)
    mark = await output.deliver([delivery("c")])
    output.committed(mark)
    await output.drained()
    await output.close()
    assert remote.taken == ["a", "b", "c"]
    assert len(set(remote.ids)) == 3
    assert output.counts.waiting_records == 0


async def test_what_was_on_its_way_is_the_same_request_again(tmp_path: Path) -> None:
    remote = Remote()
    remote.up = False
    output = await spooled(tmp_path, remote)
    output.committed(await output.deliver([delivery(f"first {number}") for number in range(3)]))
    await remote.asked.wait()
    output.committed(await output.deliver([delivery("more")]))
    await output.close()
    output = await spooled(tmp_path, remote, 4)
    remote.up = True
    await output.drained()
    await output.close()
    assert remote.requests[-2:] == [["first 0", "first 1", "first 2"], ["more"]]
    assert remote.requests[0] == remote.requests[-2]


async def test_a_full_spool_waits_and_drops_nothing(tmp_path: Path) -> None:
    remote = Remote()
    remote.up = False
    output = await spooled(tmp_path, remote, limit=20_000)
    sent: list[str] = []

    async def write() -> None:
        for number in range(100):
            sent.append(f"{number} " + "x" * 1000)
            output.committed(await output.deliver([delivery(sent[-1])]))

    writing = asyncio.create_task(write())
    async with asyncio.timeout(60):
        while not output.counts.full:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert output.counts.waiting_bytes <= 20_000
    assert not writing.done()
    remote.up = True
    async with asyncio.timeout(60):
        await writing
        await output.drained()
    await output.close()
    assert remote.taken == sent
    assert sum(path.stat().st_size for path in output.folder.glob("*.spool")) <= 20_000 / 8 + 2000


async def test_a_dead_output_does_not_hold_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_SECONDS", 0.0)
    remote = Remote()
    remote.up = False
    bench = Bench(tmp_path, Spooled(remote, tmp_path / "spool", 1 << 20, 1000))
    bench.write("0.log", *(f"INFO {number}" for number in range(20)))
    await bench.turn()
    assert bench.agent.totals.records == 19  # the last one is open
    assert bench.agent.totals.outputs["remote"].waiting_records == 19
    remote.up = True
    bench.output = Spooled(remote, tmp_path / "spool", 1 << 20, 1000)
    await bench.crash()
    bench.write("0.log", "INFO 20")
    await bench.turn()
    await bench.agent.stop()
    assert remote.taken == [f"INFO {number}" for number in range(21)]
    assert bench.agent.totals.outputs["remote"].records == 21


def test_a_full_disk_comes_free_when_all_is_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = reopened(tmp_path)
    segments.append(b"x" * 100, 3)
    real = os.pwrite

    def full(descriptor: int, data: bytes, at: int) -> int:
        if len(data) <= 30:
            return real(descriptor, data, at)
        if len(data) < 200:
            raise OSError(28, "No space left on device")
        return real(descriptor, bytes(data)[:50], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        segments.append(b"y" * 200, 1)
    monkeypatch.undo()
    assert (segments.end, read_all(segments)) == (3, [(0, b"x" * 100)])
    segments.acknowledge(3)
    assert list(tmp_path.glob("*.spool")) == []
    assert segments.append(b"z", 1) == 4
    segments.close()
    segments = reopened(tmp_path)
    assert read_all(segments) == [(3, b"z")]
    segments.close()
