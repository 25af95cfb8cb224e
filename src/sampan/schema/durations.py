"""How long ago, as kubectl shows it (``HumanDuration`` of apimachinery's ``util/duration``)."""

from __future__ import annotations

from datetime import UTC, datetime


def human_duration(seconds: float) -> str:
    """Return two or three significant figures of a duration: ``45s``, ``5m32s``, ``3d4h``, ``2y10d``. Up to a second
    in the future counts as now; more is ``<invalid>``."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _days(hours)


def _days(hours: int) -> str:
    days = hours // 24
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if hours < 24 * 365 * 2:
        return f"{days}d"
    if hours < 24 * 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def parse_time(timestamp: str) -> datetime | None:
    """Return the moment of an RFC 3339 text, None when it is none."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def age(timestamp: str | None, now: datetime | None = None) -> str:
    """Return the time since ``timestamp`` as the AGE column shows it; ``<unknown>`` when there is none."""
    if not timestamp:
        return "<unknown>"
    moment = parse_time(timestamp)
    if moment is None:
        return "<invalid>"
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds())


def seconds_since(moment: str) -> float:
    """Return the age of a ``metav1.Time`` in seconds."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment.replace("Z", "+00:00"))).total_seconds()
