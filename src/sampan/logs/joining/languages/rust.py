"""Rust: panics with and without a backtrace, in the forms before and after 1.73.
Source: library/std/src/panicking.rs, and the programs' own output.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, INDENTED, INDENTED_MORE, TEXT, Entry, Language, Step, Stretch

HEADER = rb"thread '.*' (?:\(\d+\) )?panicked at "
NOTE = rb"note: (?:run with|Some details|[Rr]un with)"
BACKTRACE = rb"stack backtrace:"

LANGUAGE = Language(
    "rust",
    (Entry(HEADER, "header", needs=b"panicked at "),),
    {
        # the message is a line of its own since 1.73, and may have several
        "header": (Step(NOTE, "end"), Step(BACKTRACE, "frames"), Step(BLANK, "message"), Step(TEXT, "message")),
        "message": (Step(NOTE, "end"), Step(BACKTRACE, "frames"), Step(BLANK, "more"), Step(TEXT, "more")),
        "more": (Step(NOTE, "end"), Step(BACKTRACE, "frames"), Step(BLANK, "more"), Step(TEXT, "more")),
        "frames": (Step(INDENTED, "frames"), Step(NOTE, "end")),
    },
    tentative=frozenset({"more"}),
    last=frozenset({"end"}),
    stretches={"frames": Stretch(((INDENTED_MORE,),), "frames")},
)
