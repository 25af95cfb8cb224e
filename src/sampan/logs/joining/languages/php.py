"""PHP 5 to 8: fatal errors with their stack trace, chained exceptions (``Next``) and Xdebug's table of calls.
Source: main/main.c and Zend/zend_exceptions.c, documented forms.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, TEXT, Entry, Language, Step, Stretch

LEVEL = (
    rb"(?:PHP )?(?:Fatal error|Parse error|Recoverable fatal error|Catchable fatal error|Warning|Notice|Deprecated): "
)
HEADER = rb"(?:\[[^\]]+\] )?(?:NOTICE: PHP message: )?" + LEVEL
WORDS = b"atal error: |Parse error: |Warning: |Notice: |Deprecated: "
FRAME = rb"#\d+ "

LANGUAGE = Language(
    "php",
    (
        Entry(HEADER, "header", begins=b"PFRCWND[", needs=WORDS),
        Entry(rb"(?:PHP )?Stack trace:\s*$", "trace", "always", b"PS", b"Stack trace:"),
    ),
    {
        "header": (Step(rb"(?:PHP )?Stack trace:", "trace"), Step(BLANK, "message"), Step(TEXT, "message")),
        "message": (Step(rb"(?:PHP )?Stack trace:", "trace"), Step(BLANK, "message"), Step(TEXT, "message")),
        "trace": (
            Step(FRAME + rb"|(?:PHP )?\s+\d+\. ", "trace"),
            Step(rb"\s+thrown in ", "end"),
            Step(rb"Next ", "header"),
            Step(BLANK, "trace_gap"),
        ),
        "trace_gap": (Step(rb"Next ", "header"),),
    },
    tentative=frozenset({"message", "trace_gap"}),
    last=frozenset({"end"}),
    stretches={"trace": Stretch(((rb"#\d++ ",),), "trace")},
)
