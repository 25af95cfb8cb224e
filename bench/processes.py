"""A program that a benchmark measures: begun, its cost read from ``/proc``, and ended."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_SECONDS = 60.0
TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def running(command: list[str], log: Path | None = None, cwd: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a program at work, and end it with SIGTERM. What it prints is in the file ``log``, or nowhere."""
    with (log or Path(os.devnull)).open("wb") as said:
        process = subprocess.Popen(command, cwd=cwd, stdout=said, stderr=said)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def cpu_seconds(pid: int, *, with_ended: bool = False) -> float:
    """Return the CPU time of a process; ``with_ended``: that of the programs it ran and waited for, too."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if with_ended else 13])) / TICKS


def pss_kib(pid: int) -> int:
    """Return the memory of a process, its part of what it shares counted, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1])
