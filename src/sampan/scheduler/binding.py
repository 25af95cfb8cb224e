"""One pod on its way from the choice of its node to its binding, and what has to be taken back when it does not get there.

A binding ends once: the pod is bound, or what was reserved and counted for it is taken back, however its task came to its
end (refused, failed, cancelled, or cancelled before it had begun).
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.scheduler.framework import CycleState
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.profile import Profile
from sampan.scheduler.queue import QueuedPod


@dataclass(eq=False)
class Binding:
    profile: Profile
    state: CycleState
    queued: QueuedPod
    pod: PodInfo
    """As it counts on its node."""
    is_over: bool = False
    """The pod is bound, or everything was taken back."""

    @property
    def node(self) -> str:
        return self.pod.node

    def take_back(self) -> bool:
        """Undo what plugins reserved; return False if nothing is left to undo."""
        if self.is_over:
            return False
        self.is_over = True
        self.profile.unreserve(self.state, self.pod, self.node)
        return True
