"""Logs: megabytes per second of CPU from files to a file, joined and of single lines only, beside Fluent Bit on the same.

The files: 100 MB of CRI lines, one record in twenty a trace of Java or Python among plain lines (or none). Fluent Bit, where
it is installed, has its ``cri`` parser and its ``java`` and ``python`` rules; it is ended when its output grows no more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.table import Row

MEGABYTES = int(os.environ.get("SAMPAN_BENCH_LOGS_MB", "100"))
CORPUS = Path(__file__).parent.parent / "tests" / "unit" / "logs" / "corpus"
TRACES = ("java-cause", "java-log4j", "python-3.11-chain", "python-3.8-during", "python-3.13-plain")
ONE_IN = 20
QUIET_SECONDS = 3.0


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        home = Path(directory)
        for work, traces in (("traces joined, CRI to a file", True), ("single lines, CRI to a file", False)):
            log = home / "0.log"
            size = write(log, traces)
            ours = max(size / sampan(home, log, number) for number in range(2))
            peer = size / fluent_bit(home, log, traces) if shutil.which("fluent-bit") else None
            aim = ">= 40; 100" if traces else ">= 1.5x"
            yield Row(work, ours, "MB per CPU second", peer, "Fluent Bit" if peer else "not installed", aim)


def write(path: Path, traces: bool) -> float:
    """Write the file; return its size in megabytes."""
    texts = [(CORPUS / f"{name}.log").read_bytes().rstrip(b"\n").split(b"\n") for name in TRACES]
    size = number = 0
    with path.open("wb") as file:
        while size < MEGABYTES * 1_000_000:
            number += 1
            lines = [
                b"2026-11-30 10:00:%02d,%03d INFO  [main] c.e.Shop - order %d taken"
                % (number % 60, number % 1000, number)
            ]
            if traces and number % ONE_IN == 0:
                lines = texts[number // ONE_IN % len(texts)]
            stamp = b"2026-11-30T10:%02d:%02d.%09dZ" % (number // 60 % 60, number % 60, number)
            size += file.write(b"".join(b"%b stdout F %b\n" % (stamp, line) for line in lines))
    return size / 1_000_000


def sampan(home: Path, log: Path, number: int) -> float:
    """Return the CPU seconds of the agent, its start included."""
    word = [sys.executable, "-m", "sampan.cli.main", "logs", "agent", "--once", "--path", str(log)]
    word += ["--state", str(home / f"state-{number}-{log.stat().st_mtime_ns}"), "--output", f"json:{home / 'ours'}"]
    (home / "ours").unlink(missing_ok=True)
    process = subprocess.Popen(word, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the agent ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def fluent_bit(home: Path, log: Path, traces: bool) -> float:
    """Return the CPU seconds until its output grows no more."""
    out = home / "theirs"
    out.unlink(missing_ok=True)
    word = [
        "fluent-bit",
        "-q",
        "-i",
        "tail",
        "-p",
        f"path={log}",
        "-p",
        "read_from_head=true",
        "-p",
        "multiline.parser=cri",
    ]
    if traces:
        word += ["-F", "multiline", "-m", "*", "-p", "multiline.parser=java,python", "-p", "multiline.key_content=log"]
    word += ["-o", "file", "-m", "*", "-p", f"path={home}", "-p", "file=theirs", "-f", "1"]
    process = subprocess.Popen(word, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        grown_at, size = time.monotonic(), -1
        while time.monotonic() - grown_at < QUIET_SECONDS:
            now = out.stat().st_size if out.exists() else 0
            if now != size or not now:
                grown_at, size = time.monotonic(), now
            time.sleep(0.2)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    finally:
        process.terminate()
        process.wait(30)
