"""Kubernetes' own logs: ``Lmmdd hh:mm:ss.uuuuuu thread file:line] message``, the message also as ``"quoted" key="value" …``.

Source: k8s.io/klog, README ("Log format") and its structured form (KEP-1602).
"""

from __future__ import annotations

import re

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing.lifting import Lift, number_or_text
from sampan.logs.processing.parsing.logfmt import pairs, unescaped
from sampan.logs.resource import Value

HEADER = re.compile(rb"([IWEF])(\d{4} \d\d:\d\d:\d\d\.\d+) +(\d+) ([^\s:\]]+):(\d+)\] ?")
STRUCTURED = re.compile(r'"((?:[^"\\]|\\.)*)"((?: [^\s="]+=.*)?)$')
LEVELS = {b"I": "info", b"W": "warn", b"E": "error", b"F": "fatal"}


def parse(draft: Draft, lift: Lift) -> bool:
    header = HEADER.match(draft.text)
    if header is None:
        return False
    letter, time, thread, file, line = header.groups()
    head, newline, rest = draft.text[header.end() :].partition(b"\n")
    values: dict[str, Value] = {}
    message = head.decode("utf-8", "replace")
    structured = STRUCTURED.match(message)
    if structured is not None:
        found = pairs(structured[2]) if structured[2] else {}
        if found is not None:
            message, values = unescaped(structured[1]), found
    own: dict[str, Value] = {
        "code.file.path": file.decode("utf-8", "replace"), "code.line.number": number_or_text(line.decode()),
        "thread.id": number_or_text(thread.decode()),
    }  # fmt: skip
    names = lift.names
    values = {**values, **own}
    fields: dict[str, Value] = {names.time[0]: time.decode(), names.level[0]: LEVELS[letter], names.message[0]: message}
    lift(draft, {**{name: value for name, value in values.items() if name not in fields}, **fields})
    draft.attributes.update((name, value) for name, value in values.items() if name in fields)
    if newline:
        draft.text += b"\n" + rest
    return True
