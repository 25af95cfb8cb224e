"""Lines made to be slow: whatever is asked of a line, by whatever rule, takes time in proportion to its length.

There is no clock here: on lines of this length a pattern that backtracks, or a list that is copied for each of its items,
would not end while anybody waits.
"""

from __future__ import annotations

import pytest
import yaml

from sampan.logs.account import Account
from sampan.logs.configuration import configuration_of
from sampan.logs.joining import Joiner, Record
from sampan.logs.log_record import Labels, log_record
from sampan.logs.rules.joiner import RuleJoiner
from sampan.logs.rules.rule import rule_of

LENGTH = 100_000
UNITS = (
    b" ", b"a", b"1", b":", b":1", b"a:1:in `", b"a.", b"(", b"]", b'"', b"\\", b'\\"', b"=", b"a=b ", b'a="',
    b"a ", b"  at a(b", b"+|", b" +", b"| ", b"2026-11-30 ", b"ERROR ", b"[a] ", b'File "a", line 1', b"a::",
    b"#0 0x1 ", b"Exception: ", b"\0", b"\xff", b"eyJ", b"x://a:", b"a@", b"password=",
    b"-----BEGIN A PRIVATE KEY-----", b"4111 ", b"C-1", b"{", b'{"a":', b"[1,",
)  # fmt: skip
HEADS = (
    b"",
    b'{"a":',
    b'[2026-11-30T10:00:00.0Z] "',
    b'I1130 10:00:00.000000 1 a.go:1] "',
    b"a=b c=",
    b"java.lang.X: ",
    b'  File "',
)
OPEN = (
    [b"INFO a"], [b"Traceback (most recent call last):", b'  File "a", line 1'], [b"panic: x", b"", b"goroutine 1:"],
    [b"java.lang.X: a", b"\tat a.b(C.java:1)"],
)  # fmt: skip
CONFIGS = (
    "[{parse: auto}, {redact: {secrets: [default, email, ipv4], patterns: {own: '(C-(\\d+)*)+x'}}}]",
    "[{parse: logfmt}]",
    "[{parse: {format: regex, pattern: '^(?P<a>(a+)+)(b|c)*$'}}]",
    '[{parse: envoy}, {filter: {drop: {expression: \'text.matches("^(a|aa)+$") || text.contains("x")\'}}}]',
)


def lines() -> list[bytes]:
    return [head + unit * (LENGTH // len(unit)) for head in HEADS for unit in UNITS]


@pytest.mark.parametrize("number", range(len(OPEN)))
def test_joining(number: int) -> None:
    for line in lines():
        joiner = Joiner()
        for before in OPEN[number]:
            joiner.take(b"", before)
        joiner.take(b"", line)
        joiner.take(b"", line[:1000])
        joiner.flush("end")
        held = b"\n".join(record.text for record in joiner.done if isinstance(record, Record))
        assert held == b"\n".join([*OPEN[number], line, line[:1000]])


@pytest.mark.parametrize("config", CONFIGS)
def test_processing(config: str) -> None:
    pipeline = configuration_of({"processing": yaml.safe_load(config)}).pipeline
    for line in lines():
        for delivery in pipeline.process(Labels({}), [Record(b"", line, 1, "", "next")], 10**18, Account()):
            log_record(delivery)


@pytest.mark.parametrize(
    "options",
    [
        {"pattern": "^(a+)+$", "negate": True, "match": "after"},
        {"pattern": "(.*)*x(.*)*y", "match": "before"},
        {"start": "^(a|aa)+$", "continue": "(\\s*)*;", "end": "(a?){50}a{50}$"},
    ],
)
def test_rules_of_users(options: dict[str, object]) -> None:
    joiner = RuleJoiner(rule_of("hostile", options, "multiline"))
    for line in (b"a" * LENGTH + b"!", b" " * LENGTH, b"x" * LENGTH):
        joiner.take(b"", line)
    joiner.flush("end")
    assert sum(record.lines for record in joiner.done) == 3
