"""Python 2.7 to 3.14: tracebacks with carets (PEP 657), exception groups (PEP 654) and notes (PEP 678), chains, syntax
errors, folded recursion, and what asyncio, threading and logging print before one. Source: Lib/traceback.py, and the
interpreters' own output.
"""

from __future__ import annotations

from sampan.logs.joining.language import (
    BLANK,
    BLANK_LINE,
    EVERY,
    INDENTED,
    NEAR,
    SPACES,
    Entry,
    Language,
    Step,
    Stretch,
)

TRACEBACK = rb".*Traceback \(most recent call last\):\s*$"
FRAME = rb'\s+File ".*", line \d+'
CHAIN = (
    rb"(?:During handling of the above exception, another exception occurred|"
    rb"The above exception was the direct cause of the following exception):\s*$"
)
PREAMBLE = (
    rb"(?:Exception ignored in|Exception in (?:thread .*:\s*$|callback|default)|--- Logging error ---|"
    rb"(?:Task|Future) exception was never retrieved|Error in (?:atexit|sys)\b|Unhandled exception in |Fatal Python error: )"
)
PREAMBLE_WORDS = b"xception (?:ignored|in|was never) |Logging error|Error in (?:atexit|sys)|Python error: "
WITHIN = rb"\s+(?![+] Exception Group )\S"
"""An indented line, but for the beginning of a group."""
DUMPED = rb"\s+(?![+] Exception Group )(?!File \".*\", line \d+\s*$)\S"
"""Frames of a dump say in which function they are; the place of a syntax error says none, and begins a record."""
GROUP_LINE = rb"\s+(?:[|]|[+](?! Exception Group ))"
WITHIN_LINE = rb"[ \t]++(?![+] Exception Group )\S"
RAISED_LINE = rb"[A-Za-z_][\w.<>]*+(?::|(?=\n))"
CHAIN_LINE = (
    rb"During handling of the above exception, another exception occurred:(?=\n)|"
    rb"The above exception was the direct cause of the following exception:(?=\n)"
)
TRACEBACK_LINE = rb"Traceback \(most recent call last\):(?=\n)"
GROUP_LINES = rb"[ \t]++(?:[|]|[+](?! Exception Group ))"

LANGUAGE = Language(
    "python",
    (
        Entry(
            rb"\s*[+|][ +|]*Exception Group Traceback \(most recent call last\):",
            "group",
            begins=b" \t+|",
            needs=b"Exception Group",
        ),
        Entry(TRACEBACK, "frames", begins=EVERY, needs=rb"Traceback \(most recent"),
        Entry(FRAME, "frames", begins=SPACES),
        Entry(PREAMBLE, "preamble", begins=b"ETF-U", needs=PREAMBLE_WORDS),
    ),
    {
        "preamble": (
            Step(TRACEBACK, "frames"),
            Step(rb"\s*[+|][ +|]*Exception Group Traceback", "group"),
            Step(
                rb"(?:future|task|handle|protocol|transport|context|message|source_traceback|object \w*): ?", "preamble"
            ),
            Step(rb"(?:Current thread|Thread) 0x", "dump"),
            Step(rb"Python runtime state: ", "preamble"),
            Step(BLANK, "preamble_gap"),
            Step(INDENTED, "preamble"),
        ),
        "preamble_gap": (Step(rb"(?:Current thread|Thread) 0x", "dump"), Step(TRACEBACK, "frames")),
        "dump": (Step(DUMPED, "dump"), Step(BLANK, "dump_gap")),
        "dump_gap": (Step(rb"(?:Current thread|Thread) 0x|Extension modules: ", "dump"),),
        "frames": (
            Step(WITHIN, "frames"),
            Step(rb"[A-Za-z_][\w.<>]*(?::|\s*$| \[)", "raised"),
            Step(rb"\S+:\d+:in ", "raised"),
            Step(BLANK, "frames_gap"),
        ),
        # a source line may be blank, and so may be a line of a message
        "frames_gap": (Step(FRAME, "frames"),),
        "raised": (
            Step(BLANK, "gap"),
            Step(INDENTED, "raised"),
            Step(rb"Call stack:|Message: |Arguments: ", "raised"),
            Step(NEAR, "raised"),
        ),
        "gap": (Step(CHAIN, "chained"), Step(BLANK, "gap")),
        "chained": (
            Step(BLANK, "chained"),
            Step(TRACEBACK, "frames"),
            Step(rb"\s*[+|][ +|]*Exception Group Traceback", "group"),
            Step(FRAME, "frames"),
        ),
        "group": (Step(GROUP_LINE, "group"), Step(BLANK, "gap")),
    },
    tentative=frozenset({"preamble_gap", "dump_gap", "frames_gap", "gap"}),
    stretches={
        "frames": Stretch(
            ((WITHIN_LINE,), (RAISED_LINE, BLANK_LINE, CHAIN_LINE, BLANK_LINE, TRACEBACK_LINE)), "frames"
        ),
        "group": Stretch(((GROUP_LINES,),), "group"),
    },
)
