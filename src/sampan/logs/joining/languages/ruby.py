"""Ruby 1.9 to 3.4: ``file:line:in method: message (Class)`` with its callers, causes, and the order of 2.5 to 2.7 (last
call first). Source: error.c, documented forms.
"""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, INDENTED, NEAR, PATHS, SPACES, Entry, Language, Step, Stretch

PLACE = rb"\S+:\d+:in [`'\"]"
HEADER = rb"\S+:\d+:in [`'\"].*?['\"]: "
FROM = rb"\s+(?:\d+: )?from \S+:\d+|\s+\d+: from |\s+\.\.\. \d+ levels"

LANGUAGE = Language(
    "ruby",
    (
        Entry(HEADER, "header", begins=PATHS, needs=rb":\d+:in "),
        Entry(rb"\s+(?:\d+: )?from \S+:\d+:in ", "frames", "always", SPACES),
    ),
    {
        "header": (
            Step(FROM, "frames"),
            Step(rb"\S.*\((?:[A-Z]\w*(?:::)?)+\)\s*$", "header"),
            Step(INDENTED, "header"),
            Step(BLANK, "gap"),
        ),
        "frames": (Step(FROM, "frames"), Step(NEAR + HEADER, "header")),
        "gap": (Step(rb".*\^", "header"), Step(FROM, "frames"), Step(INDENTED, "header")),
    },
    tentative=frozenset({"gap"}),
    stretches=dict.fromkeys(("header", "frames"), Stretch(((rb"[ \t]++from \S+:\d",),), "frames")),
)
