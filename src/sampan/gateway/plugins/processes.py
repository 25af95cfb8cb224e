"""The processes of plugins that have one of their own: started, watched, started again, ended when another version serves.

A process is a version of one Plugin. It is live when it has said so; what it writes before it fails is the plugin's problem.
One that ends unasked is started again, after pauses that grow while it does not stay; Envoy's failure mode says meanwhile
what becomes of requests. See ``outside.py`` for the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sampan.gateway.plugins.content import Content
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.outside import HUNG, OUT_OF_MEMORY, Ready
from sampan.gateway.xds.plugins import socket_name

logger = logging.getLogger("sampan.gateway")

START_SECONDS = 60.0
DRAIN_SECONDS = 30.0
"""What a process of an old version may take for the requests that it has."""
LEAVE_SECONDS = 3.0
"""What it may take when the gateway itself ends."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
STEADY_SECONDS = 30.0
"""One that has run for so long begins with the first pause again."""
WORDS_KEPT = 8192
"""Of what a process has written last, for the report of its end."""
NUMBERS = itertools.count(1)
Tell = Callable[[bool, str], None]
"""``(whether it is there, why it cannot be)``"""
WATCHDOG = b"Timeout ("
"""What faulthandler begins with where it ends a process whose loop does not turn."""


class Process:
    """A version's process, over all its lives."""

    def __init__(self, content: Content, package: str, plugin_dir: Path, run_dir: Path, log: Path) -> None:
        self.version, self.key = content.version, content.deployment.key
        self._deployment = {**asdict(content.deployment), "restarts": 0, "ending": ""}
        # one that is imported by its own name is found in this version's folder before anywhere else
        self._paths = [str(plugin_dir / package)] if content.package else [str(plugin_dir)]
        self._package, self._log = content.package or package, log
        # of this one alone: who serves on a while and ends then takes its socket away, also where its version is back
        self.socket = str(run_dir / socket_name(self.key, f"{next(NUMBERS)}.{content.version}"))
        self.ready = Ready()
        self._counters = str(run_dir / socket_name(self.key, "counters"))
        self.is_replaced = False
        self._process: asyncio.subprocess.Process | None = None
        self._words = b""
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> Ready:
        """Start it; return what it says of the plugin. Raises ``PluginError`` with its last words."""
        self._unlink()
        paths = os.pathsep.join([*self._paths, *(path for path in sys.path if path)])
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "sampan.gateway.plugins.outside"),
                env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # ^C is for us
            )
        except OSError as error:  # no memory, no descriptor is left
            raise PluginError(f"its process cannot be started: {error}") from None
        self._words = b""
        self._reading = asyncio.create_task(self._read_words(process), name=f"words-{self.key}")
        ready = None
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await self._ready(process)
        except TimeoutError:
            raise PluginError(f"its process is not ready within {START_SECONDS:.0f} s") from None
        finally:
            if ready is None:
                await self._kill(process)
        if ready is None:
            raise PluginError(self.last_words())
        self.ready = ready
        return ready

    async def _ready(self, process: asyncio.subprocess.Process) -> Ready | None:
        said = {
            "package": self._package,
            "version": self.version,
            "deployment": self._deployment,
            "socket": self.socket,
            "counters": self._counters,
            "drain_seconds": DRAIN_SECONDS,
        }
        assert process.stdin is not None and process.stdout is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(said).encode())
            process.stdin.write_eof()
        line = await process.stdout.readline()
        if not line:
            return None
        told = json.loads(line)
        return Ready(tuple(told["phases"]), told["slow"])

    async def _kill(self, process: asyncio.subprocess.Process) -> None:
        end_group(process)
        await process.wait()
        if self._reading is not None:
            await self._reading

    async def _read_words(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with self._log.open("ab", buffering=0) as log:
            while data := await process.stderr.read(WORDS_KEPT):
                with contextlib.suppress(OSError):  # a full disk is no reason to listen no more
                    log.write(data)
                self._words = (self._words + data)[-WORDS_KEPT:]

    def last_words(self) -> str:
        """Return what the process said last, with the way it ended where that is all there is to say."""
        return self._words.decode(errors="replace") or f"its process ended at once: {self.ending()}"

    def ending(self) -> str:
        """Return how it ended, in words."""
        code = self._process.returncode if self._process is not None else None
        if code is not None and code < 0:
            return f"by {signal.Signals(-code).name}"
        if code == OUT_OF_MEMORY:
            return f"out of memory: it may have {self._deployment['memory_bytes']} bytes"
        if code == HUNG and WATCHDOG in self._words:
            place = self._words[self._words.rindex(WATCHDOG) :].decode(errors="replace").splitlines()
            where = next((line.strip() for line in place if self._package in line), "")
            return f"it did not return for longer than a request may take{f' ({where})' if where else ''}"
        return f"with exit code {code}"

    async def keep(self, tell: Tell) -> None:
        """Start it again whenever it ends, until cancelled. ``tell`` hears that it is there or not, and why it cannot be."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_SECONDS
        while True:
            begun = loop.time()
            assert self._process is not None and self._reading is not None
            await exited(self._process)
            end_group(self._process)
            await self._process.wait()
            await self._reading
            ending = self.ending()
            tell(False, "")
            logger.error("plugin %s: its process ended %s; it is started again", self.key, ending)
            self._deployment |= {"restarts": self._deployment["restarts"] + 1, "ending": ending}
            pause = (
                FIRST_PAUSE_SECONDS if loop.time() - begun > STEADY_SECONDS else min(pause * 2, LONGEST_PAUSE_SECONDS)
            )
            await asyncio.sleep(pause)
            try:
                await self.start()
                tell(True, "")
            except PluginError as error:
                tell(False, f"its process does not start again: {error}")

    async def end(self) -> None:
        """End it in order: what it has begun is answered first, for longer where another version serves meanwhile."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                process.terminate()
                async with asyncio.timeout(DRAIN_SECONDS + 2 if self.is_replaced else LEAVE_SECONDS):
                    await exited(process)
        finally:
            end_group(process)
            self._unlink()

    def _unlink(self) -> None:
        Path(self.socket).unlink(missing_ok=True)


async def exited(process: asyncio.subprocess.Process) -> None:
    """Return when a process has ended. What it has started may have its pipes, until whose end ``wait`` would wait."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def end_group(process: asyncio.subprocess.Process) -> None:
    """End a process and what it has started itself: it leads a group of its own, whose number nobody else gets for as long as
    one of them is there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Processes:
    """All of them, by Plugin and version."""

    def __init__(self, run_dir: Path, plugin_dir: Path, log: Path, group: asyncio.TaskGroup) -> None:
        self._run_dir, self._plugin_dir, self._log, self._group = run_dir, plugin_dir, log, group
        self._all: dict[tuple[str, str], tuple[Process, asyncio.Task[None]]] = {}

    async def start(self, content: Content, package: str, tell: Tell) -> tuple[str, Ready]:
        """Start the process of a version and keep it; return its socket, and what it says of the plugin. Raises
        ``PluginError``."""
        known = self._all.get((content.deployment.key, content.version))
        if known is not None:  # it was replaced, but not swept yet
            return known[0].socket, known[0].ready
        process = Process(content, package, self._plugin_dir, self._run_dir, self._log)
        try:
            ready = await process.start()
        except asyncio.CancelledError:
            await process.end()
            raise
        task = self._group.create_task(self._kept(process, tell), name=f"process-{process.key}")
        self._all[process.key, process.version] = process, task
        return process.socket, ready

    async def _kept(self, process: Process, tell: Tell) -> None:
        try:
            await process.keep(tell)
        finally:
            await process.end()

    def sweep(self, used: set[tuple[str, str]]) -> None:
        """End those of versions that are not used any more. ``used``: Plugins with their versions."""
        for one in self._all.keys() - used:
            process, task = self._all.pop(one)
            process.is_replaced = True
            task.cancel()
