"""Rules of Traefik are read as Traefik reads them: alternatives mean what the rule means, for any request."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.convert.traefik_matches import matched, server_names, unanchored
from sampan.gateway.convert.traefik_rules import All, Any, Matcher, Node, Not, RuleError, alternatives, parse

NAMES = ("Host", "Path", "Method", "ClientIP")
matchers = st.builds(Matcher, st.sampled_from(NAMES), st.tuples(st.sampled_from("abc")), st.just(False))
nodes: st.SearchStrategy[Node] = st.recursive(
    matchers,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.tuples(inner, inner)),
        st.builds(Any, st.tuples(inner, inner)),
    ),
    max_leaves=6,
)


def written(node: Node) -> str:
    if isinstance(node, Matcher):
        return f"{node.name}(`{node.arguments[0]}`)"
    if isinstance(node, Not):
        return f"!({written(node.part)})"
    sign = " && " if isinstance(node, All) else " || "
    return f"({sign.join(written(part) for part in node.parts)})"


def holds(node: Node, request: dict[str, str]) -> bool:
    if isinstance(node, Matcher):
        return (request[node.name] == node.arguments[0]) != node.negated
    if isinstance(node, Not):
        return not holds(node.part, request)
    return (all if isinstance(node, All) else any)(holds(part, request) for part in node.parts)


@given(nodes, st.fixed_dictionaries({name: st.sampled_from("abcd") for name in NAMES}))
def test_alternatives_mean_what_the_rule_means(node: Node, request: dict[str, str]) -> None:
    found = alternatives(written(node))
    assert any(all(holds(matcher, request) for matcher in one) for one in found) == holds(node, request)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Host(`a`)", [["Host(`a`)"]]),
        ("Host(`a`, `b`)", [["Host(`a`)"], ["Host(`b`)"]]),
        ("Host(`a`) && Path(`/x`) || Path(`/y`)", [["Host(`a`)", "Path(`/x`)"], ["Path(`/y`)"]]),
        ("!(Host(`a`) || Path(`/x`))", [["!Host(`a`)", "!Path(`/x`)"]]),
        ('Header("X", "a\\"b")', [['Header(`X`, `a"b`)']]),
        ("  ( Host( `a` ) )  ", [["Host(`a`)"]]),
    ],
)
def test_what_is_read(text: str, expected: list[list[str]]) -> None:
    assert [[str(matcher) for matcher in one] for one in alternatives(text)] == expected


@pytest.mark.parametrize(
    "text", ["", "Host", "Host(", "Host(`a`", "Host(`a`) &&", "(Host(`a`)", "Host(`a`) Path(`b`)", "&& Host(`a`)", "?"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(RuleError):
        parse(text)


def test_a_rule_with_thousands_of_alternatives_is_refused() -> None:
    with pytest.raises(RuleError, match="more than 64"):
        alternatives(" && ".join("(Host(`a`) || Path(`b`))" for _ in range(40)))


@given(st.text())
def test_wild_text(text: str) -> None:
    with contextlib.suppress(RuleError):
        alternatives(text)


@pytest.mark.parametrize(
    ("expression", "whole"), [("^/a$", "/a"), ("^/a", "/a.*"), ("a$", ".*a"), ("a", ".*a.*"), (r"a\$", r".*a\$.*")]
)
def test_expressions_are_looked_for_anywhere(expression: str, whole: str) -> None:
    assert unanchored(expression) == whole


def test_a_match_with_everything() -> None:
    text = "Host(`A.example`) && PathPrefix(`/x/`) && Header(`X-A`, `1`) && QueryRegexp(`q`, `^1$`) && Method(`get`)"
    found = matched(alternatives(text)[0])
    assert found.hosts == ["a.example"] and not found.lost and not found.changed
    assert found.match == {
        "path": {"type": "PathPrefix", "value": "/x/"},
        "headers": [{"name": "X-A", "value": "1"}],
        "queryParams": [{"type": "RegularExpression", "name": "q", "value": "1"}],
        "method": "GET",
    }


@pytest.mark.parametrize(
    "text",
    [
        "!Host(`a`)",
        "ClientIP(`10.0.0.0/8`)",
        "Host(`a`) && Host(`b`)",
        "Path(`/a`) && PathPrefix(`/a`)",
        "HostRegexp(`^(a|b)\\.example$`)",
        "Method(`GET`) && Method(`PUT`)",
        "Header(`X-A`, `1`) && Header(`x-a`, `2`)",
        "Header(`X-A`)",
        "Host()",
    ],
)
def test_what_would_let_in_more_is_left_out(text: str) -> None:
    found = matched(alternatives(text)[0])
    assert found.impossible and found.lost


def test_hosts_by_expression_that_mean_a_domain() -> None:
    assert matched(alternatives(r"HostRegexp(`^.+\.shop\.example$`)")[0]).hosts == ["*.shop.example"]


def test_names_of_connections() -> None:
    assert server_names(alternatives("HostSNI(`a`) || HostSNI(`b`)")) == (["a", "b"], [])
    assert server_names(alternatives("HostSNI(`*`)")) == ([], [])
    names, lost = server_names(alternatives("HostSNI(`a`) && !ClientIP(`10.0.0.1`)"))
    assert names == ["a"] and "HostSNI alone" in lost[0]
