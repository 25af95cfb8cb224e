"""Points of time, out of the forms that logs have them in, as nanoseconds since 1970.

A time without a zone is taken to be of the zone that is given (UTC where none is); one without a year is that year's which
is nearest to when it was observed.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

NANO = 1_000_000_000
MONTHS = {name: number for number, name in enumerate(calendar.month_abbr)}
CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
ZONE = r"(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d)(?![A-Za-z]))?"
FORMS = (
    rf"(?P<year>\d{{4}})(?P<sign>[-/.])(?P<month>\d\d)(?P=sign)(?P<day>\d\d)[T _,]{CLOCK}{ZONE}",
    rf"(?P<day>\d\d)/(?P<name>[A-Z][a-z]{{2}})/(?P<year>\d{{4}}):{CLOCK}{ZONE}",
    rf"(?:[A-Z][a-z]{{2}} )?(?P<name>[A-Z][a-z]{{2}}) +(?P<day>\d{{1,2}}) {CLOCK}(?: (?P<year>\d{{4}})(?!\d))?",
    rf"(?:[A-Z][a-z]{{2}}, )?(?P<day>\d{{1,2}}) (?P<name>[A-Z][a-z]{{2}}) (?P<year>\d{{4}}) {CLOCK}{ZONE}",
    rf"[IWEF]?(?P<month>\d\d)(?P<day>\d\d) {CLOCK}",
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)T(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)"
    rf"(?:\.(?P<fraction>\d+))?{ZONE}",
)
"""ISO 8601 and what is near it, Apache's, syslog's and ctime's, RFC 5322's, klog's, ISO 8601 without signs."""
COMPILED = tuple(re.compile(form) for form in FORMS)
EPOCH = re.compile(r"-?\d{1,19}(?:\.\d+)?")
NEAR_SECONDS = 86400
"""As exactly the year is looked for that is nearest to when a record was observed."""
LATEST = (1 << 63) // NANO - 86400
LONGEST = 64
"""Characters that are looked at for a time."""
OPENERS = "[(<{\"' "


def rfc3339(time: bytes) -> int:
    """Return the nanoseconds of a time of RFC 3339, 0 where it is none."""
    try:
        seconds = second_of(time[:19])
        if time[-1:] == b"Z":  # most are
            fraction = time[20:-1]
            if not fraction and len(time) == 20:
                return seconds * NANO
            return seconds * NANO + int(fraction[:9].ljust(9, b"0")) if fraction.isdigit() and time[19] == 46 else 0
        fraction, end = b"", 19
        if time[19:20] == b".":
            end = 20
            while time[end : end + 1].isdigit():
                end += 1
            fraction = time[20:end]
        zone = time[end:]
        if zone not in (b"Z", b"z"):
            if len(zone) != 6:
                return 0
            away = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
            seconds -= -away if zone[:1] == b"-" else away
        return seconds * NANO + int(fraction[:9].ljust(9, b"0") if fraction else 0)
    except ValueError:
        return 0


@lru_cache(4096)
def second_of(prefix: bytes) -> int:
    """Return the seconds since 1970 of ``YYYY-MM-DDTHH:MM:SS`` in UTC. Raises ``ValueError``."""
    if len(prefix) != 19 or prefix[16] != 58 or not prefix[17:].isdigit():
        raise ValueError(prefix)
    return possible(minute_of(prefix[:16]) + int(prefix[17:]))


def possible(seconds: int) -> int:
    """Return seconds that 64 bits hold as nanoseconds since 1970 (up to 2262). Raises ``ValueError``."""
    if not 0 <= seconds < LATEST:
        raise ValueError(f"{seconds} s since 1970")
    return seconds


@lru_cache(4096)
def minute_of(prefix: bytes) -> int:
    """Return the seconds since 1970 of ``YYYY-MM-DDTHH:MM`` in UTC. Raises ``ValueError``."""
    return int(datetime.strptime(prefix.decode("ascii").upper() + "Z", "%Y-%m-%dT%H:%M%z").timestamp())


