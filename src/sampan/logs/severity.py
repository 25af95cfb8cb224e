"""How bad a record is, as OpenTelemetry's log data model numbers it: 1 trace, 5 debug, 9 info, 13 warn, 17 error, 21 fatal.

Source: opentelemetry-specification, logs/data-model.md ("Field: SeverityNumber") and its appendix B. A bare CRITICAL is
Python's and .NET's, the highest; syslog writes ``crit``.
"""

from __future__ import annotations

import re
from functools import lru_cache

NUMBERS = {
    **dict.fromkeys(("trace", "finest", "verbose", "v", "t", "silly"), 1),
    **dict.fromkeys(("debug", "finer", "dbg", "d", "dbug"), 5),
    "fine": 6,
    "config": 7,
    **dict.fromkeys(("info", "information", "informational", "inf", "i", "log", "http"), 9),
    **dict.fromkeys(("notice", "note"), 10),
    **dict.fromkeys(("warn", "warning", "wrn", "w"), 13),
    **dict.fromkeys(("error", "err", "severe", "e", "eror", "fail"), 17),
    **dict.fromkeys(("crit", "dpanic"), 18),
    **dict.fromkeys(("alert", "panic"), 19),
    **dict.fromkeys(("fatal", "critical", "emerg", "emergency", "f"), 21),
}
SYSLOG = (21, 19, 18, 17, 13, 10, 9, 5)
"""By RFC 5424's severities 0 to 7."""
NAMES = (
    "",
    *(f"{name}{more}" for name in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL") for more in ("", 2, 3, 4)),
)
"""Short names of the numbers."""
HEAD_BYTES = 200
UPPER = (
    rb"TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|FATAL|CRITICAL|CRIT|SEVERE|ALERT|EMERG|PANIC|FINE(?:R|ST)?|CONFIG"
)
FOUND = re.compile(
    rb"^([IWEF])\d{4} \d\d:|\b(?:level|lvl|severity)\"?\s?[=:]\s?\"?([A-Za-z]{1,13})\b|"
    rb"(?<![\w.-])(" + UPPER + rb")(?![\w-])|[\[(<|] ?([A-Za-z]{3,13}) ?[\])>|]"
)


@lru_cache(1024, typed=True)
def number_of(level: str | int | float) -> int:
    """Return the number of a level: a word, a syslog severity (0 to 7), or one of bunyan's and pino's (10 to 60); 0 for what
    is none."""
    if isinstance(level, str):
        found = NUMBERS.get(level.strip().lower())
        if found is not None:
            return found
        if not level.isascii() or not level.isdigit():
            return 0
        level = int(level)
    if isinstance(level, bool) or level != level or level < 0:
        return 0
    if level < 8:
        return SYSLOG[int(level)]
    return min(int(level) // 10, 6) * 4 - 3 if 10 <= level <= 60 else 0


def found_in(text: bytes) -> tuple[int, str]:
    """Return the number and the word of the level that stands at the beginning of a record, ``(0, "")`` where none does."""
    end = text.find(b"\n", 0, HEAD_BYTES)
    for found in FOUND.finditer(text, 0, HEAD_BYTES if end < 0 else end):
        word = found[found.lastindex or 0].decode("ascii")
        number = NUMBERS.get(word.lower(), 0)
        if number:
            return number, word
    return 0, ""
