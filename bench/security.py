"""Pod Security Standards: every fixture of every version judged, and the fix of each that is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.table import Row, median_of
from sampan.security import Level, Standard
from sampan.security.fixes import fix
from sampan.security.standards import Evaluator
from tests.pod_security_fixtures import NEWEST, Fixture, pods

RUNS = 3
LEVELS = (Level.BASELINE, Level.RESTRICTED)
Given = list[tuple[Standard, Fixture]]


def rows() -> Iterator[Row]:
    given = [
        (Standard(level, minor), one) for level in LEVELS for minor in range(NEWEST + 1) for one in pods(level, minor)
    ]
    evaluator = Evaluator()
    name = f"Pod Security: {len(given)} fixtures of {NEWEST + 1} versions"
    yield Row(name, median_of(RUNS, lambda: judged(evaluator, given)), "pods/s", aim=">= 10,000/s")
    refused = [(standard, one) for standard, one in given if not one.allowed]
    yield Row("the smallest fix of one that is refused", median_of(RUNS, lambda: fixed(evaluator, refused)), "fixes/s")


def judged(evaluator: Evaluator, given: Given) -> float:
    begun = time.perf_counter()
    for standard, (_, pod, allowed) in given:
        assert evaluator.judge(standard, pod["metadata"], pod["spec"]).allowed is allowed
    return len(given) / (time.perf_counter() - begun)


def fixed(evaluator: Evaluator, refused: Given) -> float:
    begun = time.perf_counter()
    for standard, (_, pod, _) in refused:
        assert fix(evaluator, standard, pod["metadata"], pod["spec"]).reached
    return len(refused) / (time.perf_counter() - begun)
