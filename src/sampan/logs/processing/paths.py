"""Names of what a record has: ``text``, ``level``, ``severity``, ``time``, ``trace_id``, ``span_id``, ``event``, labels of
its stream, ``attributes.NAME``, or ``NAME`` alone for an attribute. A name with dots is a key as it stands first, and a way
into objects else.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sampan.logs.processing.draft import Draft
from sampan.logs.resource import Value
from sampan.logs.severity import NAMES, number_of
from sampan.logs.timestamps import of_number, time_of, written

STREAM = frozenset(("namespace", "pod", "pod_uid", "container", "restart", "node", "image", "file", "stream"))
HEX = {"trace_id": 32, "span_id": 16}
PREFIX = "attributes."


def reader(name: str) -> Callable[[Draft], Value]:
    """Return what reads a name of a draft; None where there is no such thing."""
    if name in STREAM or name.startswith("labels."):
        return lambda draft: draft.labels.values.get(name)
    if name in READERS:
        return READERS[name]
    key = name.removeprefix(PREFIX)
    return lambda draft: found(draft.attributes, key)


READERS: dict[str, Callable[[Draft], Value]] = {
    "text": lambda draft: draft.text.decode("utf-8", "replace"),
    "level": lambda draft: draft.severity_text or None,
    "severity": lambda draft: draft.severity_number or None,
    "time": lambda draft: written(draft.time_unix_nano) if draft.time_unix_nano else None,
    "trace_id": lambda draft: draft.trace_id or None,
    "span_id": lambda draft: draft.span_id or None,
    "event": lambda draft: draft.event_name or None,
}


def found(values: Any, key: str) -> Value:
    """Return what stands at a key, as it is or as a way into objects."""
    if not isinstance(values, dict):
        return None
    if key in values:
        return values[key]  # type: ignore[no-any-return]
    at = key.find(".")
    while at > 0:
        inner = found(values.get(key[:at]), key[at + 1 :])
        if inner is not None:
            return inner
        at = key.find(".", at + 1)
    return None


def taken(values: Any, key: str) -> bool:
    """Take out what stands at a key; return whether there was something. An object that is empty then goes too."""
    if not isinstance(values, dict):
        return False
    if key in values:
        del values[key]
        return True
    at = key.find(".")
    while at > 0:
        inner = values.get(key[:at])
        if taken(inner, key[at + 1 :]):
            if not inner:
                del values[key[:at]]
            return True
        at = key.find(".", at + 1)
    return False


def writer(name: str) -> Callable[[Draft, Value], bool]:
    """Return what writes a value to a name: False where it cannot be that."""
    if name in WRITERS:
        return WRITERS[name]
    key = name.removeprefix(PREFIX)

    def write(draft: Draft, value: Value) -> bool:
        draft.attributes[key] = value
        return True

    return write


def write_text(draft: Draft, value: Value) -> bool:
    draft.text = (value if isinstance(value, str) else str(value)).encode("utf-8", "replace")
    return True


def write_level(draft: Draft, value: Value) -> bool:
    """Take a level: a word or a number."""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        return False
    draft.severity_number = number_of(value)
    draft.severity_text = value if isinstance(value, str) else NAMES[draft.severity_number] or str(value)
    return True


def write_severity(draft: Draft, value: Value) -> bool:
    """Take a number of OpenTelemetry's."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 24:
        return False
    draft.severity_number, draft.severity_text = value, draft.severity_text or NAMES[value]
    return True


def write_time(draft: Draft, value: Value) -> bool:
    if isinstance(value, str):
        moment = time_of(value, draft.observed)
    else:
        moment = of_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0
    draft.time_unix_nano = moment or draft.time_unix_nano
    return bool(moment)


def write_event(draft: Draft, value: Value) -> bool:
    draft.event_name = value if isinstance(value, str) else draft.event_name
    return isinstance(value, str)


def write_hex(name: str) -> Callable[[Draft, Value], bool]:
    digits, length = re.compile(r"[0-9a-f]+"), HEX[name]

    def write(draft: Draft, value: Value) -> bool:
        if not isinstance(value, str):
            return False
        text = value.lower() if len(value) == length else value.replace("-", "").lower()
        if len(text) != length or not digits.fullmatch(text) or not text.strip("0"):
            return False
        setattr(draft, name, text)
        return True

    return write


WRITERS: dict[str, Callable[[Draft, Value], bool]] = {
    "text": write_text,
    "level": write_level,
    "severity": write_severity,
    "time": write_time,
    "event": write_event,
    "trace_id": write_hex("trace_id"),
    "span_id": write_hex("span_id"),
}
