"""``sampan logs``: the agent as a process that is killed at random moments, ``join``, ``search``."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import orjson

SAMPAN = [sys.executable, "-m", "sampan.cli.main", "logs"]


def test_kill_at_random_points_loses_nothing_and_gives_nothing_twice(tmp_path: Path) -> None:
    """A writer that rotates; an agent that is killed again and again, into a file and into an index."""
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = [f"INFO {number} " + "x" * 50 for number in range(20_000)]
    written = threading.Event()
    word = [*SAMPAN, "agent", "--path", str(logs), "--state", str(tmp_path / "state")]
    word += ["--output", f"text:{tmp_path}/out", "--output", f"sqlite:{tmp_path}/index"]

    def write() -> None:
        path = logs / "0.log"
        for at in range(0, len(lines), 200):
            with path.open("a") as file:
                file.writelines(f"2026-11-30T10:00:00.{at:09d}Z stdout F {line}\n" for line in lines[at : at + 200])
            if at % 4000 == 3800:
                path.rename(logs / f"0.log.{at:08d}")
            written.wait(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    chance = random.Random(8)
    for _ in range(6):
        agent = subprocess.Popen(word, stderr=subprocess.DEVNULL)
        try:
            agent.wait(chance.uniform(0.3, 1.2))
        except subprocess.TimeoutExpired:
            agent.send_signal(signal.SIGKILL)
            agent.wait()
    writer.join()
    subprocess.run([*word, "--once"], check=True)
    assert sorted((tmp_path / "out").read_text().splitlines()) == sorted(lines)
    count = subprocess.run(
        [*SAMPAN, "search", str(tmp_path / "index"), "INFO", "--newest", "100000"], capture_output=True, check=True
    )
    assert len(count.stdout.splitlines()) == len(lines)


def test_join_of_stdin() -> None:
    text = b'INFO a\nTraceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: x\nINFO b\n'
    done = subprocess.run([*SAMPAN, "join", "-"], input=text, capture_output=True, check=True)
    records = [orjson.loads(line) for line in done.stdout.splitlines()]
    assert [(record["text"].count("\n") + 1, record.get("rule")) for record in records] == [
        (1, None), (4, "python"), (1, None),
    ]  # fmt: skip


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run([*SAMPAN, "join", str(tmp_path / "none")], capture_output=True, text=True)
    assert (done.returncode, "none" in done.stderr) == (1, True)
    done = subprocess.run([*SAMPAN, "search", str(tmp_path / "none"), "x"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no index" in done.stderr
    word = [
        *SAMPAN,
        "agent",
        "--path",
        str(tmp_path),
        "--state",
        str(tmp_path / "s"),
        "--output",
        "nowhere:x",
        "--once",
    ]
    done = subprocess.run(word, capture_output=True, text=True)
    assert done.returncode == 1
    assert "is no output" in done.stderr
