"""What is known of one pod on this node: its sandbox, and of each container the instances there are, why it waits, what its
probes say. Filled by ``pod_observer.py``; read by the planner and by the status."""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.node import cri_pb2 as cri


@dataclass(slots=True)
class ContainerView:
    """What is known of one container of the Pod: its latest instance and the one before, why it waits, its probes."""

    current: cri.ContainerStatus | None = None
    last: cri.ContainerStatus | None = None
    stale: bool = False
    """The latest instance belongs to an earlier sandbox of the pod: in this one the container has not been made yet."""
    hook_pending: bool = False
    """It runs, and its postStart hook has not ended yet."""
    waiting_reason: str = ""
    waiting_message: str = ""
    ready: bool = False
    started: bool = False
    message: str = ""
    last_message: str = ""

    @property
    def state(self) -> cri.ContainerState | None:
        return self.current.state if self.current is not None else None

    @property
    def running(self) -> bool:
        return self.state == cri.CONTAINER_RUNNING

    @property
    def exited(self) -> bool:
        return self.state == cri.CONTAINER_EXITED

    @property
    def succeeded(self) -> bool:
        return self.exited and self.current is not None and self.current.exit_code == 0

    @property
    def made(self) -> bool:
        """Whether it was made in the sandbox of now, and its making was not cut off before it was started."""
        return self.current is not None and not self.stale and self.state != cri.CONTAINER_CREATED

    @property
    def restarts(self) -> int:
        return self.current.metadata.attempt if self.current is not None else 0


@dataclass(slots=True)
class PodView:
    """What is known of the pod on this node."""

    containers: dict[str, ContainerView] = field(default_factory=dict)
    sandbox_id: str = ""
    sandbox_ready: bool = False
    ip: str = ""
    failed_reason: str = ""
    failed_message: str = ""
    rejected: bool = False
    """The node has refused the pod: nothing of it was ever started."""

    def of(self, name: str) -> ContainerView:
        return self.containers.setdefault(name, ContainerView())
