"""Label and field selectors: grammar, meaning, messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.selectors import SelectorError, label_selector, parse_field_selector, parse_label_selector

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app=api", False), ("app!=api", True), ("x!=1", True),
        ("app", True), ("!app", False), ("!x", True), ("app in (web,api)", True), ("app notin (web)", False),
        ("x notin (web)", True), ("app=web,tier in (back, front),!x", True), ("n>4", True), ("n<5", False), ("app>1", False),
        ("x=", False), (" app = web , tier ", True), ("app in (web,)", True),
    ],
)  # fmt: skip
def test_label_selectors(text, matches):
    assert parse_label_selector(text).matches(LABELS) is matches


def test_no_labels():
    assert parse_label_selector("").matches(None)
    assert parse_label_selector("!a").matches(None)
    assert not parse_label_selector("a").matches(None)
    assert parse_label_selector("").empty


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a=-", 'values[0][a]: Invalid value: "-": a valid label must be'),
        ("a_/b=c", '<nil>: Invalid value: "a_/b": prefix part a lowercase RFC 1123'),
        ("a>x", "the value must be an integer"),
    ],
)
def test_bad_label_selectors(text, message):
    with pytest.raises(SelectorError) as error:
        parse_label_selector(text)
    assert message in str(error.value)


def test_text_is_sorted_and_parses_again():
    text = str(parse_label_selector("tier in (b,a),app=web,!x"))
    assert text == "app=web,tier in (a,b),!x"
    assert str(parse_label_selector(text)) == text


@given(st.text(alphabet="ab=!,() in<>notx/.-_", max_size=30))
def test_any_text_parses_or_raises_selector_error(text):
    try:
        selector = parse_label_selector(text)
    except SelectorError:
        return
    assert parse_label_selector(str(selector)).requirements == selector.requirements


def test_label_selector_objects():
    assert not label_selector(None).matches(LABELS)
    assert label_selector({}).matches(LABELS)
    assert label_selector({"matchLabels": {"app": "web"}}).matches(LABELS)
    expressions = [
        {"key": "tier", "operator": "In", "values": ["front"]},
        {"key": "x", "operator": "DoesNotExist"},
        {"key": "app", "operator": "Exists"},
        {"key": "n", "operator": "NotIn", "values": ["6"]},
    ]
    assert label_selector({"matchExpressions": expressions}).matches(LABELS)
    for bad in ({"operator": "In"}, {"operator": "Is", "values": ["a"]}, {"operator": "Exists", "values": ["a"]}):
        with pytest.raises(SelectorError):
            label_selector({"matchExpressions": [{"key": "a", **bad}]})


def test_field_selectors():
    selector = parse_field_selector("metadata.name=x,status.phase!=Running")
    assert selector.terms == (("metadata.name", "=", "x"), ("status.phase", "!=", "Running"))
    fields = {"metadata.name": "x", "status.phase": "Pending"}
    assert selector.matches(lambda field: fields[field])
    assert selector.exact("metadata.name") == "x"
    assert parse_field_selector("").empty
    assert parse_field_selector(r"a=b\,c\=d\\").terms == (("a", "=", r"b,c=d" + "\\"),)
    assert str(parse_field_selector(r"a==b\,c")) == r"a=b\,c"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ],
)
def test_bad_field_selectors(text, message):
    with pytest.raises(SelectorError) as error:
        parse_field_selector(text)
    assert str(error.value) == message


@given(st.text(alphabet="ab.=!,\\", max_size=20))
def test_any_field_selector_parses_or_raises(text):
    try:
        selector = parse_field_selector(text)
    except SelectorError:
        return
    # terms are ordered as they were written, and ``==`` is written ``=``
    assert sorted(parse_field_selector(str(selector)).terms) == sorted(selector.terms)
