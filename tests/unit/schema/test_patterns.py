"""Go's regular expressions: RE2's syntax and Go's words of errors, and no pattern that blocks. The cases are Go's answers."""

import pytest

from sampan.schema.patterns import Backtracking, Linear, PatternError, re2
from sampan.schema.structural import structural_type

engine = re2()
needs_re2 = pytest.mark.skipif(engine is None, reason="no RE2 for this platform")
MATCHES = [
    (r"^[a-z]+$", "abc", "abc\n"), (r"^[[:alpha:]]+$", "abc", "a1"), (r"^\d$", "1", "\N{ARABIC-INDIC DIGIT ONE}"),
    (r"^[]a]$", "]", "b"), (r"a\z", "a", "a\n"), (r"^[^\s]+$", "a", " "),
]  # fmt: skip
RE2_MATCHES = [
    (r"^(?i)(debug|info)$", "DEBUG", "trace"), (r"^\pL+$", "é", "1"), (r"^[\p{Greek}0-9]+$", "λ1", "l"),
    (r"^[[:^digit:]]+$", "a", "1"), (r"^\Qa.b\E$", "a.b", "axb"), (r"^\x{41}$", "A", "B"), (r"(?m)^a$", "b\na", "b"),
    (r"(?U)^a+$", "aa", "b"), (r"^(?<name>a)$", "a", "b"), (r"^\s$", "\f", "\v"), (r"^[a-z&&[b]]$", "z]", "z"),
    ("a{,3}", "a{,3}", "aaa"),
]  # fmt: skip
REFUSED = [
    ("[a", "missing closing ]: `[a`"), ("(a", "missing closing ): `(a`"), ("a)", "unexpected ): `a)`"),
    ("*", "missing argument to repetition operator: `*`"), ("a**", "invalid nested repetition operator: `**`"),
    (r"\q", r"invalid escape sequence: `\q`"), ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
    (r"(a)\1", r"invalid escape sequence: `\1`"),
]  # fmt: skip
RE2_REFUSED = [
    ("[z-a]", "invalid character class range: `z-a`"), ("a{1001}", "invalid repeat count: `{1001}`"),
    ("a\\", "trailing backslash at end of expression: ``"), ("a*+", "invalid nested repetition operator: `*+`"),
    (r"\p{Nowhere}", r"invalid character class range: `\p{Nowhere}`"), (r"\Z", r"invalid escape sequence: `\Z`"),
]  # fmt: skip


@needs_re2
@pytest.mark.parametrize(("pattern", "good", "bad"), MATCHES + RE2_MATCHES)
def test_matches(pattern, good, bad):
    compiled = Linear(pattern, engine)
    assert (compiled.search(good), compiled.search(bad)) == (True, False)


@needs_re2
@pytest.mark.parametrize(("pattern", "why"), REFUSED + RE2_REFUSED)
def test_refused(pattern, why):
    with pytest.raises(PatternError) as told:
        Linear(pattern, engine)
    assert str(told.value) == f"error parsing regexp: {why}"


@pytest.mark.parametrize(("pattern", "good", "bad"), MATCHES)
def test_matches_without_re2(pattern, good, bad):
    compiled = Backtracking(pattern)
    assert (compiled.search(good), compiled.search(bad)) == (True, False)


@pytest.mark.parametrize(("pattern", "why"), REFUSED)
def test_refused_without_re2(pattern, why):
    with pytest.raises(PatternError) as told:
        Backtracking(pattern)
    assert str(told.value) == f"error parsing regexp: {why}"


@pytest.mark.parametrize("make", [pytest.param(lambda text: Linear(text, engine), marks=needs_re2), Backtracking])
@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a*", "baaac", ["", "aaa", ""]), ("a", "abab", ["a", "a"]), ("", "éß", ["", "", ""]), ("^a", "aa", ["a"]),
        ("x", "a", []), ("é+", "aééb", ["éé"]), ("b|", "abc", ["", "b", ""]),
    ],
)  # fmt: skip
def test_finds_as_go_does(make, pattern, text, found):
    assert list(make(pattern).find_all(text)) == found


@needs_re2
@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^(a|a)*$", r"^(a|aa)+$", r"^(.*?,){30}$"])
def test_hostile_patterns_are_answered(pattern):
    assert not Linear(pattern, engine).search("a," * 20 + "a" * 100_000 + "!")


def test_a_stored_pattern_that_is_none_matches_nothing():
    schema = {"type": "object", "properties": {"p": {"type": "string", "pattern": "("}}}
    found = structural_type(schema, group="g", version="v1", kind="K").validate({"p": "x"})
    assert [cause.message for cause in found] == [
        'Invalid value: "x": p in body should match \'(, but pattern is invalid: '
        "error parsing regexp: missing closing ): `(`'"
    ]
