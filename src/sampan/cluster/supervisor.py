"""The supervisor: one quiet process that starts the parts, restarts what dies, and answers ``status`` and ``down``.

It runs no event loop of asyncio and no thread, because it forks: one ``selectors`` loop waits for its socket, for the
pipes by which parts say that they are ready, and for dead children (a signal wake-up pipe). A part that dies is started
again after a pause that doubles with every death and begins anew when it has lived for a minute.

What flows: ``run`` gets a callback for progress (the ``up`` command prints it); clients of the socket send one JSON
line, ``{"command": "status"}`` or ``{"command": "down"}``, and get one line back.
"""

# pathlib is memory that would live as long as the cluster
# ruff: noqa: PTH101, PTH103, PTH104, PTH108, PTH120

from __future__ import annotations

import contextlib
import heapq
import importlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable

from sampan.api.memory import settle
from sampan.cluster import part_process
from sampan.cluster.parts import Part

TYPE_CHECKING = False  # typing, pathlib, dataclasses: memory that would live as long as the cluster
if TYPE_CHECKING:
    from typing import Any

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 60.0
STOP_SECONDS = 5.0

Progress = Callable[[str, str], None]
"""``(step, text)``: a part became ready, or failed (step ``error``)."""


class Running:
    """What the supervisor knows of one part."""

    __slots__ = ("failures", "last_exit", "part", "pid", "pipe", "ready_at", "restarts", "started", "words")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.pid = 0
        self.started = 0.0
        self.ready_at = 0.0
        self.restarts = 0
        self.failures = 0
        self.last_exit = ""
        self.pipe = -1
        self.words = ""

    @property
    def state(self) -> str:
        if not self.pid:
            return "restarting" if self.last_exit else "not started"
        return "ready" if self.ready_at else "starting"


