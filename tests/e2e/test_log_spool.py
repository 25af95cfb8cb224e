"""The agent with a spool is killed at any moment and its disk gets full, beside a server that fails all the time: everything
arrives, and what has an id once.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.e2e.log_servers.servers import Agent
from tests.unit.logs.remote import Remote, serving

KILLS = 12


def lines(first: int, count: int) -> list[str]:
    return [f"INFO {number} is a line of this file" for number in range(first, first + count)]


class Flaky(list[object]):
    """A plan that never ends: of what servers do, any."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__([0])
        self._chance = chance

    def pop(self, _: object = 0) -> object:  # type: ignore[override]
        return self._chance.choice([None, None, None, 503, 429, 413, "close", "taken and close"])


def documents(remote: Remote) -> dict[str, str]:
    """Return what an index has: one document for each id, which never becomes another."""
    found: dict[str, str] = {}
    for identity, text in remote.taken:
        assert found.setdefault(identity, text) == text
    return found


async def test_killed_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(8)
    async with serving("elasticsearch", Flaky(chance)) as remote:
        index = {"type": "elasticsearch", "url": remote.url, "batch_bytes": "20Ki", "spool": {"limit": "1Mi"}}
        agent = Agent(tmp_path / "agent", [index, {"type": "json", "path": str(tmp_path / "out.json")}])
        written = 0
        for _ in range(KILLS):
            agent.start()
            for _ in range(chance.randrange(1, 5)):
                agent.write(*lines(written, 150))
                written += 150
                await asyncio.sleep(chance.random() * 0.4)  # the moment is what is tested
            await asyncio.to_thread(agent.kill)
        remote.plan = []
        await asyncio.to_thread(agent.once)
    assert sorted(documents(remote).values()) == sorted(lines(0, written))
    out = [orjson.loads(line)["text"] for line in (tmp_path / "out.json").read_bytes().splitlines()]
    assert out == lines(0, written)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid():
        pytest.skip("a disk of a test's own is mounted by root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_full_disk_holds_reading_and_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    async with serving("http", [503] * 10_000) as remote:
        output = {"type": "http", "url": remote.url, "spool": {"folder": str(small_disk / "spool"), "limit": "1Gi"}}
        agent = Agent(tmp_path / "agent", [output])
        long = [f"INFO {number} " + "x" * 10_000 for number in range(1200)]
        agent.start()
        try:
            for first in range(0, 1200, 50):
                agent.write(*long[first : first + 50])
                await asyncio.sleep(0.02)
            async with asyncio.timeout(120):
                while "No space left on device" not in agent.said():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            remote.plan = []
            async with asyncio.timeout(120):
                while len(remote.taken) < 1199:  # noqa: ASYNC110 - the last one is open
                    await asyncio.sleep(0.1)
        finally:
            await asyncio.to_thread(agent.kill)
    assert sorted(set(remote.texts) | {long[-1]}) == sorted(long)
    assert len(remote.texts) <= 1200


async def test_a_second_agent_does_not_touch_the_spool(tmp_path: Path) -> None:
    async with serving("http", []) as remote:
        agent = Agent(tmp_path / "agent", [{"type": "http", "url": remote.url}])
        agent.write("INFO first", "INFO second")
        agent.start()
        try:
            async with asyncio.timeout(60):
                while not remote.taken:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            done = await asyncio.to_thread(subprocess.run, agent.command(), capture_output=True, text=True, timeout=60)
        finally:
            await asyncio.to_thread(agent.kill)
    assert done.returncode == 1
    assert "sampan: another agent uses the spool" in done.stderr
    assert "Traceback" not in done.stderr
