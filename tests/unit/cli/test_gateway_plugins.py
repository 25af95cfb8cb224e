"""``sampan gateway plugins``: what the hosts of a plugin have counted, as one report."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sampan.cli.gateway.plugins import counters_of, row
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.outside import told
from sampan.gateway.xds.plugins import CALLED, socket_name


def counted(version: str, *seconds: float, failed: str = "", since: float = 0.0) -> Counters:
    found = Counters("shop/p", version)
    found.since = since
    for number, one in enumerate(seconds):
        with found.request() as measured:
            measured.seconds, measured.answered = one, number == 0
            if failed and number == len(seconds) - 1:
                try:
                    raise ValueError(failed)
                except ValueError as error:
                    measured.failed(error)
    return found


@asynccontextmanager
async def hosts(folder: Path, **counters: Counters) -> AsyncIterator[None]:
    """Serve what several hosts of a plugin have counted, each on its socket."""
    async with AsyncExitStack() as stack:
        for name, one in counters.items():
            path = str(folder / socket_name("shop/p", "" if name == "plain" else name))

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, one: Counters = one) -> None:
                await told(reader, writer, one)

            await stack.enter_async_context(await asyncio.start_unix_server(serve, path))
        yield


async def test_what_envoy_called_and_what_the_process_was_asked_is_one_report(tmp_path: Path) -> None:
    process = counted("a", 0.004, 0.004, 0.2, failed="first", since=20.0)
    process.restarts, process.ending = 2, "by SIGKILL"
    called = counted("a", *[0.0002] * 96, 0.0002, failed="second", since=10.0)
    async with hosts(tmp_path, counters=process, **{CALLED: called}):
        found = await counters_of(tmp_path, "shop/p", "a")
    assert found is not None
    assert (found["version"], found["requests"], found["answered"], found["failures"]) == ("a", 100, 2, 2)
    assert (found["p50Milliseconds"], found["p99Milliseconds"], found["since"]) == (0.25, 5.0, 10.0)
    assert round(found["meanMilliseconds"], 6) == round((97 * 0.2 + 2 * 4 + 200) / 100, 6)
    assert sum(found["buckets"]) == 100 and found["buckets"][1] == 97
    assert [one["error"] for one in found["errors"]] == ["ValueError: first", "ValueError: second"]
    assert (found["restarts"], found["lastEnding"]) == (2, "by SIGKILL")
    line = row({"plugin": "shop/p", "version": "a", "state": "Live", "problem": "", "counters": found})
    assert (line[4], line[8], line[9]) == ("100", "2", "ValueError: second")


async def test_what_another_version_has_counted_is_not_added(tmp_path: Path) -> None:
    async with hosts(tmp_path, counters=counted("b", 0.001), **{CALLED: counted("a", 0.001, 0.001)}):
        new = await counters_of(tmp_path, "shop/p", "b")
        old = await counters_of(tmp_path, "shop/p", "a")
        unknown = await counters_of(tmp_path, "shop/p", "")
    assert new is not None and old is not None and unknown is not None
    assert (new["requests"], old["requests"], unknown["version"]) == (1, 2, "b")


async def test_a_host_that_does_not_answer_takes_nothing_from_the_other(tmp_path: Path) -> None:
    async with hosts(tmp_path, **{CALLED: counted("a", 0.001)}):
        found = await counters_of(tmp_path, "shop/p", "a")
    assert found is not None and found["requests"] == 1
    assert await counters_of(tmp_path, "shop/p", "a") is None
    async with hosts(tmp_path, plain=counted("h", 0.001)):
        found = await counters_of(tmp_path, "shop/p", "h")
    assert found is not None and found["version"] == "h"