def time_of(text: str, observed: int, zone: tzinfo = UTC) -> int:
    """Return the nanoseconds of a time in one of ``FORMS`` at the beginning of a text, or of a number since 1970; 0 where
    there is none."""
    head = text[:LONGEST].lstrip(OPENERS)
    for form in COMPILED:
        found = form.match(head)
        if found is not None:
            nanoseconds = of_parts(found.groupdict(), observed // NANO, zone)
            if nanoseconds:
                return nanoseconds
    number = EPOCH.fullmatch(head)
    return of_number(number[0]) if number is not None else 0


def of_parts(parts: dict[str, str | None], observed: int, zone: tzinfo) -> int:
    get = parts.get
    near = 0 if get("year") else observed // NEAR_SECONDS
    minute = minutes(
        get("year"), get("name") or get("month"), get("day"), get("hour"), get("minute"), get("zone"), near, zone
    )
    if not minute:
        return 0
    fraction = get("fraction")
    return (minute + int(get("second") or 0)) * NANO + (int(fraction[:9].ljust(9, "0")) if fraction else 0)


@lru_cache(4096)
def minutes(
    year: str | None, month: str | None, day: str | None, hour: str | None, minute: str | None, written: str | None,
    near: int, zone: tzinfo,
) -> int:  # fmt: skip
    """Return the seconds since 1970 of a minute, 0 of one that cannot be. Most records of a while are of few minutes."""
    try:
        number = MONTHS.get(month or "") or int(month or 0)
        of = zone_of(written) if written else zone
        around = near * NEAR_SECONDS
        each = (int(year),) if year else years(number, int(day or 0), datetime.fromtimestamp(around, UTC).year)
        moments = [datetime(one, number, int(day or 0), int(hour or 0), int(minute or 0), tzinfo=of) for one in each]
        found = min((int(moment.timestamp()) for moment in moments), key=lambda moment: abs(moment - around))
    except (ValueError, OverflowError):
        return 0
    return found if 0 <= found < LATEST else 0


def years(month: int, day: int, around: int) -> tuple[int, ...]:
    """Return the years that a day may be of: its own, and those beside it."""
    leap = month == 2 and day == 29
    near = range(around - 4, around + 5) if leap else range(around - 1, around + 2)
    return tuple(year for year in near if not leap or calendar.isleap(year))


@lru_cache(256)
def zone_of(text: str) -> tzinfo:
    """Return the zone of ``Z``, ``UTC``, ``+02:00``, ``-0530``. Raises ``ValueError``."""
    if text in ("Z", "UTC", "GMT"):
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def of_number(number: str | float) -> int:
    """Return the nanoseconds of a number since 1970, in seconds, milli-, micro- or nanoseconds as its size tells; 0 for none
    that can be a time."""
    whole, _, rest = str(number).partition(".")
    if not whole.isdigit() or (rest and not rest.isdigit()):
        return 0
    digits = len(whole.lstrip("0"))
    for most, factor in ((11, NANO), (14, 1_000_000), (17, 1000), (19, 1)):
        if 9 <= digits <= most:
            places = len(str(factor)) - 1
            found = int(whole) * factor + int(rest[:places].ljust(places, "0") or 0)
            return found if found < LATEST * NANO else 0
    return 0


def by_format(format: str, zone: tzinfo = UTC) -> Callable[[str], int]:
    """Return what reads times of a ``strptime`` format: nanoseconds, 0 where a text is none."""

    def read(text: str) -> int:
        try:
            moment = datetime.strptime(text, format)
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
            seconds = int(moment.replace(microsecond=0).timestamp())
        except (ValueError, OverflowError):
            return 0
        return seconds * NANO + moment.microsecond * 1000 if 0 <= seconds < LATEST else 0

    return read


def written(nanoseconds: int) -> str:
    """Return a time as RFC 3339 in UTC, with nine digits of its second."""
    seconds, rest = divmod(nanoseconds, NANO)
    return f"{second_written(seconds)}.{rest:09}Z"


@lru_cache(4096)
def second_written(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
