"""Load by ``wrk``: the same client against us and the peer, over TLS, bounded in time, to loopback only."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path


class LoadFailed(Exception):
    """The server answered with errors, so that the figure would mean nothing."""


def requests_per_second(
    url: str, *, connections: int, seconds: int = 5, token: str = "", method: str = "GET", body: str = ""
) -> float:
    """Return the rate of answered requests. Raises ``LoadFailed`` where any answer was not 2xx or a socket broke."""
    lines = [f'wrk.method = "{method}"']
    if body:
        lines += [f"wrk.body = [==[{body}]==]", 'wrk.headers["Content-Type"] = "application/json"']
    if token:
        lines.append(f'wrk.headers["Authorization"] = "Bearer {token}"')
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "request.lua"
        script.write_text("\n".join(lines) + "\n")
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise LoadFailed(f"{method} {url}: {output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not found:
        raise LoadFailed(f"{method} {url}: wrk printed no rate: {output}")
    return float(found[1])


@dataclass(frozen=True, slots=True)
class Load:
    rate: float
    """Requests a second."""
    p99_ms: float


def load(url: str, *, connections: int, seconds: int = 5, headers: dict[str, str] | None = None) -> Load:
    """Return what a load of GETs got. Raises ``LoadFailed`` where any answer was not 2xx or 3xx, or a socket broke."""
    given = [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s", *given, url]
    return load_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def load_of(output: str) -> Load:
    """Return what ``wrk --latency`` printed. Raises ``LoadFailed`` as ``load`` does."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", output)
    if "Non-2xx" in output or "Socket errors" in output or not rate or not p99:
        raise LoadFailed(output)
    return Load(float(rate[1]), float(p99[1]) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[p99[2]])
