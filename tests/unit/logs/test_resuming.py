"""``sampan logs show -f`` over streams that break off: each line once, whatever times lines have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.client.http import Connection, HttpClient
from sampan.logs.joining import Record
from sampan.logs.log_record import Labels
from sampan.logs.looking import containers
from sampan.logs.looking.containers import Choice, Containers
from sampan.logs.looking.resuming import Place
from sampan.logs.timestamps import NANO, rfc3339, written

BEGIN = rfc3339(b"2026-11-30T10:00:00Z")
Line = tuple[bytes, bytes]


class Log:
    """What a server has of a log. ``whole_seconds``: it knows no finer ``sinceTime``, as behind a kube-apiserver."""

    def __init__(self, lines: Sequence[Line], whole_seconds: bool) -> None:
        self.lines, self._whole_seconds = list(lines), whole_seconds
        self.gone = 0
        """Lines that were rotated away."""

    def asked(self, since: int, tail: int | None = None) -> list[Line]:
        since = since // NANO * NANO if self._whole_seconds else since
        there = [line for line in self.lines[self.gone :] if rfc3339(line[0]) >= since]
        return there if tail is None else there[len(there) - min(tail, len(there)) :]


@st.composite
def logs(draw: st.DrawFn) -> list[Line]:
    """Many equal times and texts, times that go back a little, few of their digits told apart."""
    step = draw(st.sampled_from([1, 1000, NANO // 2, NANO]))
    newest, found = BEGIN, list[Line]()
    for _ in range(draw(st.integers(1, 25))):
        moment = newest + draw(st.integers(-1, 2)) * step
        newest = max(newest, moment)
        found.append((written(max(moment, newest - NANO)).encode(), b"%d" % draw(st.integers(0, 3))))
    return found


@settings(max_examples=150, deadline=None)
@given(logs(), st.booleans(), st.data())
def test_each_line_is_shown_once(lines: list[Line], whole_seconds: bool, data: st.DataObject) -> None:
    log = Log([], whole_seconds)
    place, shown = Place(), list[Line]()
    for _ in range(data.draw(st.integers(0, 6), label="requests")):
        log.lines = lines[: data.draw(st.integers(len(log.lines), len(lines)), label="written")]
        gone = data.draw(st.integers(log.gone, len(shown)), label="rotated away")
        if not set(lines[:gone]) & set(lines[gone:]):  # else nobody could tell which of two it is that is left
            log.gone = gone
        given = log.asked(place.again())
        cut = data.draw(st.integers(0, len(given)), label="cut")
        shown += [line for line in given[:cut] if place.is_new(*line)]
        assert shown == lines[: len(shown)]
    log.lines = lines
    shown += [line for line in log.asked(place.again()) if place.is_new(*line)]
    assert shown == lines


@settings(max_examples=100, deadline=None)
@given(logs(), st.booleans(), st.integers(1, 10), st.data())
def test_what_was_before_the_last_lines_stays_away(
    lines: list[Line], whole_seconds: bool, tail: int, data: st.DataObject
) -> None:
    there = data.draw(st.integers(1, len(lines)))
    begin = there - min(tail, there)
    lines = sorted(lines, key=lambda line: line[0])
    lines[:begin] = [(time, b"before " + text) for time, text in lines[:begin]]  # else nobody could tell them apart
    log = Log(lines[:there], whole_seconds)
    place, shown = Place(tail=True), list[Line]()
    assert not place.again()
    shown += [line for line in log.asked(0, tail) if place.is_new(*line)]
    for end in (data.draw(st.integers(there, len(lines))), len(lines)):
        log.lines = lines[:end]
        shown += [line for line in log.asked(place.again()) if place.is_new(*line)]
    assert shown == lines[begin:]


def test_a_clock_that_is_set_back_loses_nothing() -> None:
    lines = [(written(BEGIN + second * NANO).encode(), b"%d" % second) for second in (3600, 3601, 1, 2, 3, 4)]
    log, place = Log(lines[:3], True), Place()
    shown = [line for line in log.asked(place.again()) if place.is_new(*line)]
    log.lines = lines
    shown += [line for line in log.asked(place.again()) if place.is_new(*line)]
    assert shown == lines


def test_from_a_time_on_stays_from_a_time_on() -> None:
    lines = [(written(BEGIN + second * NANO).encode(), b"x") for second in range(4)]
    log, since = Log(lines, False), BEGIN + 2 * NANO
    place = Place(since)
    assert [line for line in log.asked(since) if place.is_new(*line)] == lines[2:]
    assert place.again() == since


async def test_a_server_that_breaks_off_in_the_middle_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real stream of HTTP, cut at any byte: a line that was cut is shown whole, and once."""
    monkeypatch.setattr(containers, "AGAIN_SECONDS", 0.0)
    lines = [(b"2026-11-30T10:00:00Z", b"INFO %d" % (number // 2)) for number in range(40)]
    body = b"".join(b"%b %b\n" % line for line in lines)
    cuts = list(range(0, len(body), 97))
    state = {"running": {"startedAt": "2026-11-30T10:00:00Z"}}
    pod: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Pod", "spec": {},
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "resourceVersion": "1"},
        "status": {"containerStatuses": [{"name": "main", "restartCount": 0, "state": state}]},
    }  # fmt: skip
    asked: list[str] = []

    async def pods(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response(
                {"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [pod]}
            )
        answer = web.StreamResponse()
        await answer.prepare(request)
        await asyncio.Event().wait()
        return answer

    async def log(request: web.Request) -> web.StreamResponse:
        asked.append(request.query.get("sinceTime", ""))
        answer = web.StreamResponse()
        await answer.prepare(request)
        cut = cuts.pop(0) if cuts else len(body)
        await answer.write(body[:cut])
        if cut < len(body):
            assert request.transport is not None
            request.transport.abort()
            return answer
        await asyncio.Event().wait()
        return answer

    app = web.Application()
    for path in ("/api/v1/pods", "/api/v1/namespaces/shop/pods"):
        app.router.add_get(path, pods)
    app.router.add_get("/api/v1/namespaces/shop/pods/web/log", log)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    client = HttpClient(Connection(f"http://127.0.0.1:{runner.addresses[0][1]}"))
    shown: list[str] = []

    def show(labels: Labels, record: Record) -> None:
        shown.append(record.text.decode())

    work = asyncio.create_task(Containers(client, Choice("shop")).follow(show))
    try:
        async with asyncio.timeout(120):
            while len(shown) < len(lines):
                assert not work.done(), work.result()
                await asyncio.sleep(0.02)
    finally:
        work.cancel()
        await asyncio.wait({work})
        await client.close()
        await runner.cleanup()
    assert shown == [text.decode() for _, text in lines]
    assert not cuts
    assert asked[0] == ""
    assert asked[-1].startswith("2026-11-30T09:59:58")
