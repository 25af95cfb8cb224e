"""Fluent Bit, where it is on the PATH or ``SAMPAN_BENCH_FLUENT_BIT`` names it (no Debian or Python package has it: build it
from its sources with the plugins ``in_tail``, ``in_emitter``, ``filter_multiline``, ``out_file``).

It reads CRI by its ``cri`` parser, joins by its ``java``, ``python``, ``go`` and ``ruby`` rules, and writes JSON to a file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import processes

QUIET_SECONDS = 3.0
PARSERS = """[PARSER]
    Name json
    Format json
    Time_Key time
    Time_Format %Y-%m-%dT%H:%M:%S.%LZ
"""


def binary() -> str:
    """Return its path, ``""`` where it is not installed."""
    return os.environ.get("SAMPAN_BENCH_FLUENT_BIT") or shutil.which("fluent-bit") or ""


@contextmanager
def running(
    home: Path, logs: str, *, joined: bool, flush_seconds: float = 1.0, parser: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield it at work on the files of a pattern, its output in ``home / "theirs"``. ``parser``: of plain files; else CRI."""
    reads = {"parser": parser} if parser else {"multiline.parser": "cri"}
    properties = {"path": logs, "read_from_head": "true", **reads, "refresh_interval": "1"}
    (home / "parsers.conf").write_text(PARSERS)
    word = [binary(), "-q", "-R", str(home / "parsers.conf"), "-i", "tail", *given(properties)]
    if joined:
        rules = {"multiline.parser": "java,python,go,ruby", "multiline.key_content": "log"}
        word += ["-F", "multiline", "-m", "*", *given(rules)]
    out = {"path": str(home), "file": "theirs", "format": "plain"}
    word += ["-o", "file", "-m", "*", *given(out), "-f", str(flush_seconds)]
    (home / "theirs").unlink(missing_ok=True)
    with processes.running(word) as process:
        yield process


def given(properties: dict[str, str]) -> list[str]:
    return [word for name, value in properties.items() for word in ("-p", f"{name}={value}")]


def until_quiet(out: Path) -> None:
    """Wait until an output has something and grows no more."""
    grown_at, size = time.monotonic(), -1
    while time.monotonic() - grown_at < QUIET_SECONDS:
        now = out.stat().st_size if out.exists() else 0
        if now != size or not now:
            grown_at, size = time.monotonic(), now
        time.sleep(0.2)