class Supervisor:
    """Of the cluster ``name``; it answers on the socket ``path``, and a part's log is ``<log_dir>/<part>.log``.

    A byte on the descriptor ``prepared`` says that keys and links are there, its end without one that there will be none. -1:
    they are."""

    def __init__(
        self, name: str, path: str, log_dir: str, parts: list[Part], progress: Progress, prepared: int = -1
    ) -> None:
        self.name, self.path, self.log_dir = name, path, log_dir
        self.parts, self.progress, self.prepared = parts, progress, prepared
        self.selector: selectors.BaseSelector = selectors.DefaultSelector()
        self.running: dict[str, Running] = {}
        self.due: list[tuple[float, str]] = []
        self.begun = time.monotonic()
        self.stopping = False
        self.gate = (-1, -1)
        """The pipe whose end lets the parts begin."""

    def run(self) -> None:
        """Supervise until told to stop by the socket, SIGTERM or SIGINT; all parts have ended on return."""
        listener = self._listen()
        wake = self._watch_signals()
        self._close_gate()
        try:
            for part in self.parts:
                while part.after and not self.running[part.after].ready_at and not self.stopping:
                    self._go_on()
                self._warm_up(part)
                if self.stopping:
                    break
                self.running[part.name] = Running(part)
                self._start(part.name)
            while not self.stopping:
                self._go_on()
        finally:
            self.stopping = True
            self._stop()
            listener.close()
            wake.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def _warm_up(self, part: Part) -> None:
        for module in part.warm:
            with contextlib.suppress(ImportError):  # the part will say so itself, in its own log
                importlib.import_module(module)
            self._hear(0)
        if part.warm:
            settle()

    def _close_gate(self) -> None:
        """Have the parts wait until keys and links are there."""
        self.gate = os.pipe()
        if self.prepared == -1:
            os.close(self.gate[1])
        else:
            self.selector.register(self.prepared, selectors.EVENT_READ, self._on_prepared)

    def _on_prepared(self) -> None:
        if os.read(self.prepared, 1):
            os.close(self.gate[1])
        else:
            self.stopping = True
        self.selector.unregister(self.prepared)
        os.close(self.prepared)
        self.prepared = -1

    # what comes in

    def _go_on(self) -> None:
        """Wait for the next thing to happen or to be due."""
        self._hear(max(0.0, self.due[0][0] - time.monotonic()) if self.due else None)
        self._restart_due()

    def _hear(self, timeout: float | None) -> None:
        for key, _ in self.selector.select(timeout):
            key.data()

    def _listen(self) -> socket.socket:
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        begun = f"{self.path.removesuffix('.sock')}.new"  # not longer: paths of sockets are short
        with contextlib.suppress(FileNotFoundError):
            os.unlink(begun)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(begun)
        os.chmod(begun, 0o600)
        listener.listen()
        os.rename(begun, self.path)  # who finds it is answered, and nobody else can ask
        self.selector.register(listener, selectors.EVENT_READ, lambda: self._answer(listener))
        return listener

    def _answer(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(1.0)
            command = json.loads(connection.recv(4096) or b"{}").get("command")
            if command == "status":
                connection.sendall(json.dumps(self.status()).encode() + b"\n")
            elif command == "down":
                self.stopping = True
                connection.sendall(b'{"ok": true}\n')
            else:
                connection.sendall(json.dumps({"error": f"no such command: {command}"}).encode() + b"\n")

    def _watch_signals(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in part_process.HANDLED:
            signal.signal(number, lambda *_: None)
        self._theirs = theirs

        def on_signal() -> None:
            numbers = set(ours.recv(256))
            if {signal.SIGTERM, signal.SIGINT} & numbers:
                self.stopping = True
            self._reap()

        self.selector.register(ours, selectors.EVENT_READ, on_signal)
        return ours

    # parts

    def _log(self, name: str) -> str:
        return f"{self.log_dir}/{name}.log"

    def _start(self, name: str) -> None:
        running = self.running[name]
        read, write = os.pipe()
        os.set_blocking(read, False)
        running.pid = self._process(running.part, self._log(name), write)
        os.close(write)
        running.started, running.ready_at, running.pipe, running.words = time.monotonic(), 0.0, read, ""
        self.selector.register(read, selectors.EVENT_READ, lambda: self._on_words(running))

    def _process(self, part: Part, log: str, words: int) -> int:
        """Return the process of a part: that which waits for it, or a fork of this one."""
        begin, part.early = part.early, None
        if begin is not None:
            with contextlib.suppress(OSError):  # it is gone
                return begin(log, words, self.gate[0])
        return part_process.start(part, log, words, self.gate[0], self._close_inherited)

    def _close_inherited(self) -> None:
        """In a child: let go of what is the supervisor's alone, so that nobody takes the child for it."""
        for key in list(self.selector.get_map().values()):
            os.close(key.fd)
        if self.prepared != -1:
            os.close(self.gate[1])
        self.selector.close()

    def _on_words(self, running: Running) -> None:
        """Hear what a part says of itself: ``R`` when it is ready, ``E`` and an error when it ends."""
        if running.pipe == -1:  # its end was heard with its exit, a moment ago in the same round
            return
        try:
            said = os.read(running.pipe, 65536)
        except BlockingIOError:
            said = b""  # only after its end: a child of its own holds the other end
        for word in said.decode(errors="replace").splitlines():
            if word.startswith("E"):
                running.words = word[1:]
            elif not running.ready_at:
                running.ready_at = time.monotonic()
                self.progress(running.part.name, "ready")
        if not said:
            self.selector.unregister(running.pipe)
            os.close(running.pipe)
            running.pipe = -1

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for running in self.running.values():
                if running.pid == pid:
                    self._on_exit(running, status)

    def _on_exit(self, running: Running, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        running.pid = 0
        name = running.part.name
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        when = time.strftime("%H:%M:%S")
        while running.pipe != -1:
            self._on_words(running)
        words = running.words or part_process.last_error(self._log(name))
        running.last_exit = f"{when} {how}: {words}".rstrip(": ")
        if self.stopping:
            return
        if time.monotonic() - running.started > HEALTHY_AFTER_SECONDS:
            running.failures = 0
        pause = min(FIRST_PAUSE_SECONDS * 2**running.failures, LONGEST_PAUSE_SECONDS)
        running.failures += 1
        running.restarts += 1
        heapq.heappush(self.due, (time.monotonic() + pause, name))
        self.progress("error", f"{name} died ({running.last_exit}); starting it again in {pause:.1f} s")

    def _restart_due(self) -> None:
        while self.due and self.due[0][0] <= time.monotonic() and not self.stopping:
            self._start(heapq.heappop(self.due)[1])

    def _stop(self) -> None:
        """End the parts: first those that may take their time, while the others are still there; then all in the reverse
        order of their start. What does not go in time is killed."""
        whole = list(reversed(self.running.values()))
        slow = [running for running in whole if running.part.leave_seconds]
        if slow:
            self._end(slow, max(running.part.leave_seconds for running in slow) + STOP_SECONDS)
        self._end(whole, STOP_SECONDS)
        for running in self.running.values():
            if running.pid:
                os.kill(running.pid, signal.SIGKILL)
                os.waitpid(running.pid, 0)

    def _end(self, parts: list[Running], seconds: float) -> None:
        """Tell parts to end and wait for that."""
        for running in parts:
            if running.pid:
                os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + seconds
        while any(running.pid for running in parts):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self._hear(left)

    def status(self) -> dict[str, Any]:
        """Return what ``sampan status`` shows, as JSON."""
        now = time.monotonic()
        rows = [
            {
                "part": name,
                "pid": running.pid or None,
                "state": running.state,
                "seconds": round(now - running.started, 1) if running.pid else 0,
                "ready_after": round(running.ready_at - (running.started if running.restarts else self.begun), 3)
                if running.ready_at
                else None,
                "restarts": running.restarts,
                "last_error": running.last_exit or part_process.last_error(self._log(name)),
            }
            for name, running in self.running.items()
        ]
        return {"name": self.name, "pid": os.getpid(), "seconds": round(now - self.begun, 1), "parts": rows}
