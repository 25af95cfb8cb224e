"""Schedules of CronJobs: five fields or a descriptor, in the words of the parser that Kubernetes uses.

``parse("*/5 8-18 * * mon-fri")`` returns the minutes, hours, days, months and weekdays that match, as sets; what is wrong
is a ``CronError`` worded as robfig/cron v3 (``ParseStandard``) does. ``next_after`` and ``last_until`` find the times.
Source: crontab(5), that package's documentation.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

LONGEST_DAYS = 5 * 366
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
BOUNDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(DAYS)}),
)
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"([0-9]*\.?[0-9]*)(ns|us|µs|μs|ms|s|m|h)")


class CronError(ValueError):
    """The schedule does not parse; the message is the parser's."""


class Schedule(NamedTuple):
    """What matches. ``every_seconds`` is set for ``@every``, and then the sets are empty. A day matches by day of the
    month or of the week, either of them, where both are restricted."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    time_zone: str = ""
    every_seconds: int = 0


def parse(text: str) -> Schedule:
    """Return the schedule. Raises ``CronError``."""
    if not text:
        raise CronError("empty spec string")
    zone = ""
    if text.startswith(("TZ=", "CRON_TZ=")):
        head, _, text = text.partition(" ")
        zone = head.partition("=")[2]
        text = text.strip()
    if text.startswith("@"):
        return _descriptor(text, zone)
    parts = text.split()
    if len(parts) != 5:
        raise CronError(f"expected exactly 5 fields, found {len(parts)}: [{' '.join(parts)}]")
    sets = [_field(part, *bounds) for part, bounds in zip(parts, BOUNDS, strict=True)]
    stars = [any(_is_any(piece) for piece in parts[index].split(",")) for index in (2, 4)]
    return Schedule(sets[0], sets[1], sets[2], sets[3], sets[4], stars[0], stars[1], zone)


def _is_any(piece: str) -> bool:
    """Whether a part of a field restricts nothing: ``*/2`` does, which decides how days of month and week go together."""
    ends, _, step = piece.partition("/")
    return ends.partition("-")[0] in ("*", "?") and int(step or 1) == 1


def _descriptor(text: str, zone: str) -> Schedule:
    if text in DESCRIPTORS:
        return parse(DESCRIPTORS[text])._replace(time_zone=zone)
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        seconds = _seconds(duration)
        if seconds is None:
            raise CronError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
        nothing: frozenset[int] = frozenset()
        return Schedule(nothing, nothing, nothing, nothing, nothing, True, True, zone, max(1, int(seconds)))
    raise CronError(f"unrecognized descriptor: {text}")


def _seconds(text: str) -> float | None:
    sign = -1.0 if text.startswith("-") else 1.0
    rest = text[1:] if text[:1] in ("+", "-") else text
    found = PART.findall(rest)
    if not rest or "".join(number + unit for number, unit in found) != rest:
        return 0.0 if rest == "0" else None
    if any(number in ("", ".") for number, _ in found):
        return None
    return sign * sum(float(number) * UNITS[unit] for number, unit in found)


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    matched: set[int] = set()
    for piece in (part for part in text.split(",") if part):
        matched |= _range(piece, low, high, names)
    return frozenset(matched)


def _range(text: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    pieces = text.split("/")
    ends = pieces[0].split("-")
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        start = _number(ends[0], names)
        if len(ends) > 2:
            raise CronError(f"too many hyphens: {text}")
        end = _number(ends[1], names) if len(ends) == 2 else start
    step = 1
    if len(pieces) > 2:
        raise CronError(f"too many slashes: {text}")
    if len(pieces) == 2:
        step = _number(pieces[1], {})
        if len(ends) == 1:
            end = high  # "N/step" means from N on
    if start < low:
        raise CronError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise CronError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise CronError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")
    return set(range(start, end + 1, step))


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > 18:
        raise CronError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range')
    number = int(text)
    if number < 0:
        raise CronError(f"negative number ({number}) not allowed: {text}")
    return number


def next_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """Return the first time after ``moment`` that matches, in ``moment``'s zone; None where there is none in five years.

    A local time that a change of the clock leaves out does not come; one that comes twice matches twice."""
    if schedule.every_seconds:
        return moment.replace(microsecond=0) + timedelta(seconds=schedule.every_seconds)
    for day in (moment.date() + timedelta(days=number) for number in range(LONGEST_DAYS)):
        for found in _times_of(schedule, day, moment.tzinfo):
            if found.timestamp() > moment.timestamp():  # times of one zone are compared without their fold
                return found
    return None


def last_until(schedule: Schedule, moment: datetime, begin: datetime) -> datetime | None:
    """Return the newest time that matches, not after ``moment`` and after ``begin``; None where there is none."""
    if schedule.every_seconds:
        count = int((moment - begin).total_seconds()) // schedule.every_seconds
        return begin.replace(microsecond=0) + timedelta(seconds=count * schedule.every_seconds) if count > 0 else None
    first = begin.astimezone(moment.tzinfo).date()
    for number in range((moment.date() - first).days + 1):
        for found in reversed(_times_of(schedule, moment.date() - timedelta(days=number), moment.tzinfo)):
            if begin.timestamp() < found.timestamp() <= moment.timestamp():
                return found
    return None


def _times_of(schedule: Schedule, day: date, zone: tzinfo | None) -> list[datetime]:
    """Return the matching times of a day, in order."""
    if day.month not in schedule.months or not _day_matches(schedule, day):
        return []
    local = (
        datetime.combine(day, time(hour, minute, fold=fold), zone)
        for hour in schedule.hours
        for minute in schedule.minutes
        for fold in (0, 1)
    )
    found = {moment.astimezone(UTC) for moment in local if _exists(moment)}
    return [moment.astimezone(zone) for moment in sorted(found)]


def _day_matches(schedule: Schedule, day: date) -> bool:
    by_month, by_week = day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays
    return (by_month and by_week) if schedule.any_day or schedule.any_weekday else (by_month or by_week)


def _exists(moment: datetime) -> bool:
    """Whether the clocks of the zone show this time."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)
