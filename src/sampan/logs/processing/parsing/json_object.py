"""A JSON object, on one line or several. Lines after it (a trace that a library prints below) stay with the text."""

from __future__ import annotations

import orjson

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing import envoy
from sampan.logs.processing.parsing.lifting import Lift
from sampan.logs.resource import Value

DEEP = 100
"""Objects within objects that nobody writes, and that an output may be unable to."""


def is_deep(value: Value, left: int = DEEP) -> bool:
    if not left:
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(is_deep(each, left - 1) for each in inner if isinstance(each, dict | list))


def parse(draft: Draft, lift: Lift) -> bool:
    text, rest = draft.text, b""
    if text.lstrip()[:1] != b"{":
        return False
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError:
        head, newline, rest = text.partition(b"\n")
        if not newline:
            return False
        try:
            values = orjson.loads(head)
        except orjson.JSONDecodeError:
            return False
    if not isinstance(values, dict) or (text.count(b"{") + text.count(b"[") > DEEP and is_deep(values)):
        return False
    if values.keys() >= envoy.KNOWN_BY:
        return envoy.from_json(draft, lift, values)
    lift(draft, values)
    if rest:
        draft.text = (draft.text if draft.text is not text else head) + b"\n" + rest
    return True
