"""Durations of Gateway API (``1h30m``, ``100ms``) as Envoy's. Source: GEP-2257."""

from __future__ import annotations

import re

UNITS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


def milliseconds(text: str) -> int:
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))


def duration(text: str) -> dict[str, int]:
    """Return an Envoy ``Duration``."""
    total = milliseconds(text)
    return {"seconds": total // 1000, "nanos": total % 1000 * 1_000_000}
