"""Nothing is lost and nothing twice: outputs that fail, crashes between every two steps, bad bytes, many files."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gzip
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.outputs import delivering
from sampan.logs.outputs.files import File
from sampan.logs.outputs.http import Http
from sampan.logs.outputs.http_client import HttpClient
from sampan.logs.outputs.index import Index, search
from sampan.logs.outputs.output import Batch, Undelivered, json_line
from sampan.logs.reading import inotify
from tests.unit.logs.files import Bench


class Crash(BaseException):
    """The process ends here."""


class Failing(File):
    """A file output that fails as it is told: before it writes, or after and before anybody knows."""

    def __init__(self, path: Path, plan: list[str]) -> None:
        super().__init__(path, json_line)
        self.plan = plan

    async def deliver(self, batch: Batch) -> int:
        step = self.plan.pop(0) if self.plan else ""
        if step == "crash before":
            raise Crash
        if step == "undelivered":
            raise Undelivered("down")
        mark = await super().deliver(batch)
        if step == "crash after":
            raise Crash
        return mark


@settings(max_examples=12, deadline=None)
@given(st.lists(st.sampled_from(["", "crash before", "crash after", "undelivered"]), max_size=12), st.integers(1, 7))
def test_exactly_once_over_crashes(plan: list[str], at_once: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(exactly_once(Path(home), list(plan), at_once))


async def exactly_once(home: Path, plan: list[str], at_once: int) -> None:
    delivering.FIRST_SECONDS, before = 0.0, delivering.FIRST_SECONDS
    try:
        bench = Bench(home)
        bench.output = Failing(bench.out, plan)
        await bench.crash()
        lines = [f"INFO {number} is a line of this file" for number in range(40)]
        for at in range(0, len(lines), at_once):
            bench.write("0.log", *lines[at : at + at_once])
            try:
                await bench.turn()
            except BaseExceptionGroup as group:
                assert group.split(Crash)[1] is None
                bench.output = Failing(bench.out, plan)
                await bench.crash()
        plan.clear()
        assert await bench.end() == lines
    finally:
        delivering.FIRST_SECONDS = before


@pytest.mark.parametrize("crash_after", [False, True])
async def test_the_index_is_taken_back_to_what_was_committed(tmp_path: Path, crash_after: bool) -> None:
    class Cut(Index):
        crashes = crash_after

        async def deliver(self, batch: Batch) -> int:
            mark = await super().deliver(batch)
            if self.crashes:
                raise Crash
            return mark

    bench = Bench(tmp_path, Cut(tmp_path / "index.db"))
    bench.write("0.log", *(f"INFO order {number} taken" for number in range(40)))
    if crash_after:
        with pytest.raises(BaseExceptionGroup):
            await bench.turn()
        bench.output = Index(tmp_path / "index.db")
        await bench.crash()
    await bench.turn()
    await bench.agent.stop()
    found = search(tmp_path / "index.db", "order")
    assert [record.text for record in found] == [f"INFO order {number} taken" for number in range(40)]
    assert [record.text for record in search(tmp_path / "index.db", '"order 7"')] == ["INFO order 7 taken"]
    assert search(tmp_path / "index.db", "nothing") == []
    with sqlite3.connect(tmp_path / "index.db") as db:
        db.execute("INSERT INTO words(words) VALUES ('integrity-check')")
    db.close()


class Server:
    """A server of logs: answers as it is told, then takes."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.taken: list[dict[str, str]] = []
        self.keys: list[str] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.keys.append(request.headers["Idempotency-Key"])
        if self.answers:
            return web.Response(status=self.answers.pop(0))
        data = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        self.taken += [orjson.loads(line) for line in data.splitlines()]
        return web.Response(status=204)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    it = Server()
    app = web.Application()
    app.router.add_post("/logs", it.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    it.url = f"http://127.0.0.1:{runner.addresses[0][1]}/logs"
    yield it
    await runner.cleanup()


async def sent(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(delivering, "FIRST_SECONDS", 0.0)
    bench = Bench(tmp_path, Http(server.url, HttpClient(server.url)))
    bench.write("0.log", *(f"INFO {number}" for number in range(20)))
    await bench.turn()
    await bench.agent.stop()
    return bench


async def test_http_is_asked_again_with_the_same_key(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [503, 429]
    bench = await sent(tmp_path, server, monkeypatch)
    assert [record["text"] for record in server.taken] == [f"INFO {number}" for number in range(20)]
    assert len(set(server.keys[:3])) == 1
    assert bench.agent.totals.outputs[server.url].retries == 2


async def test_http_too_large_is_sent_in_halves(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [413]
    await sent(tmp_path, server, monkeypatch)
    assert [record["text"] for record in server.taken] == [f"INFO {number}" for number in range(20)]


async def test_what_http_refuses_is_counted(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [400]
    bench = await sent(tmp_path, server, monkeypatch)
    assert bench.agent.totals.outputs[server.url].refused + len(server.taken) == 20


async def test_bytes_that_are_no_text_do_not_stop_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    (bench.logs / "bad.log").write_bytes(b"\xff\xfe\x00 bad\n\x00\x00\nINFO \xc3\n")
    assert await bench.end() == ["\ufffd\ufffd\x00 bad", "\x00\x00", "INFO \ufffd"]


async def test_the_labels_of_a_pods_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    folder = bench.logs / "shop_web-1_5b1f" / "main"
    folder.mkdir(parents=True)
    bench.write("shop_web-1_5b1f/main/3.log", "INFO here")
    await bench.end()
    record = orjson.loads(bench.out.read_bytes())
    assert {name: record[name] for name in ("namespace", "pod", "pod_uid", "container", "restart", "stream")} == {
        "namespace": "shop", "pod": "web-1", "pod_uid": "5b1f", "container": "main", "restart": "3", "stream": "stdout",
    }  # fmt: skip


@pytest.mark.parametrize("poll", [0.0, 0.01])
async def test_it_follows_what_is_written(tmp_path: Path, poll: float) -> None:
    bench = Bench(tmp_path)
    bench.agent._poll = poll
    work = asyncio.create_task(bench.agent.run())
    async with asyncio.timeout(60):
        for number in range(5):
            bench.write(f"{number}.log", f"INFO {number} a", f"INFO {number} b", "INFO held")
            while not bench.out.exists() or f"INFO {number} b" not in bench.texts():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    await bench.agent.stop()
    await work
    assert sorted(bench.texts()) == sorted(
        line for number in range(5) for line in (f"INFO {number} a", f"INFO {number} b", "INFO held")
    )


@pytest.mark.parametrize("what", ["inotify_init1", "inotify_add_watch"])
async def test_without_inotify_it_looks_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """The user has no instances, or no watches left."""

    def none(*given: object) -> int:
        ctypes.set_errno(errno.ENOSPC)
        return -1

    monkeypatch.setattr(inotify._libc, what, none)
    bench = Bench(tmp_path)
    work = asyncio.create_task(bench.agent.run())
    async with asyncio.timeout(60):
        while "inotify does not work" not in caplog.text:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        bench.write("0.log", "INFO a", "INFO held")
        while not bench.out.exists() or bench.texts() != ["INFO a"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await bench.agent.stop()
    await work
    assert bench.texts() == ["INFO a", "INFO held"]
