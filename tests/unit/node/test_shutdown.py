"""Graceful shutdown of a node: who ends when, and what is waited for."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sampan.node.kubelet_config import read
from sampan.node.shutdown import NodeShutdown, Phase, grouped, phases_of, seconds_of


class Worker:
    def __init__(self, priority: int | None, order: list[str], name: str, *, stubborn: bool = False) -> None:
        self.pod = {"metadata": {"name": name}, "spec": {} if priority is None else {"priority": priority}}
        self.over = asyncio.Event()
        self._order, self._stubborn = order, stubborn

    def end(self, reason: str, message: str, grace_seconds: int | None = None) -> None:
        self._order.append(f"{self.pod['metadata']['name']} {reason} {grace_seconds}")
        if not self._stubborn:
            self.over.set()


def test_phases() -> None:
    assert phases_of(read({})) == [] and seconds_of(read({})) == 0
    both = read({"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s"})
    assert phases_of(both) == [Phase(0, 20), Phase(2_000_000_000, 10)] and seconds_of(both) == 30
    given = [{"priority": 100, "shutdownGracePeriodSeconds": 5}, {"priority": 0, "shutdownGracePeriodSeconds": 7}]
    assert phases_of(read({"shutdownGracePeriodByPodPriority": given})) == [Phase(0, 7), Phase(100, 5)]


@pytest.mark.parametrize(
    ("priority", "phase"), [(None, 0), (-5, 0), (0, 0), (99, 0), (100, 1), (101, 1), (1000, 2), (5000, 2)]
)
def test_who_ends_in_which_phase(priority: int | None, phase: int) -> None:
    phases = [Phase(0, 1), Phase(100, 2), Phase(1000, 3)]
    worker = Worker(priority, [], "p")
    assert [len(workers) for _, workers in grouped(phases, [worker])] == [int(at == phase) for at in range(3)]


async def test_the_less_important_end_first_and_nobody_holds_up_the_others_for_ever() -> None:
    order: list[str] = []
    workers: Any = {
        "a": Worker(2_000_000_000, order, "vital"),
        "b": Worker(0, order, "stubborn", stubborn=True),
        "c": Worker(None, order, "plain"),
    }
    workers["d"] = Worker(0, order, "over")
    workers["d"].over.set()
    config = read({"shutdownGracePeriod": "2s", "shutdownGracePeriodCriticalPods": "1s"})
    told: list[str] = []

    async def flush() -> None:
        told.append("flushed")

    events: Any = SimpleNamespace(record=lambda about, kind, reason, message: told.append(reason), flush=flush)
    context: Any = SimpleNamespace(kubelet=config, node_name="n", shutting_down=False)
    await NodeShutdown(context, workers, events, lambda: told.append("status")).run()
    assert order == ["stubborn Terminated 1", "plain Terminated 1", "vital Terminated 1"]
    assert context.shutting_down and told == ["NodeShutdown", "status", "flushed"]
