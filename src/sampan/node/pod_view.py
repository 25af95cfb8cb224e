"""What is known of one pod on this node: its sandbox, and of each container the instances there are, why it waits, what its
probes say. Filled by ``pod_observer.py``; read by the planner and by the status."""

from __future__ import annotations

from dataclasses import dataclass, field

from sampan.node import cri_pb2 as cri
from sampan.schema.objects import Object
from sampan.security.refusals import Refusal


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
    resources: Object | None = None
    """The requests and limits that are in force; None: not known yet."""
    stopped: str = ""
    """The id of the instance that is stopped only to be started again; ``resized``: and at once, with what it was given."""
    resized: str = ""

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
    runtime: str = "containerd"
    """The runtime's name, which the ids of containers are told with."""
    sandbox_id: str = ""
    sandbox_ready: bool = False
    ips: tuple[str, ...] = ()
    """Its addresses, one of each family, the main one first."""
    failed_reason: str = ""
    failed_message: str = ""
    disrupted: bool = False
    """This node ends it for its own sake (eviction)."""
    waits_for_room: bool = False
    """Others make room for it: it is not admitted yet."""
    rejected: bool = False
    """The node has refused the pod: nothing of it was ever started."""
    resize_pending: Refusal | None = None
    """Why the pod does not have what it asks for."""
    resizing: bool = False
    """It was given other resources that are not in force yet; ``resize_problem``: why they could not be."""
    resize_problem: str = ""

    @property
    def ip(self) -> str:
        return self.ips[0] if self.ips else ""

    def of(self, name: str) -> ContainerView:
        return self.containers.setdefault(name, ContainerView())


def addresses_of(status: cri.PodSandboxStatus) -> tuple[str, ...]:
    """Return a sandbox's addresses, the main one first."""
    found = (status.network.ip, *(more.ip for more in status.network.additional_ips))
    return tuple(ip for ip in found if ip)
