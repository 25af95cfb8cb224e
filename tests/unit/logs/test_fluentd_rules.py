"""Fluentd's ``concat`` and ``detect_exceptions``: read in both syntaxes, joined as they join, refused where we cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.logs.rules.file import joiner_for, joiner_of, parse_rules
from sampan.logs.rules.fluentd import tag_pattern
from sampan.logs.rules.rule import RuleError, rule_of

CORPUS = Path(__file__).parent / "corpus"
CLASSIC = r"""
<source>
  @type tail
  path /var/log/containers/*.log, /var/log/app.log   
  tag kubernetes.*
  <parse>
    @type cri
  </parse>
</source>
<label @K8S>
  <filter kubernetes.**>
    @type concat
    key message
    use_partial_cri_logtag true
    partial_cri_logtag_key logtag
  </filter>
  <filter kubernetes.var.log.containers.**>
    @type concat
    @id starts
    key log
    multiline_start_regexp /^START/
    multiline_end_regexp "/END$/"
    flush_interval 2s
    timeout_label "@NORMAL"
    separator ""
    buffer_limit 512k
  </filter>
  # traces of what is in no container
  <match kubernetes.var.log.app.log>
    @type detect_exceptions
    languages java, python
    multiline_flush_interval 0.5
    max_lines 200
  </match>
</label>
"""
YAML = r"""
config:
- source: {$type: tail, path: "/var/log/containers/*.log, /var/log/app.log", tag: kubernetes.*, parse: {$type: cri}}
- label:
    $name: "@K8S"
    config:
    - filter: {$type: concat, $tag: kubernetes.**, key: message, use_partial_cri_logtag: true}
    - filter:
        $type: concat
        $id: starts
        $tag: kubernetes.var.log.containers.**
        key: log
        multiline_start_regexp: /^START/
        multiline_end_regexp: /END$/
        flush_interval: 2s
        separator: ""
        buffer_limit: 512k
    - match:
        {$type: detect_exceptions, $tag: kubernetes.var.log.app.log, languages: [java, python], max_lines: 200,
         multiline_flush_interval: 0.5}
"""


def joined(text: str, *lines: str) -> list[str]:
    [rule] = parse_rules(text)
    joiner = joiner_of(rule)
    for line in lines:
        joiner.take(b"", line.encode())
    joiner.flush("end")
    return [record.text.decode() for record in joiner.done]  # type: ignore[union-attr]


@pytest.mark.parametrize("text", [CLASSIC, YAML])
def test_a_configuration(text: str) -> None:
    concat, traces = parse_rules(text)
    assert (concat.name, concat.path, concat.timeout_seconds, concat.max_bytes) == (
        "starts", "/var/log/containers/*.log", 2.0, 512 * 1024,
    )  # fmt: skip
    assert (traces.name, traces.path, traces.timeout_seconds, traces.max_lines, traces.languages) == (
        "kubernetes.var.log.app.log", "/var/log/app.log", 0.5, 200, ("java", "python"),
    )  # fmt: skip
    assert joiner_for([concat, traces], "/var/log/containers/a_b_c-1.log")().kind == "starts"
    assert joiner_for([concat, traces], "/var/log/other.log")().kind == ""


def of(*options: str) -> str:
    return "\n".join(["<filter **>", "@type concat", "key log", *options, "</filter>"])


@pytest.mark.parametrize(
    ("options", "lines", "records"),
    [
        (["n_lines 2"], "a b c", ["a\nb", "c"]),
        (["multiline_start_regexp /^s/"], "x s1 a b s2 s3", ["x", "s1\na\nb", "s2", "s3"]),
        (["multiline_start_regexp /^s/", "multiline_end_regexp /e$/"], "x s a e y se z", ["x", "s\na\ne", "y", "se", "z"]),
        (["multiline_start_regexp /^s/", "continuous_line_regexp /^c/"], "s c c x c s c", ["s\nc\nc", "x", "c", "s\nc"]),
        (["multiline_end_regexp /;$/"], "a b; c; d", ["a\nb;", "c;", "d"]),
        (["continuous_line_regexp /^c/"], "a c c b c", ["a\nc\nc", "b", "c"]),
        (["multiline_start_regexp /^S/i"], "s a S", ["s\na", "S"]),
    ],
)  # fmt: skip
def test_concat_joins(options: list[str], lines: str, records: list[str]) -> None:
    assert joined(of(*options), *lines.split()) == records


def test_detect_exceptions_joins_the_traces_of_its_languages_only() -> None:
    text = "<match **>\n@type detect_exceptions\nlanguages {}\n</match>"
    java = (CORPUS / "java-cause.log").read_text().splitlines()
    for languages, whole in (("java", True), ("all", True), ("go, php", False), ('["java"]', True)):
        records = joined(text.format(languages), *java, "INFO a", "  indented")
        assert any(record.count("\n") > 5 for record in records) == whole
        assert records[-2:] == ["INFO a", "  indented"]


@pytest.mark.parametrize(
    ("pattern", "taken", "not_taken"),
    [
        ("a.*", "a.b", "a.b.c"), ("a.**", "a", "ab"), ("a.**", "a.b.c", "b.a"), ("**", "x.y", None),
        ("{a,b}.c", "b.c", "c.c"), ("*.x", "a.x", "a.b.x"), ("a.**.z", "a.b.c.z", "a.b.c"),
    ],
)  # fmt: skip
def test_tags(pattern: str, taken: str, not_taken: str | None) -> None:
    assert tag_pattern(pattern).fullmatch(taken)
    assert not_taken is None or not tag_pattern(pattern).fullmatch(not_taken)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (of("multiline_start_regexp /(?=a)/"), "<filter \\*\\*> multiline_start_regexp: '\\(\\?=a\\)' is no pattern of RE2"),
        (of("multiline_start_regexp /a/x"), "the flags 'x'"),
        (of("separator ;", "n_lines 2"), "separator: lines are joined with line ends"),
        (of("n_lines 2", "multiline_start_regexp /a/"), "n_lines: a number of lines is wanted, and no pattern"),
        (of("n_lines 2", "n_linse 3"), "n_linse: there is no such option of concat"),
        (of(), "n_lines, multiline_start_regexp or another pattern"),
        (of("n_lines 2", "buffer_limit much"), "buffer_limit: a size"),
        ("<match **>\n@type detect_exceptions\nlanguages cobol\n</match>", "languages: one of all, "),
        ("<match **>\n@type detect_exceptions\nmax_lines many\n</match>", "max_lines: a number"),
        ("<filter **>\n@type concat", "<filter>: it is not ended"),
        ("<filter **>\n</match>", "line 2: </match> ends nothing"),
        ("<source>\n@include conf.d/*\n</source>", "line 2: files are not included"),
        (
            "<source>\n@type tail\npath /a\ntag t\n</source>" + f"\n{of('n_lines 2')}\n{of('n_lines 2')}".replace("**", "t"),
            "/a has the rule of <filter t> already",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_says_where(text: str, error: str) -> None:
    with pytest.raises(RuleError, match=error):
        parse_rules(text)


def test_languages_in_our_own_rules() -> None:
    rule = rule_of("r", {"type": "languages", "languages": ["python"], "max_lines": 3, "timeout": "1s"}, "multiline")
    joiner = joiner_of(rule)
    for line in (CORPUS / "python-3.11-plain.log").read_bytes().splitlines():
        joiner.take(b"", line)
    joiner.flush("end")
    parts = [(record.lines, record.part, record.rule) for record in joiner.done if record.lines > 1]  # type: ignore[union-attr]
    assert parts[0] == (3, 0, "python") and parts[1][1] == 1
    with pytest.raises(RuleError, match=r"multiline.languages: one of python, "):
        rule_of("r", {"type": "languages", "languages": ["cobol"]}, "multiline")


def test_the_bytes_of_a_record_have_a_limit() -> None:
    joiner = joiner_of(rule_of("r", {"start": "^S", "max_bytes": "1Ki"}, "multiline"))
    lines = ["S", *("x" * 100 for _ in range(30))]
    for line in lines:
        joiner.take(b"", line.encode())
    joiner.flush("end")
    records = [record.text for record in joiner.done]  # type: ignore[union-attr]
    assert b"\n".join(records) == "\n".join(lines).encode()
    assert len(records) == 3 and all(len(record) <= 1024 + 101 for record in records)
    assert [record.part for record in joiner.done] == [0, 1, 2]  # type: ignore[union-attr]
    with pytest.raises(RuleError, match=r"multiline.max_bytes: a size such as 512Ki is wanted, not 'big'"):
        rule_of("r", {"start": "^S", "max_bytes": "big"}, "multiline")
