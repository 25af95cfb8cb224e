"""Pods that are scheduled together or not at all: one cycle for all of them, without waiting for anything in between.

Each counts on its node as soon as that is chosen, so the next sees it there. When enough of them have one, all bindings
begin; when not, everything is taken back and nobody has seen it, so that two groups never hold each other up with halves. No
room is made for a group by preemption. Source of the idea: KEP-4671 (gang scheduling), the workload scheduling cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from sampan.scheduler.cycle import Refusal
from sampan.scheduler.framework import CycleState, Status
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.queue import QueuedPod

Placing: TypeAlias = "Callable[[QueuedPod, CycleState], PodInfo | Refusal | Status]"
"""Chooses a node for a pod and counts it there."""


class Refused(NamedTuple):
    queued: QueuedPod
    state: CycleState
    why: Refusal | Status

    @property
    def plugins(self) -> set[str]:
        return self.why.plugins if isinstance(self.why, Refusal) else {self.why.plugin}


@dataclass
class Outcome:
    placed: list[tuple[QueuedPod, CycleState, PodInfo]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    @property
    def plugins(self) -> set[str]:
        """Return who refused any of them: what one waits for all wait for."""
        return {plugin for one in self.refused for plugin in one.plugins if plugin}

    def message(self, name: str, needed: int) -> str:
        return (
            f'pod group "{name.partition("/")[2]}" needs {needed} more pods scheduled together: '
            f"{len(self.placed)} of {len(self.placed) + len(self.refused)} found a node"
        )


def place_all(members: list[QueuedPod], place: Placing) -> Outcome:
    """Place the pods one after another; return what came of each."""
    outcome = Outcome()
    for queued in sorted(members, key=lambda one: one.order):
        state = CycleState()
        found = place(queued, state)
        if isinstance(found, PodInfo):
            outcome.placed.append((queued, state, found))
        else:
            outcome.refused.append(Refused(queued, state, found))
    return outcome
