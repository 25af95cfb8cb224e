"""The table of conformance behaviours (``tests/conformance.txt``) names tests that are there, and leaves no behaviour out."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COUNTS = {
    "sig-api-machinery": 93,
    "sig-architecture": 1,
    "sig-auth": 9,
    "sig-cli": 17,
    "sig-instrumentation": 4,
}
"""Behaviours in conformance.yaml."""


def table() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    tests: list[str] = []
    for line in (ROOT / "tests" / "conformance.txt").read_text().splitlines():
        if line.startswith("["):
            assert line not in found, f"twice: {line}"
            tests = found[line] = []
        elif line.strip() and not line.startswith("#"):
            assert line.startswith("    "), line
            tests.append(line.strip())
    return found


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


TABLE = table()


def test_no_behaviour_is_left_out() -> None:
    assert Counter(behaviour[1:].partition("]")[0] for behaviour in TABLE) == COUNTS


@pytest.mark.parametrize("behaviour", TABLE)
def test_a_behaviour_has_a_test_that_is_there(behaviour: str) -> None:
    assert TABLE[behaviour]
    for test in TABLE[behaviour]:
        file, _, name = test.partition("::")
        assert name in functions(file), test
