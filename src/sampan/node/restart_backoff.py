"""How long a container that ended waits before it is started again: not at all the first time, then 10 s, doubling.

The longest pause is the node's to say. When a container ended is known by the clock on the wall, which may jump: it is asked
once, when the end is first seen, and bounded by the pause; from then on a clock that cannot jump counts. Source: the
container restart policy of Kubernetes (CrashLoopBackOff; forgiven after ten minutes of running), KEP-4603.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sampan.node import cri_pb2 as cri

FIRST_SECONDS = 10.0
FORGIVEN_AFTER_SECONDS = 600.0


class RestartBackoff:
    """The pauses of a pod's containers, by name."""

    def __init__(
        self,
        longest_seconds: float,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest = longest_seconds
        self._wall, self._steady = wall, steady
        self._pauses: dict[str, tuple[int, float, float]] = {}
        """Name → the instance a pause was decided for, its seconds, and when it is over."""

    def pause(self, name: str) -> float:
        return self._pauses.get(name, (-1, 0.0, 0.0))[1]

    def left(self, name: str, ended: cri.ContainerStatus) -> float:
        """Return the seconds until the container may be started again; zero or less: now."""
        seen, pause, until = self._pauses.get(name, (-1, 0.0, 0.0))
        attempt = ended.metadata.attempt
        if seen != attempt:
            if attempt == 0 or ran_seconds(ended) > FORGIVEN_AFTER_SECONDS:
                pause = 0.0
            else:
                pause = min(max(pause * 2, FIRST_SECONDS), self._longest)
            since_end = max(self._wall() - ended.finished_at / 1e9, 0.0)
            until = self._steady() + pause - since_end
            self._pauses[name] = (attempt, pause, until)
        return until - self._steady()


def ran_seconds(ended: cri.ContainerStatus) -> float:
    """Return how long an instance ran: not at all where it could not be started (CRI has no start of it then)."""
    return (ended.finished_at - ended.started_at) / 1e9 if ended.started_at > 0 else 0.0


def spoken(seconds: float) -> str:
    """Return ``40s`` or ``1m20s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
