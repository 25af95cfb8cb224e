"""Elixir and Erlang: ``** (Error) message`` with its stack, and the reports of processes that ended.
Source: Exception.format, documented forms.
"""

from __future__ import annotations

from sampan.logs.joining.language import INDENTED, INDENTED_MORE, Entry, Language, Step, Stretch

FRAME = rb"\s+\(.*\) .*:\d+: |" + INDENTED

LANGUAGE = Language(
    "elixir",
    (Entry(rb"\*\* \((?:[A-Z]\w*\.?)+\) ", "header", begins=b"*"), Entry(rb"\*\* \(EXIT", "header", begins=b"*")),
    {
        "header": (Step(FRAME, "frames"),),
        "frames": (
            Step(FRAME, "frames"),
            Step(
                rb"(?:Last message(?: \(from .*?\))?|State|Initial Call|Ancestors|Function|Start Call|Args|Client): ?",
                "frames",
            ),
        ),
    },
    stretches={"frames": Stretch(((INDENTED_MORE,),), "frames")},
)
