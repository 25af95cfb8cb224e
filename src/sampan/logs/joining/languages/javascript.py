"""Node.js and V8: stacks, properties and causes of errors, and the source line an uncaught one is printed with.
Source: Node.js's own output.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, INDENTED, LETTERS, SPACES, TEXT, Entry, Language, Step, Stretch

SOURCE_WORDS = rb"file://|node:|[A-Z]:\\|evalmachine|\[eval"
SOURCE = rb"(?:file://)?(?:/|node:|[A-Z]:\\|evalmachine|\[eval).*:\d+\s*$"
HEADER = rb"(?:Uncaught )?(?:\[?[A-Za-z_$][\w$]*(?:Error|Exception)\b|\[?Error\b)"
FRAME = rb"\s+at |\s+\.\.\. \d+ lines matching"
WARNING = rb"\(node:\d+\) "

LANGUAGE = Language(
    "javascript",
    (
        Entry(rb"/.*:\d+\s*$", "source", "never"),
        Entry(SOURCE, "source", "never", b"fneABCDEFGHIJKLMNOPQRSTUVWXYZ[", SOURCE_WORDS),
        Entry(HEADER, "header", begins=LETTERS + b"[", needs=b"Error|Exception"),
        Entry(WARNING, "warning", begins=b"("),
        Entry(rb"\s+at .+:\d+:\d+\)?", "frames", "always", SPACES),
    ),
    {
        "source": (Step(TEXT, "code"), Step(BLANK, "code")),
        "code": (Step(rb"\s*[\^~]+\s*$", "caret"), Step(TEXT, "code")),
        "caret": (
            Step(BLANK, "caret"),
            Step(HEADER, "thrown"),
            Step(rb"\[?.*(?:thrown at|\(Use `node|Thrown at)", "frames"),
            Step(TEXT, "thrown"),
        ),
        "thrown": (
            Step(FRAME, "frames"),
            Step(rb"\(Use `node", "frames"),
            Step(BLANK, "frames_gap"),
            Step(INDENTED, "frames"),
            Step(rb"[}\]]", "frames"),
            Step(TEXT, "thrown_message"),
        ),
        "thrown_message": (Step(FRAME, "frames"), Step(TEXT, "thrown_message")),
        "header": (Step(FRAME, "frames"), Step(BLANK, "message"), Step(TEXT, "message")),
        "message": (Step(FRAME, "frames"), Step(BLANK, "message"), Step(TEXT, "message")),
        "warning": (Step(FRAME, "frames"), Step(rb"\(Use `node --trace", "frames"), Step(INDENTED, "frames")),
        "frames": (
            Step(FRAME, "frames"),
            Step(INDENTED, "frames"),
            Step(rb"[}\]]+,?\s*$", "frames"),
            Step(BLANK, "frames_gap"),
            Step(rb"\(Use `node --trace|Thrown at:", "frames"),
            Step(rb"(?:\[cause\]|Caused by|From previous event): ?", "frames"),
        ),
        "frames_gap": (
            Step(rb"Node\.js v\d", "end"),
            Step(rb"\(Use `node|Thrown at:", "frames"),
            Step(BLANK, "frames_gap"),
        ),
    },
    tentative=frozenset({"source", "code", "caret", "message", "thrown_message", "frames_gap"}),
    last=frozenset({"end"}),
    stretches=dict.fromkeys(("header", "message", "frames"), Stretch(((rb"[ \t]++at ",),), "frames")),
)
