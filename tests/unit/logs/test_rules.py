"""Users' rules join as the programs whose options they have; what cannot be is refused with its field."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sampan.logs.assembling import Assembler
from sampan.logs.joining import Limits, Record
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.following import Following
from sampan.logs.rules.file import joiner_for, parse_rules
from sampan.logs.rules.joiner import RuleJoiner
from sampan.logs.rules.rule import RuleError, rule_of


def joined(options: dict[str, object], *lines: str) -> list[str]:
    joiner = RuleJoiner(rule_of("r", options, "multiline"))
    return texts(joiner, *lines)


def texts(joiner: RuleJoiner, *lines: str) -> list[str]:
    for line in lines:
        joiner.take(b"", line.encode())
    joiner.flush("end")
    return [record.text.decode() for record in joiner.done]


@pytest.mark.parametrize(
    ("negate", "match", "lines", "records"),
    [  # the four of Filebeat's table, pattern ^b
        (False, "after", "a b b c b b", ["a\nb\nb", "c\nb\nb"]),
        (False, "before", "b b a b b c", ["b\nb\na", "b\nb\nc"]),
        (True, "after", "b a c b d e", ["b\na\nc", "b\nd\ne"]),
        (True, "before", "a c b d e b", ["a\nc\nb", "d\ne\nb"]),
    ],
)
def test_filebeats_table(negate: bool, match: str, lines: str, records: list[str]) -> None:
    assert joined({"pattern": "^b", "negate": negate, "match": match}, *lines.split()) == records


def test_other_kinds() -> None:
    assert joined({"type": "count", "count_lines": 2}, "a", "b", "c") == ["a\nb", "c"]
    assert joined({"type": "while_pattern", "pattern": "^{"}, "{a", "{b", "x", "{c") == ["{a\n{b", "x", "{c"]
    flush = {"pattern": "^s", "negate": True, "match": "after", "flush_pattern": "^e"}
    assert joined(flush, "s", "1", "e", "x", "s") == ["s\n1\ne", "x", "s"]
    ours = {"start": "^BEGIN", "continue": "^ ", "end": "^END"}
    assert joined(ours, "x", "BEGIN", " 1", "END", " 2", "BEGIN", "y") == [
        "x", "BEGIN\n 1\nEND", " 2", "BEGIN", "y",
    ]  # fmt: skip


CLASSIC = r"""
[PARSER]
    name other
[MULTILINE_PARSER]
    name          java-like
    type          regex
    flush_timeout 1000
    # a comment
    rule "start_state" "/^(Dec|Nov) \d+ (.*)/" "cont"
    rule "cont"        "/^\s+at.*/"            "cont"
"""
YAML = r"""
multiline_parsers:
- name: java-like
  type: regex
  flush_timeout: 1000
  rules:
  - {state: start_state, regex: '/^(Dec|Nov) \d+ (.*)/', next_state: cont}
  - {state: cont, regex: '/^\s+at.*/', next_state: cont}
