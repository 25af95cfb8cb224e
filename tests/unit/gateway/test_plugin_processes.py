"""Processes of plugins as the gateway keeps them: real ones, without Envoy."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sampan.gateway.plugins.content import Content, content_of
from sampan.gateway.plugins.loader import Plugins, package_of, write_package
from sampan.gateway.plugins.processes import Process, Processes
from sampan.gateway.plugins.sources.seam import Fetched

HOOK = "import sys\nprint('here', file=sys.stderr)\n\ndef request(request):\n    return None\n"


def content(folder: Path, text: str = HOOK) -> Content:
    spec = {"source": text, "isolation": "Process"}
    found = content_of("shop/p", {"spec": spec})
    write_package(folder, package_of(found), found)
    return found


@asynccontextmanager
async def processes(folder: Path, log: Path) -> AsyncIterator[Processes]:
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        found = Processes(folder, folder, log, group)
        yield found
        found.sweep(set())


def there(folder: Path) -> list[Path]:
    return list(folder.glob("*.sock"))


def tell(is_there: bool, problem: str) -> None:
    pass


async def test_a_version_that_is_back_before_it_was_swept_is_the_same_process(tmp_path: Path) -> None:
    one = content(tmp_path)
    async with processes(tmp_path, tmp_path / "log") as all_of_them:
        first = await all_of_them.start(one, package_of(one), tell)
        assert await all_of_them.start(one, package_of(one), tell) == first
        assert len(all_of_them._all) == 1


async def test_who_leaves_takes_away_no_socket_of_who_came_back(tmp_path: Path) -> None:
    one = content(tmp_path)
    async with processes(tmp_path, tmp_path / "log") as all_of_them:
        before, _ = await all_of_them.start(one, package_of(one), tell)
        (task,) = [task for _, task in all_of_them._all.values()]
        await asyncio.sleep(0)  # it has begun to keep it
        all_of_them.sweep(set())
        after, _ = await all_of_them.start(one, package_of(one), tell)
        await asyncio.wait([task])
        assert [file.name for file in there(tmp_path) if "counters" not in file.name] == [Path(after).name]
        assert before != after


async def test_a_full_disk_is_no_end_of_a_process(tmp_path: Path) -> None:
    one = content(tmp_path)
    async with processes(tmp_path, Path("/dev/full")) as all_of_them:
        await all_of_them.start(one, package_of(one), tell)
        ((process, _),) = all_of_them._all.values()
        assert process._process is not None and process._reading is not None
        process._process.terminate()
        await process._reading
        assert process._words == b"here\n"


PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; print('begun', flush=True); signal.pause()"], stdout=-1)
child.stdout.readline()
print(f"child {child.pid}", file=sys.stderr, flush=True)

def request(request):
    return None
"""


async def test_what_a_plugin_has_started_ends_with_its_process(tmp_path: Path) -> None:
    one = content(tmp_path, PARENT)
    again = asyncio.Event()

    def told(is_there: bool, problem: str) -> None:
        if is_there:
            again.set()

    async with processes(tmp_path, tmp_path / "log") as all_of_them:
        await all_of_them.start(one, package_of(one), told)
        ((process, _),) = all_of_them._all.values()
        assert process._process is not None
        first = os.pidfd_open(await child_of(process))
        process._process.kill()  # it ends unasked, and is started again: nothing of its first life is in the way
        async with asyncio.timeout(60):
            await again.wait()
        second = os.pidfd_open(await child_of(process))
        await ended(first)
    await ended(second)


async def child_of(process: Process) -> int:
    """Return the child that a process has told of."""
    async with asyncio.timeout(60):
        while not (found := re.search(rb"child (\d+)\n", process._words)):  # noqa: ASYNC110  # its words have no event
            await asyncio.sleep(0.01)
    return int(found[1])


async def ended(descriptor: int) -> None:
    """Return when a process has ended, by its file descriptor."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        async with asyncio.timeout(60):
            await event.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_files_that_cannot_lie_beside_each_other_are_a_problem_of_their_plugin(tmp_path: Path) -> None:
    class Odd:
        async def cached(self) -> Fetched | None:
            return None

        async def fetch(self) -> Fetched:
            return Fetched({"plugin.py": HOOK.encode(), "a": b"", "a/b.py": b""}, "1")

        async def changed(self) -> None:
            await asyncio.Event().wait()

    told = asyncio.Event()
    plugin: dict[str, Any] = {
        "metadata": {"name": "p", "namespace": "shop", "uid": "u"},
        "spec": {"image": {"reference": "a/b"}},
    }
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        plugins = Plugins(tmp_path, told.set, group, tmp_path, tmp_path / "log")
        task = group.create_task(plugins._follow_source("shop/p", plugin, Odd()))
        await told.wait()
        task.cancel()
    assert "a/b.py" in plugins.problems["shop/p"] or "File exists" in plugins.problems["shop/p"]
