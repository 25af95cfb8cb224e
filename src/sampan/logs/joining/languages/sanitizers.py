"""C and C++: the reports of AddressSanitizer, LeakSanitizer, ThreadSanitizer, MemorySanitizer and UndefinedBehaviorSanitizer.
Source: compiler-rt, and the programs' own output.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, INDENTED, PATHS, TEXT, Entry, Language, Step

RULER = rb"={65}\s*$"
REPORT = rb"==\d+==\s*(?:ERROR|WARNING): \w+Sanitizer|WARNING: ThreadSanitizer"

LANGUAGE = Language(
    "sanitizers",
    (
        Entry(RULER, "ruler", "never", b"="),
        Entry(REPORT, "report", "never", b"=W", b"Sanitizer"),
        Entry(rb"\S+:\d+:\d+: runtime error: ", "undefined", "never", PATHS, b"runtime error: "),
    ),
    {
        "ruler": (Step(REPORT, "report"), Step(rb"==\d+==", "report")),
        "report": (
            Step(rb"==\d+==\s*ABORTING", "end"),
            Step(rb"SUMMARY: ", "summary"),
            Step(BLANK, "report"),
            Step(TEXT, "report"),
        ),
        "summary": (
            Step(rb"==\d+==\s*ABORTING", "end"),
            Step(rb"Shadow |=>|==\d+==|" + INDENTED, "summary"),
        ),
        "undefined": (
            Step(INDENTED, "undefined"),
            Step(rb"SUMMARY: UndefinedBehavior", "end"),
            Step(rb".*note: ", "undefined"),
        ),
    },
    tentative=frozenset({"ruler"}),
    last=frozenset({"end"}),
)
