"""``key=value key="quoted value" flag``: logfmt, as Go's loggers write it. Lines after the first stay with the text.

Values are texts; a key alone is true; of a key that comes again all values are kept, as a list.
"""

from __future__ import annotations

import re

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing.lifting import Lift
from sampan.logs.resource import Value

PAIR = re.compile(r'\s*([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"]*)(?=\s|$)))?(?=\s|$)')
LIKELY = re.compile(rb"[A-Za-z_@][\w.@/-]*=(?:\"|[^\s\"=])")
ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
HALF = re.compile("[\ud800-\udfff]")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def parse(draft: Draft, lift: Lift) -> bool:
    return parse_text(draft, lift, strict=False)


def parse_text(draft: Draft, lift: Lift, *, strict: bool) -> bool:
    """``strict``: only what has nothing but pairs, at least two."""
    head, newline, rest = draft.text.partition(b"\n")
    values = pairs(head.decode("utf-8", "replace"))
    if values is None or (strict and (len(values) < 2 or True in values.values())):
        return False
    if not any(value is not True for value in values.values()):
        return False
    lift(draft, values)
    if newline:
        draft.text = (draft.text.partition(b"\n")[0] if draft.text.startswith(head) else draft.text) + b"\n" + rest
    return True


def pairs(text: str) -> dict[str, Value] | None:
    """Return the pairs of a line, None where something in it is no pair."""
    values: dict[str, Value] = {}
    at, text = 0, text.rstrip()
    while at < len(text):
        found = PAIR.match(text, at)
        if found is None:
            return None
        key, quoted, bare = found.groups()
        value: Value = unescaped(quoted) if quoted is not None else bare if bare is not None else True
        before = values.get(key)
        if isinstance(before, list):
            before.append(value)
        else:
            values[key] = value if before is None else [before, value]
        at = found.end()
    return values or None


def unescaped(text: str) -> str:
    """Return a quoted text without its escapes. Half a character (``\\ud83d`` alone) is replaced."""
    if "\\" not in text:
        return text
    text = ESCAPE.sub(
        lambda found: chr(int(found[1][1:], 16)) if len(found[1]) > 1 else ESCAPES.get(found[1], found[1]), text
    )
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if HALF.search(text) is not None else text
