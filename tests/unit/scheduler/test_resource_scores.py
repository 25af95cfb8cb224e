"""How much is left of a node, as points: where Go and Python round differently, Go is right."""

from __future__ import annotations

import pytest

from sampan.scheduler.cluster_state import cluster_of
from sampan.scheduler.framework import CycleState
from sampan.scheduler.plugins.resource_scores import by_shape, mean, rounded
from sampan.scheduler.pod_info import PodInfo
from tests.unit.scheduler.conftest import ProfileOn
from tests.unit.scheduler.made import node, pod


@pytest.mark.parametrize(
    ("shape", "used", "capacity", "points"),
    [
        ([(0, 0), (100, 100)], 1, 3, 33),
        # a line that falls: Go cuts -33.3 to -33, Python's // would make it -34
        ([(0, 100), (30, 0)], 10, 100, 67),
        ([(0, 100), (30, 0)], 40, 100, 0),
        ([(20, 30), (70, 100)], 10, 100, 30),
        ([(20, 30), (70, 100)], 45, 100, 65),
        ([(0, 0), (100, 100)], 5, 4, 100),
        ([(0, 0), (70, 100), (100, 50)], 85, 100, 75),
    ],
)
def test_points_by_a_shape(shape: list[tuple[int, int]], used: int, capacity: int, points: int) -> None:
    assert by_shape(shape)(used, capacity) == points


def test_means_of_what_counts() -> None:
    assert mean([(50, 1), (51, 1)], only_positive=True) == 51, "halves go up, to 50 they would be even"
    assert mean([(52, 1), (53, 1)], only_positive=True) == 53
    assert mean([(0, 5), (40, 1)], only_positive=True) == 40 and mean([(0, 1), (41, 1)]) == 20
    assert mean([], only_positive=True) == 0


def test_halves_are_rounded_away_from_zero() -> None:
    assert [rounded(one) for one in (0.5, 1.5, 2.5, 2.4, -0.5, -1.5)] == [1, 2, 3, 2, -1, -2]


@pytest.mark.parametrize(("version", "score"), [((1, 35), 87), ((1, 36), 68), ((1, 37), 68)])
def test_a_balance_that_gets_worse_costs_points_since_1_36(
    profile_on: ProfileOn, version: tuple[int, int], score: int
) -> None:
    cluster = cluster_of([node("one", cpu="4", memory="8Gi")])
    plugin = profile_on(cluster, version).plugins["NodeResourcesBalancedAllocation"]
    waiting = PodInfo(pod(requests={"cpu": "1"}))
    assert plugin.score(CycleState(), waiting, cluster.nodes["one"]) == score
    # what makes it even again is worth the more
    cluster.add(PodInfo(pod("there", on="one", requests={"memory": "2Gi"})))
    assert plugin.score(CycleState(), waiting, cluster.nodes["one"]) == (100 if version < (1, 36) else 81)
