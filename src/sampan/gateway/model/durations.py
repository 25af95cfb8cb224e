"""Durations of Gateway API (``1h30m``, ``100ms``) and of Traefik as Envoy's. Source: GEP-2257; Go's time.ParseDuration."""

from __future__ import annotations

import re

from sampan.gateway.model.verdicts import Unsupported

UNITS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def milliseconds(text: str) -> int:
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))


def duration(text: str) -> dict[str, int]:
    """Return an Envoy ``Duration``."""
    total = milliseconds(text)
    return {"seconds": total // 1000, "nanos": total % 1000 * 1_000_000}


GO_UNITS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}


def go_duration(text: str | int, at: str) -> dict[str, int]:
    """Return a duration as Go writes it (``1.5s``, ``1m30s``), or a number of seconds, as Envoy's. Raises ``Unsupported``."""
    text = str(text)
    if re.fullmatch(r"\d+", text):
        return {"seconds": int(text), "nanos": 0}
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Unsupported(f"{at}: {text!r} is no duration")
    total = round(sum(float(number) * GO_UNITS[unit] for number, unit in parts))
    return {"seconds": total // GO_UNITS["s"], "nanos": total % GO_UNITS["s"]}
