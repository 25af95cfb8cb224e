"""The times a schedule matches: days, zones, changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.cron import last_until, next_after, parse

NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-31T23:50:10", "2026-02-01T00:00:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 12 13 * fri", "2026-01-10T00:00:00", "2026-01-13T12:00:00"),
        ("0 12 * * fri", "2026-01-10T00:00:00", "2026-01-16T12:00:00"),
        ("0 12 */10 * fri", "2026-01-03T00:00:00", "2026-01-09T12:00:00"),
        ("0 12 */10 * fri", "2026-01-09T13:00:00", "2026-01-11T12:00:00"),
        ("0 12 */1 * fri", "2026-01-10T00:00:00", "2026-01-16T12:00:00"),
        ("@monthly", "2026-01-01T00:00:00", "2026-02-01T00:00:00"),
        ("30 4 1,15 * *", "2026-01-01T04:30:00", "2026-01-15T04:30:00"),
        ("@every 1h30m", "2026-01-01T00:00:10", "2026-01-01T01:30:10"),
    ],
)
def test_the_next_time(schedule: str, after: str, expected: str) -> None:
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert next_after(parse(schedule), moment) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_a_day_that_never_comes() -> None:
    assert next_after(parse("0 0 31 2 *"), datetime(2026, 1, 1, tzinfo=UTC)) is None


def test_an_hour_that_is_left_out_does_not_come() -> None:
    before = datetime(2026, 3, 7, 12, 0, tzinfo=NEW_YORK)
    found = next_after(parse("30 2 * * *"), before)
    assert found == datetime(2026, 3, 9, 2, 30, tzinfo=NEW_YORK)


def test_an_hour_that_comes_twice_matches_twice() -> None:
    first = next_after(parse("30 1 * * *"), datetime(2026, 10, 31, 12, 0, tzinfo=NEW_YORK))
    assert first is not None and first.astimezone(UTC) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)
    second = next_after(parse("30 1 * * *"), first)
    assert second is not None and second.astimezone(UTC) == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)


@given(
    st.sampled_from(["*/7 * * * *", "5 */3 * * 1-5", "0 0 1 * *", "@every 90s", "59 23 31 12 *"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.integers(1, 10 * 24 * 3600),
)
def test_the_last_time_is_one_of_the_next_times(schedule: str, begin: datetime, seconds: int) -> None:
    start = begin.replace(microsecond=0, tzinfo=UTC)
    end = start + timedelta(seconds=seconds)
    last = last_until(parse(schedule), end, start)
    if last is None:
        after = next_after(parse(schedule), start)
        assert after is None or after > end
    else:
        assert start < last <= end
        after = next_after(parse(schedule), last)
        assert after is None or after > end
