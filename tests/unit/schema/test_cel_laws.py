"""Laws of the engine: whatever is written, only its named errors are raised; nothing recurses without end."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.cel import types
from sampan.schema.cel.environment import environment
from sampan.schema.cel.errors import CelError, CompileError, CostExceeded, EvaluationError
from sampan.schema.cel.program import Budget, BudgetExceeded, compile

ENV = environment(
    "1.37", {"self": types.DYN, "x": types.INT, "s": types.STRING, "l": types.list_of(types.INT)}, stored=True
)
WORDS = (
    "self", "x", "s", "l", "1", "-2", "3u", "1.5", "'a'", "b'b'", "true", "false", "null", "[", "]", "{", "}", "(",
    ")", ".", ".?", "[?", ",", ":", "?", "+", "-", "*", "/", "%", "==", "!=", "<", "<=", "in", "&&", "||", "!",
    "has", "all", "exists", "map", "filter", "size", "type", "dyn", "int", "string", "timestamp", "duration",
    "optional", "of", "none", "value", "orValue", "format", "matches", "'%d'", "quantity", "ip", "cidr", "url",
    "semver", "sets", "lists", "range", "split", "join", "substring", "sortBy", "transformMap", "i", "v", "k", "foo",
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def run(expression: str, value: Any) -> None:
    with suppress(CelError):
        compile(expression, ENV).evaluate({"self": value, "x": 7, "s": "text", "l": [1, 2, 3]})


@given(st.text(max_size=60), JSON)
def test_any_text_gives_a_value_or_a_named_error(expression: str, value: Any) -> None:
    run(expression, value)


@given(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), JSON)
def test_words_of_the_language_in_any_order(expression: str, value: Any) -> None:
    run(expression, value)


OPERANDS = st.sampled_from(
    ("self", "self.a", "x", "s", "l", "1", "1u", "2.5", "'b'", "b'c'", "true", "null", "[1]", "{'a': 1}", "l[0]", "dyn(x)",
     "duration('1h')", "timestamp('2024-01-01T00:00:00Z')", "type(self)", "optional.of(1)", "self.?a", "quantity('1')")
)  # fmt: skip
FORMS = st.sampled_from(
    ("({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} % {})", "({} == {})", "({} < {})", "({} in {})", "({} && {})",
     "({} || {})", "{}[{}]", "[{}, {}].size()", "{}.all(i, {} == i)", "{}.map(i, {})", "{}.filter(i, {})",
     "({}).startsWith({})",
     "({} == dyn({}) ? 1 : 2)", "{}.exists(i, j, {} == i)", "'%s'.format([{}]) + string({})", "{}.orValue({})")
)  # fmt: skip


@st.composite
def expressions(draw: Any) -> str:
    text = draw(OPERANDS)
    for _ in range(draw(st.integers(0, 3))):
        form = draw(FORMS)
        text = form.format(*((text, draw(OPERANDS)) if draw(st.booleans()) else (draw(OPERANDS), text)))
    return str(text)


@given(expressions(), JSON)
def test_any_operator_on_any_value(expression: str, value: Any) -> None:
    run(expression, value)


@pytest.mark.parametrize(
    "expression",
    ["(" * 5000 + "1" + ")" * 5000, "1" + "+1" * 5000, "!" * 5000 + "true", "[" * 3000 + "]" * 3000, "self" + ".a" * 3000,
     "true" + " ? true : true" * 2000, "self" + "[0]" * 3000, "-" * 4001 + "x"],
)  # fmt: skip
def test_depth_is_refused_or_harmless(expression: str) -> None:
    run(expression, {})


def test_a_long_chain_of_and_is_no_deep_tree() -> None:
    program = compile(" && ".join(["x > 0"] * 2000), ENV)
    assert program.evaluate({"x": 7}) is True


def test_too_long_an_expression_is_refused() -> None:
    with pytest.raises(CompileError, match="expression code point size exceeds limit: size: 100001, limit 100000"):
        compile("1" * 100_001, ENV)


def test_a_loop_stops_when_it_costs_too_much() -> None:
    program = compile("l.all(a, l.all(b, l.all(c, a + b + c >= 0)))", ENV)
    with pytest.raises(CostExceeded, match="operation cancelled: actual cost limit exceeded"):
        program.evaluate({"l": list(range(200))})


def test_a_budget_is_shared_by_evaluations() -> None:
    program, budget = compile("x + 1 == 8", ENV), Budget(7)
    assert program.evaluate({"x": 7}, budget) is True
    assert program.evaluate({"x": 7}, budget) is True
    assert budget.remaining == 1
    with pytest.raises(BudgetExceeded):
        program.evaluate({"x": 7}, budget)


def test_a_variable_without_value_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="no such attribute"):
        compile("x > 1", ENV).evaluate({})


@pytest.mark.parametrize(
    ("expression", "since"),
    [("self.?a", 29), ("quantity('1') == quantity('1')", 29), ("'%d'.format([1])", 30), ("sets.contains([1], [1])", 30),
     ("isIP('1')", 31), ("format.uuid().validate('x').hasValue()", 32), ("[1].all(i, v, v > i)", 33),
     ("isSemver('1.2.3')", 34), ("[1].reverse()", 35)],
)  # fmt: skip
def test_libraries_come_with_their_versions(expression: str, since: int) -> None:
    """A new expression may use what the version before the server's had; a stored one all."""
    for minor in range(25, 38):
        for stored in (False, True):
            env = environment(f"1.{minor}", {"self": types.DYN}, stored=stored)
            if minor >= since - stored:
                compile(expression, env)
            else:
                with pytest.raises(CompileError):
                    compile(expression, env)


def test_bind_is_there_for_expressions_of_our_own() -> None:
    env = environment("1.37", {"x": types.INT}, extra=("bindings",))
    assert compile("cel.bind(twice, x * 2, twice + twice)", env).evaluate({"x": 3}) == 12
