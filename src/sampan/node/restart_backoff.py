"""How long a container that ended waits before it is started again: not at all the first time, then 10 s, doubling.

The longest pause is the node's to say. Source: the container restart policy of Kubernetes (CrashLoopBackOff; forgiven after
ten minutes of running), KEP-4603.
"""

from __future__ import annotations

import time

from sampan.node import cri_pb2 as cri

FIRST_SECONDS = 10.0
FORGIVEN_AFTER_SECONDS = 600.0


class RestartBackoff:
    """The pauses of a pod's containers, by name."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest = longest_seconds
        self._pauses: dict[str, tuple[int, float]] = {}
        """Name → the instance a pause was decided for, and its seconds."""

    def pause(self, name: str) -> float:
        return self._pauses.get(name, (-1, 0.0))[1]

    def left(self, name: str, ended: cri.ContainerStatus) -> float:
        """Return the seconds until the container may be started again; zero or less: now."""
        finished = ended.finished_at / 1e9
        seen, pause = self._pauses.get(name, (-1, 0.0))
        attempt = ended.metadata.attempt
        if seen != attempt:
            if attempt == 0 or finished - ended.started_at / 1e9 > FORGIVEN_AFTER_SECONDS:
                pause = 0.0
            else:
                pause = min(max(pause * 2, FIRST_SECONDS), self._longest)
            self._pauses[name] = (attempt, pause)
        return finished + pause - time.time()


def spoken(seconds: float) -> str:
    """Return ``40s`` or ``1m20s``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
