"""JSON printed over several lines: from a lone brace or bracket to the one that closes it."""

from __future__ import annotations

from sampan.logs.joining.language import INDENTED, INDENTED_MORE, Entry, Language, Step, Stretch

LANGUAGE = Language(
    "json",
    (Entry(rb"(?:\{|\[|\[\s*\{)\s*$", "body", "never", b"{["),),
    {"body": (Step(INDENTED, "body"), Step(rb"[}\]\s]+,?\s*$", "end"))},
    last=frozenset({"end"}),
    stretches={"body": Stretch(((INDENTED_MORE,),), "body")},
)
