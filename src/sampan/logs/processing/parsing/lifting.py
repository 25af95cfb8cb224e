"""Values that were parsed, into the fields of the log data model: time, level, text and trace by the names that logging
libraries give them, the rest as attributes. What cannot be understood stays an attribute: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import NamedTuple

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.paths import WRITERS
from sampan.logs.resource import Value
from sampan.logs.severity import number_of
from sampan.logs.timestamps import of_number, rfc3339, time_of

TIME = ("@timestamp", "timestamp", "time", "ts", "datetime", "asctime", "date", "t", "start_time", "Timestamp")
LEVEL = ("level", "severity", "log.level", "lvl", "levelname", "loglevel", "SeverityText", "severityText", "Level")
MESSAGE = ("message", "msg", "short_message", "event", "log", "Body", "body", "Message")
TRACE_ID = ("trace_id", "traceId", "traceID", "trace.id", "TraceId", "otelTraceID")
SPAN_ID = ("span_id", "spanId", "spanID", "span.id", "SpanId", "otelSpanID")
TRACEPARENT = ("traceparent",)


Take = Callable[[Draft, Value], bool]
MANY_PLANS = 1000
MOST_DIGITS = 18
"""Of a number that 64 bits hold for sure."""


class Names(NamedTuple):
    """Under which names what is looked for; the first that is there counts."""

    time: tuple[str, ...] = TIME
    level: tuple[str, ...] = LEVEL
    message: tuple[str, ...] = MESSAGE


class Lift:
    """``time_format``: reads times of the user's format; ``original``: the text is kept, in ``log.record.original``."""

    def __init__(
        self,
        names: Names | None = None,
        zone: tzinfo = UTC,
        time_format: Callable[[str], int] | None = None,
        original: bool = False,
    ) -> None:
        self.names, self.zone, self.original = names or Names(), zone, original
        self._format = time_format
        roles = (
            (self.names.time, self._time),
            (self.names.level, lift_level),
            (self.names.message, lift_message),
            (TRACE_ID, WRITERS["trace_id"]),
            (SPAN_ID, WRITERS["span_id"]),
            (TRACEPARENT, lift_traceparent),
        )
        self._roles = roles
        self._plans: dict[tuple[str, ...], list[tuple[Take, list[str]]]] = {}
        """Of objects with these keys, which may be what. Most streams write few kinds of objects."""

    def __call__(self, draft: Draft, values: dict[str, Value]) -> None:
        """Give the draft what was parsed of it. ``values`` is the draft's from then on."""
        before = draft.text
        keys = tuple(values)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._plan(keys)
        for take, names in plan:
            for name in names:
                if take(draft, values[name]):
                    del values[name]
                    break
        if draft.attributes:
            draft.attributes |= values
        else:
            draft.attributes = values
        if self.original:
            draft.attributes["log.record.original"] = before.decode("utf-8", "replace")

    def _plan(self, keys: tuple[str, ...]) -> list[tuple[Take, list[str]]]:
        found = [(take, [name for name in names if name in keys]) for names, take in self._roles]
        plan = [(take, names) for take, names in found if names]
        if len(self._plans) < MANY_PLANS:
            self._plans[keys] = plan
        return plan

    def _time(self, draft: Draft, value: Value) -> bool:
        if isinstance(value, str):
            if self._format is not None:
                moment = self._format(value)
            else:
                moment = rfc3339(value.encode("utf-8", "replace")) if value[10:11] == "T" else 0
                moment = moment or time_of(value, draft.observed, self.zone)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            moment = of_number(value)
        else:
            return False
        draft.time_unix_nano = moment or draft.time_unix_nano
        return bool(moment)


def number_or_text(text: str) -> int | str:
    """Return digits as a number, unless there are more of them than any output takes."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else text


def lift_level(draft: Draft, value: Value) -> bool:
    if isinstance(value, str):
        draft.severity_number, draft.severity_text = number_of(value), value
        return bool(value)
    return isinstance(value, int) and WRITERS["level"](draft, value)


def lift_message(draft: Draft, value: Value) -> bool:
    if not isinstance(value, str):
        return False
    draft.text = value.encode("utf-8", "replace")
    return True


def lift_traceparent(draft: Draft, value: Value) -> bool:
    """Take W3C's ``00-TRACE-SPAN-FLAGS``."""
    parts = value.split("-") if isinstance(value, str) else []
    if len(parts) != 4 or not WRITERS["trace_id"](draft, parts[1]) or not WRITERS["span_id"](draft, parts[2]):
        return False
    try:
        draft.flags = int(parts[3], 16) & 0xFF
    except ValueError:
        return False
    return True
