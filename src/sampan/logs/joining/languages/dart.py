"""Dart and Flutter: an unhandled exception with its numbered frames.
Source: the Dart VM's documented form.
"""

from __future__ import annotations

from sampan.logs.joining.language import TEXT, Entry, Language, Step, Stretch

FRAME = rb"#\d+\s+\S|<asynchronous suspension>|\.\.\."

LANGUAGE = Language(
    "dart",
    (
        Entry(rb"Unhandled exception:\s*$", "header", needs=b"Unhandled exception"),
        Entry(rb"#\d+\s+\S+.* \((?:file|package|dart):", "frames", "always", b"#"),
    ),
    {
        "header": (Step(FRAME, "frames"), Step(TEXT, "header_message")),
        "header_message": (Step(FRAME, "frames"), Step(TEXT, "message")),
        "message": (Step(FRAME, "frames"), Step(TEXT, "message")),
        "frames": (Step(FRAME, "frames"),),
    },
    tentative=frozenset({"message"}),
    stretches={"frames": Stretch(((rb"#\d++[ \t]++\S",),), "frames")},
)
