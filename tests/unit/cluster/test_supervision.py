"""The supervisor with parts of the test's own: readiness, restarts with back-off, last errors, an orderly end."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sampan.cluster import settings as settings_module
from sampan.cluster.parts import Part, Ready
from sampan.cluster.settings import Settings
from sampan.cluster.supervisor import Supervisor


@dataclass
class Supervised:
    settings: Settings
    pid: int
    reports: int

    def ask(self, command: str) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.settings.supervisor_socket))
            connection.sendall(json.dumps({"command": command}).encode())
            return dict(json.loads(connection.recv(65536)))

    def report(self, wanted: str) -> str:
        """Return the text of the next report whose step is ``wanted``."""
        deadline = time.monotonic() + 10
        while (left := deadline - time.monotonic()) > 0 and select.select([self.reports], [], [], left)[0]:
            step, text = json.loads(os.read(self.reports, 65536).splitlines()[0])
            if step == wanted:
                return str(text)
        raise AssertionError(f"no report of {wanted}")

    def part(self, name: str) -> dict[str, Any]:
        return next(dict(row) for row in self.ask("status")["parts"] if row["part"] == name)


async def steady(ready: Ready) -> None:
    import asyncio

    ready()
    await asyncio.get_running_loop().create_future()


async def broken(ready: Ready) -> None:
    raise RuntimeError("the moon is full")


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    # under pytest's own directory the socket's path would be longer than the kernel allows
    run = Path(f"/tmp/sampan-test-{os.getpid()}")
    monkeypatch.setattr(settings_module, "state_root", lambda: tmp_path)
    monkeypatch.setattr(settings_module, "run_root", lambda: run)
    settings = Settings("sup", 1, "none", "1.37", 6443)
    read, write = os.pipe()
    parts = [Part("steady", steady), Part("broken", broken), Part("program", argv=("sleep", "1000"))]
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            Supervisor(settings, parts, lambda *said: void(os.write(write, json.dumps(said).encode() + b"\n"))).run()
        finally:
            os._exit(0)
    os.close(write)
    yield Supervised(settings, pid, read)
    os.close(read)
    try:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass
    run.joinpath("sup").rmdir()
    run.rmdir()


def void(_: object) -> None:
    return None


def test_a_part_that_fails_is_started_again_and_its_error_is_shown(supervised: Supervised) -> None:
    assert "the moon is full" in supervised.report("error")
    assert "the moon is full" in supervised.report("error")
    row = supervised.part("broken")
    assert row["restarts"] >= 2
    assert "exit code 1" in row["last_error"] and "the moon is full" in row["last_error"]
    assert supervised.part("steady")["state"] == "ready"


def test_a_part_that_is_killed_comes_back(supervised: Supervised) -> None:
    supervised.report("steady")
    first = supervised.part("steady")["pid"]
    os.kill(first, signal.SIGKILL)
    while "steady" not in (said := supervised.report("error")):
        pass
    assert "SIGKILL" in said
    supervised.report("steady")
    row = supervised.part("steady")
    assert row["pid"] not in (0, first) and row["restarts"] == 1


def test_down_ends_every_part(supervised: Supervised) -> None:
    supervised.report("steady")
    pids = [row["pid"] for row in supervised.ask("status")["parts"] if row["pid"]]
    assert supervised.ask("down") == {"ok": True}
    os.waitpid(supervised.pid, 0)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not supervised.settings.supervisor_socket.exists()


def test_a_command_that_is_none_is_answered_so(supervised: Supervised) -> None:
    supervised.report("steady")
    assert supervised.ask("dance") == {"error": "no such command: dance"}
