"""C# and .NET: unhandled exceptions, inner ones (``--->``) and the ends of their traces.
Source: System.Exception.ToString, documented form.
"""

from __future__ import annotations

from sampan.logs.joining.language import LETTERS, TEXT, Entry, Language, Step, Stretch

NAME = rb"(?:[A-Za-z_]\w*\.)+[A-Za-z_]\w*Exception"
HEADER = rb"(?:Unhandled exception\.? |Unhandled Exception: )?" + NAME + rb"(?: \(0x[0-9A-Fa-f]+\))?(?::.*|\s*)$"
FRAME = rb"\s+at \S|\s+--- End of |--- End of |\s+--->|\s*--- |   --- "

LANGUAGE = Language(
    "csharp",
    (
        Entry(
            rb"(?:Unhandled exception\. |Unhandled Exception: )", "header", begins=b"U", needs=b"Unhandled [eE]xception"
        ),
        Entry(HEADER, "header", begins=LETTERS, needs=b"Exception"),
    ),
    {
        "header": (Step(FRAME, "frames"), Step(TEXT, "message")),
        "message": (Step(FRAME, "frames"), Step(TEXT, "message")),
        "frames": (Step(FRAME, "frames"),),
    },
    tentative=frozenset({"message"}),
    stretches=dict.fromkeys(("header", "message", "frames"), Stretch(((rb"[ \t]++at \S",),), "frames")),
)
