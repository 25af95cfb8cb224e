"""What lines look like: the beginning of a record of a log, a line that says all is well, one that cannot stand alone."""

from __future__ import annotations

import re

LEVEL = (
    rb"TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|FATAL|CRIT(?:ICAL)?|SEVERE|ALERT|EMERG|PANIC|"
    rb"trace|debug|info|notice|warn(?:ing)?|error|fatal|critical"
)
PREFIX = re.compile(
    rb"[\[(<]?(?:\d{4}[-/]\d\d[-/]\d\d|\d\d:\d\d:\d\d|\d\d/[A-Z]?[a-z0-9]{2,3}/\d{2,4})|"
    rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d|[IWEF]\d{4} \d\d:|"
    rb"\[?(?:" + LEVEL + rb")[\]: \t(]|(?:time|level|ts|t|lvl|severity)=|\{\"|<\d+>\d? ?|\d+\.\d+\.\d+\.\d+ "
)
"""How lines of a log begin that say when, or how bad."""
CALM, CALM_LOWER = rb"INFO DEBUG TRACE NOTICE FINE FINER FINEST CONFIG VERBOSE", rb"info debug trace notice"
HARMLESS = re.compile(
    b"|".join(
        [
            *(rb"%b\b(?<=\b%b)" % (word, word) for word in CALM.split()),
            *(
                rb"%b\"?[=:] ?\"?(?:%b)" % (key, CALM_LOWER.replace(b" ", b"|"))
                for key in (b"level", b"lvl", b"severity")
            ),
            rb"I(?<=^I)\d{4} ",
            rb"\[(?:%b)\]" % CALM_LOWER.replace(b" ", b"|"),
        ]
    )
)
"""Each way begins with a letter of its own: so a search goes from letter to letter."""
HARMLESS_BYTES = 160
BULLET = re.compile(rb"\s+[*>-] ")
CLOSER = re.compile(rb"[}\])]+[;,]?\s*$")
OPENER = re.compile(rb"[{\[(]\s*$")
NEAR_NANOSECONDS = 1_000_000


def near(earlier: bytes, later: bytes) -> bool:
    """Whether two times of RFC 3339 in one zone are within a millisecond."""
    if not earlier or earlier[:19] != later[:19]:
        return False
    first, second = (int(time[20:].rstrip(b"Z").ljust(9, b"0")[:9] or b"0") for time in (earlier, later))
    return second - first < NEAR_NANOSECONDS
