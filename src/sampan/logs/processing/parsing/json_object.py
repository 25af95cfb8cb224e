"""A JSON object, on one line or several. Lines after it (a trace that a library prints below) stay with the text."""

from __future__ import annotations

import orjson

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing import envoy
from sampan.logs.processing.parsing.lifting import Lift


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
    if not isinstance(values, dict):
        return False
    if values.keys() >= envoy.KNOWN_BY:
        return envoy.from_json(draft, lift, values)
    lift(draft, values)
    if rest:
        draft.text = (draft.text if draft.text is not text else head) + b"\n" + rest
    return True
