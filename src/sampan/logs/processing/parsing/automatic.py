"""The format by the text's first bytes: JSON, klog, Envoy's access log, logfmt; of other texts the time and the level at
their beginning are taken, and the text stays as it is.
"""

from __future__ import annotations

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing import envoy, json_object, klog, logfmt
from sampan.logs.processing.parsing.lifting import Lift
from sampan.logs.severity import found_in
from sampan.logs.timestamps import time_of

HEAD_BYTES = 64


def parse(draft: Draft, lift: Lift) -> bool:
    text = draft.text
    first = text[:1]
    if first == b"{" or first.isspace():
        if json_object.parse(draft, lift):
            return True
    elif first == b"[":
        if envoy.START.match(text) is not None and envoy.parse(draft, lift):
            return True
    elif first in (b"I", b"W", b"E", b"F") and klog.parse(draft, lift):
        return True
    if logfmt.LIKELY.match(text) is not None and logfmt.parse_text(draft, lift, strict=True):
        return True
    return beginning(draft, lift)


def beginning(draft: Draft, lift: Lift) -> bool:
    number, word = found_in(draft.text)
    moment = time_of(draft.text[:HEAD_BYTES].decode("utf-8", "replace"), draft.observed, lift.zone)
    if number:
        draft.severity_number, draft.severity_text = number, word
    if moment:
        draft.time_unix_nano = moment
    return bool(number or moment)
