"""The load of the API benchmarks: a Go program (``load/main.go``) that speaks to us and to the peer alike.

It is built on first use, with nothing but Go's standard library. ``run`` returns what it measured."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

from bench.wrk import LoadFailed

SOURCE = Path(__file__).parent / "load"
BINARY = Path(tempfile.gettempdir()) / "sampan-bench" / "load"


def run(url: str, token: str, work: str, **options: float | str) -> dict[str, float]:
    """Return the figures of one kind of work: ``rate`` a second, or the lags of watches. Raises ``LoadFailed``."""
    build()
    command = [str(BINARY), "-url", url, "-token", token, "-work", work]
    for name, value in options.items():
        command += [f"-{name}", str(value)]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise LoadFailed(f"{work} on {url}: {finished.stderr.strip()}")
    figures: dict[str, float] = json.loads(finished.stdout)
    return figures


def build() -> None:
    newest = max(path.stat().st_mtime for path in SOURCE.iterdir())
    if BINARY.exists() and BINARY.stat().st_mtime > newest:
        return
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", str(BINARY), "."], cwd=SOURCE, check=True)
