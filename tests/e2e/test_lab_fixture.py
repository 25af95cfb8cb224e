"""The pytest fixtures ``lab`` and ``lab_factory``, and the ready laboratories of ``examples/labs``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sampan.lab import Lab

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")
pytest_plugins = ["pytester"]
LABS = Path(__file__).parents[2] / "examples/labs"


@pytest.mark.lab(nodes=[{"name": "a"}, {"name": "b"}], links=[{"ends": ["a", "b"], "name": "wire"}])
def test_the_fixture_is_the_laboratory_of_the_mark(lab: Lab) -> None:
    assert lab.checked == 1
    assert lab.reaches("a", "b")


def test_several_stand_side_by_side(lab_factory: Callable[..., Lab]) -> None:
    one, other = (lab_factory(LABS / "classic.yaml") for _ in range(2))
    one.cut("a-r")
    assert other.reaches("a", "b")
    assert one.name != other.name


FAILING = """
import pytest

@pytest.mark.lab("topology.yaml")
def test_it(lab):
    lab.loss("a-b", 50, seed=1)
    assert False

def test_without_mark(lab):
    pass
"""


def test_a_failing_test_shows_its_laboratory(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    Path("topology.yaml").write_text("{nodes: [{name: a, run: [echo said]}, {name: b}], links: [{ends: [a, b]}]}")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, errors=1)
    result.stdout.fnmatch_lines(["*sampan: laboratory topology-*", "*!! loss 50%, seed 1", "a: said"])
    result.stdout.fnmatch_lines(["*UsageError: the fixture lab needs to know which*"])
