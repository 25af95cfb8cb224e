"""Which formats there are."""

from __future__ import annotations

from collections.abc import Callable

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing import automatic, envoy, json_object, klog, logfmt
from sampan.logs.processing.parsing.lifting import Lift

Parse = Callable[[Draft, Lift], bool]


def envoy_either(draft: Draft, lift: Lift) -> bool:
    return json_object.parse(draft, lift) if draft.text[:1] == b"{" else envoy.parse(draft, lift)


FORMATS: dict[str, Parse] = {
    "auto": automatic.parse,
    "json": json_object.parse,
    "logfmt": logfmt.parse,
    "klog": klog.parse,
    "envoy": envoy_either,
}
"""And ``regex``, which has a pattern."""
