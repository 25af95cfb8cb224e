"""The supervisor with parts of the test's own: readiness, restarts with back-off, last errors, an orderly end; parts that
wait for keys and links, and for each other; the process that waits to become one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from sampan.cluster import orders, supervisor_process
from sampan.cluster import settings as settings_module
from sampan.cluster.settings import Settings
from tests.e2e.eventually import eventually


@dataclass
class Supervised:
    settings: Settings
    process: subprocess.Popen[bytes]
    reports: BinaryIO
    prepared: BinaryIO

    def ask(self, command: str) -> dict[str, Any]:
        eventually("the supervisor listens", self.listens)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(str(self.settings.supervisor_socket))
            connection.sendall(json.dumps({"command": command}).encode())
            return dict(json.loads(connection.recv(65536)))

    def listens(self) -> bool:
        """Its socket is there a moment before anybody may connect."""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.settings.supervisor_socket)) == 0

    def report(self, wanted: str) -> str:
        """Return the text of the next report whose step is ``wanted``."""
        for line in self.reports:
            step, text = json.loads(line)
            if step == wanted:
                return str(text)
        raise AssertionError(f"no report of {wanted}")

    def part(self, name: str) -> dict[str, Any]:
        return next(dict(row) for row in self.ask("status")["parts"] if row["part"] == name)


PROGRAM = """
import contextlib, json, os, sys
from sampan.cluster.parts import Part
from sampan.cluster.supervisor import Supervisor

path, log_dir, report = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def steady(ready):
    import asyncio
    ready()
    await asyncio.get_running_loop().create_future()

async def broken(ready):
    raise RuntimeError("the moon is full")

def progress(*said):
    with contextlib.suppress(OSError):  # the test has ended
        os.write(report, json.dumps(said).encode() + b"\\n")

parts = [Part("steady", steady), Part("broken", broken), Part("program", argv=("sleep", "1000"))]
parts.append(Part("follower", argv=("sleep", "1000"), after="steady"))
Supervisor("sup", path, log_dir, parts, progress, int(sys.argv[4])).run()
"""


@pytest.fixture
def waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    """A supervisor that has not been told that keys and links are there."""
    # under pytest's own directory the socket's path would be longer than the kernel allows
    run = Path(tempfile.mkdtemp(prefix="sampan-"))
    monkeypatch.setattr(settings_module, "state_root", lambda: tmp_path)
    monkeypatch.setattr(settings_module, "run_root", lambda: run)
    read, write = os.pipe()
    prepared_read, prepared = os.pipe()
    settings = Settings("sup", 1, "none", "1.37", 6443)
    paths = [str(settings.supervisor_socket), str(settings.log_dir)]
    command = [sys.executable, "-c", PROGRAM, *paths, str(write), str(prepared_read)]
    process = subprocess.Popen(command, pass_fds=[write, prepared_read])
    os.close(write)
    os.close(prepared_read)
    with open(read, "rb") as reports, open(prepared, "wb", buffering=0) as tell:
        yield Supervised(settings, process, reports, tell)
    process.terminate()
    process.wait(60)
    run.joinpath("sup").rmdir()
    run.rmdir()


@pytest.fixture
def supervised(waiting: Supervised) -> Supervised:
    waiting.prepared.write(b"1")
    return waiting


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
    assert row["pid"] not in (None, first) and row["restarts"] == 1


def test_down_ends_every_part(supervised: Supervised) -> None:
    supervised.report("steady")
    pids = [row["pid"] for row in supervised.ask("status")["parts"] if row["pid"]]
    assert supervised.ask("down") == {"ok": True}
    supervised.process.wait(60)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not supervised.settings.supervisor_socket.exists()


def test_a_command_that_is_none_is_answered_so(supervised: Supervised) -> None:
    supervised.report("steady")
    assert supervised.ask("dance") == {"error": "no such command: dance"}


def test_parts_begin_when_keys_and_links_are_there(waiting: Supervised) -> None:
    while not waiting.settings.supervisor_socket.exists():
        assert waiting.process.poll() is None
    while len(rows := waiting.ask("status")["parts"]) < 3:
        pass
    assert [row["state"] for row in rows] == ["starting"] * 3 and not any(row["restarts"] for row in rows)
    waiting.prepared.write(b"1")
    waiting.report("steady")
    assert waiting.part("steady")["state"] == "ready"


def test_a_part_begins_when_that_before_it_serves(waiting: Supervised) -> None:
    while not waiting.settings.supervisor_socket.exists():
        assert waiting.process.poll() is None
    while len(rows := waiting.ask("status")["parts"]) < 3:
        pass
    assert "follower" not in [row["part"] for row in rows]
    waiting.prepared.write(b"1")
    waiting.report("steady")
    waiting.report("follower")
    assert waiting.part("follower")["state"] == "ready"


def test_without_keys_and_links_nothing_is_started(waiting: Supervised) -> None:
    waiting.prepared.close()
    assert waiting.process.wait(60) == 0
    assert waiting.reports.read() == b""


def test_the_supervisor_imports_little() -> None:
    """It lives as long as its cluster: what it has imported is memory that nobody uses."""
    program = (
        "import sys, sampan.cli.main\n"
        "from sampan.cluster import early_api, parts, supervisor, supervisor_process\n"
        "large = {'argparse', 'asyncio', 'dataclasses', 'ipaddress', 'logging', 'orjson', 'pathlib', 'ssl', 'typing'}\n"
        "print(sorted(large & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_nobody_waits_to_supervise_after_a_wrong_argument() -> None:
    program = (
        "import ctypes, os\n"
        "ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: children of children that are left become ours\n"
        "from sampan.cli.main import main\n"
        "try:\n"
        "    main(['up', '--pods', 'imagined'])\n"
        "finally:\n"
        "    try:\n"
        "        print('a child is left:', os.wait())\n"
        "    except ChildProcessError:\n"
        "        print('no child is left')\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 2 and "invalid choice: 'imagined'" in run.stderr
    assert run.stdout == "no child is left\n"


def test_an_order_comes_with_a_socket_that_programs_do_not_inherit() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as listener:
        order = {"settings": {"name": "sup", "api_flags": {"large": "x" * 100_000}}}
        sent = threading.Thread(target=supervisor_process.Waiting(0, ours).order, args=(order, listener))
        sent.start()  # it is larger than what the kernel keeps between them
        received = orders.receive(theirs)
        sent.join()
        assert received is not None and received[0] == order
        (descriptor,) = received[1]
        with socket.socket(fileno=descriptor) as passed:
            assert passed.getsockname() == listener.getsockname() and not passed.get_inheritable()


def test_without_an_order_there_is_nothing_to_supervise() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        assert orders.receive(theirs) is None