"""


@pytest.mark.parametrize("text", [CLASSIC, YAML])
def test_fluent_bit(text: str) -> None:
    [rule] = parse_rules(text)
    assert (rule.name, rule.timeout_seconds) == ("java-like", 1.0)
    records = texts(RuleJoiner(rule), "x", "Dec 14 oops", "  at a", "  at b", "y", "  at c", "Nov 1 z")
    assert records == ["x", "Dec 14 oops\n  at a\n  at b", "y", "  at c", "Nov 1 z"]


def test_filebeat_inputs() -> None:
    rules = parse_rules(
        r"""
        filebeat.inputs:
        - {type: log, paths: [/var/log/a*.log], multiline.pattern: '^\[', multiline.negate: true, multiline.match: after}
        - type: filestream
          id: b
          paths: [/var/log/b.log]
          parsers: [{multiline: {type: count, count_lines: 3}}]
        - {type: log, paths: [/none]}
        - {id: c, max_bytes: 2048, paths: [/var/log/containers/web-*_shop_*.log], multiline: {pattern: '^S'}}
        """
    )
    assert [(rule.name, rule.path, rule.max_bytes) for rule in rules] == [
        ("input-0", "/var/log/a*.log", 0), ("b", "/var/log/b.log", 0), ("c", "/var/log/containers/web-*_shop_*.log", 2048),
    ]  # fmt: skip
    # a rule for the kubelet's links is one for what they lead to
    assert joiner_for(rules, "/var/log/pods/shop_web-1_0b1c/main/3.log")().kind == "c"
    assert joiner_for(rules, "/var/log/pods/other_web-1_0b1c/main/3.log")().kind == ""
    joiner = joiner_for(rules, "/var/log/apple.log")()
    assert isinstance(joiner, RuleJoiner)
    assert texts(joiner, "[a", "b", "[c") == ["[a\nb", "[c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: [{name: a, multiline: {pattern: '('}}]", r"rules\[0\].multiline.pattern: .* is no pattern of RE2"),
        ("rules: [{name: a, multiline: {pattern: x, match: around}}]", "multiline.match: after or before is wanted"),
        ("rules: [{name: a, multiline: {pattern: x, wrong: 1}}]", "multiline.wrong: there is no such option"),
        ("rules: [{name: a, multiline: {type: count}}]", "count_lines: a number of lines"),
        ("rules: [{name: a, multiline: {pattern: x, timeout: soon}}]", "timeout: a time like 5s"),
        ("multiline_parsers: [{name: a, rules: []}]", "no rule is of start_state"),
        ("{", "no YAML"),
    ],
)
def test_what_cannot_be_says_where(text: str, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        parse_rules(text)


def test_a_catastrophic_pattern_is_linear() -> None:
    """With a backtracking engine this would not end within the life of the machine."""
    assert joined({"pattern": "^(a+)+$", "negate": True, "match": "after"}, "a" * 5000 + "!") == ["a" * 5000 + "!"]


def test_over_the_limits_nothing_is_cut_off() -> None:
    rule = rule_of("r", {"pattern": "^ ", "match": "after", "max_lines": 3}, "multiline")
    joiner = RuleJoiner(rule, Limits(bytes=1000))
    assert "\n".join(texts(joiner, "a", *[f" {n}" for n in range(7)])) == "\n".join(["a", *[f" {n}" for n in range(7)]])
    assert [record.part for record in joiner.done] == [0, 1, 2]
    assert len({record.id for record in joiner.done}) == 1


def test_a_restart_changes_nothing() -> None:
    rule = rule_of("r", {"start": "^S", "end": "^E"}, "multiline")
    lines = ["S", "1", "E", "x", "S", "2", "S", "E"]
    whole = RuleJoiner(rule)
    texts(whole, *lines)
    for at in range(len(lines)):
        records: list[Record] = []
        first, second = RuleJoiner(rule), RuleJoiner(rule)
        for line in lines[:at]:
            first.take(b"", line.encode())
        records += first.done
        second.restore(first.save())
        texts(second, *lines[at:])
        assert records + second.done == whole.done


def test_what_was_held_is_taken_by_another_rule_after_a_restart() -> None:
    rule = rule_of("r", {"pattern": "^S", "negate": True, "match": "after"}, "multiline")
    before, after = Assembler(), Assembler(lambda: RuleJoiner(rule))
    before.feed([(b"", b"", b"F", b"S 1")])
    after.restore(before.save())
    found = after.feed([(b"", b"", b"F", b"more")]) + after.flush("end")
    assert [record.text for _, record in found] == [b"S 1\nmore"]


async def test_a_record_ends_after_its_rules_timeout(tmp_path: Path) -> None:
    """Of two files with rules, to which nothing comes for three seconds: one second is over, five are not."""
    for name in ("short", "long"):
        (tmp_path / f"{name}.log").write_text("S 1\nmore\n")
    rules = parse_rules(
        "rules: [{name: a, path: '*/short.log', multiline: {start: '^S', timeout: 1s}},"
        " {name: b, path: '*/long.log', multiline: {start: '^S', timeout: 5s}}]"
    )
    following = Following(Roots([str(tmp_path)]), make_joiner=lambda path: joiner_for(rules, path), settling_seconds=0)
    following.scan()
    assert [records for _, records in following.read()] == [[], []]
    for file in following.files.values():
        file.changed_at -= 3
    ended = [(Path(file.path).name, records) for file, records in following.quiet(60.0)]
    assert [(name, record.text, record.why) for name, records in ended for _, record in records] == [
        ("short.log", b"S 1\nmore", "timeout"),
    ]  # fmt: skip
    assert [(record.text, record.why) for _, records in following.finish() for _, record in records] == [
        (b"S 1\nmore", "end")
    ]
    following.close()


def test_what_explain_prints_is_a_rule(tmp_path: Path) -> None:
    log, rules = tmp_path / "a.log", tmp_path / "rules.yaml"
    plain = "".join(f"2026-11-30 10:00:{n:02d} INFO order {n}\n" for n in range(40))
    log.write_text(plain + "2026-11-30 10:00:41 ERROR oh\nwhatever this is\n" + plain)
    sampan = [sys.executable, "-m", "sampan.cli.main", "logs"]
    shown = subprocess.run([*sampan, "explain", str(log)], capture_output=True, text=True, check=True).stdout
    assert "2 lines, joined by learned; ended because the next record begins" in shown
    rules.write_text(shown[shown.index("rules:\n") :])
    word = [*sampan, "join", "--rules", str(rules), "--rule", "learned", str(log)]
    done = subprocess.run(word, capture_output=True, text=True, check=True).stdout
    assert '"text":"2026-11-30 10:00:41 ERROR oh\\nwhatever this is"' in done
    assert len(done.splitlines()) == 81
