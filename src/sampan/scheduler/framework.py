"""What a scheduler plugin is: one class, with those of the points below that it wants. Source: KEP-624.

A pod's way, and who is asked::

    pre_enqueue                      may it be tried at all?                      (queue)
    pre_filter, filter               which nodes will do?
    post_filter                      none does: what can be done about it?
    pre_score, score(s), normalize   which of them is best?                       } one cycle, without waiting
    reserve / unreserve              it is chosen: note it, or take the note back }
    permit                           may it be bound yet? (may wait)              } one task a pod
    pre_bind, bind, post_bind        make it so (may wait)                        }

A pod that was refused is tried again when an event comes that one of the plugins that refused it has an ``Interest`` in.
A point that a class does not define is not called, so that what nobody uses costs nothing. The smallest plugin::

    class OwnTeam(Plugin):
        name = "OwnTeam"

        def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
            same = pod.labels.get("team") == node.labels.get("team")
            return None if same else unresolvable("node(s) belonged to another team")
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import NODES, PODS
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.scheduler.victims import Candidate

HIGHEST_SCORE = 100


class Code(Enum):
    """How a plugin refuses."""

    UNSCHEDULABLE = "Unschedulable"
    """Not now; without some of the pods that are there it might do."""
    UNRESOLVABLE = "UnschedulableAndUnresolvable"
    """Not now, and no pod that goes away would change that."""
    PENDING = "Pending"
    """Somebody else has to do something first (a driver); the pod is tried again without a pause when it has."""
    ERROR = "Error"


class Status(NamedTuple):
    """Why a plugin refuses; None means that it does not."""

    code: Code
    reasons: tuple[str, ...]
    plugin: str = ""

    @property
    def message(self) -> str:
        return ", ".join(self.reasons)


def unschedulable(*reasons: str) -> Status:
    return Status(Code.UNSCHEDULABLE, reasons)


def unresolvable(*reasons: str) -> Status:
    return Status(Code.UNRESOLVABLE, reasons)


def pending(*reasons: str) -> Status:
    return Status(Code.PENDING, reasons)


def failure(reason: str) -> Status:
    return Status(Code.ERROR, (reason,))


class Skip(Enum):
    """What ``pre_filter`` or ``pre_score`` answer when their filter or score has nothing to say of this pod."""

    SKIP = "Skip"


SKIP = Skip.SKIP
PreFilterAnswer: TypeAlias = "Status | frozenset[str] | Skip | None"
"""A set is the names of the only nodes that can do."""


class CycleState(dict[str, Any]):
    """What plugins keep between their points for one pod, each under its own name. What ``add_pod`` and ``remove_pod`` change
    needs a ``clone`` method."""

    def clone(self) -> CycleState:
        return CycleState({name: value.clone() if hasattr(value, "clone") else value for name, value in self.items()})


ADD, UPDATE, DELETE = "Add", "Update", "Delete"
ALLOCATABLE, NODE_LABELS, TAINTS, CONDITIONS, NODE_ANNOTATIONS = (
    "UpdateNodeAllocatable", "UpdateNodeLabel", "UpdateNodeTaint", "UpdateNodeCondition", "UpdateNodeAnnotation",
)  # fmt: skip
"""What may change of a Node."""
POD_LABELS, SCALED_DOWN = "UpdatePodLabel", "UpdatePodScaleDown"
"""What may change of a pod that is on a node."""

Narrow = Callable[[PodInfo, "Sequence[Candidate]"], "Awaitable[list[Candidate] | Status]"]
"""Asks the extenders which of the nodes where room can be made are left, and with whose going; or says what failed."""

Hint = Callable[[PodInfo, "Object | None", "Object | None"], bool]
"""``(waiting pod, old, new) -> whether the event may make room for it``; old is None for Add, new for Delete."""


@dataclass(frozen=True)
class Interest:
    """Events after which a pod that the plugin refused is worth another try. Events of ``PODS`` are those of pods on nodes;
    of the other resources the scheduler follows what plugins of its profiles have an interest in."""

    resource: ResourceType
    actions: frozenset[str]
    hint: Hint | None = None


def interest(resource: ResourceType, *actions: str, hint: Hint | None = None) -> Interest:
    return Interest(resource, frozenset(actions), hint)


class NodeStatuses(NamedTuple):
    """Why the nodes of a cycle will not do. ``others`` is the status of all that are not named."""

    by_node: dict[str, Status]
    others: Status

    def of(self, node: str) -> Status:
        return self.by_node.get(node, self.others)


class PostFilterResult(NamedTuple):
    """What came of ``post_filter``: a message for people, and the node where room is being made; an empty name takes the
    pod's nomination back, None leaves it as it is."""

    status: Status | None
    nominated_node: str | None = None


class Together(NamedTuple):
    """Pods that are scheduled together or not at all: what they are called, the keys of those that have no node yet, and how
    many of them must find one."""

    name: str
    waiting: tuple[str, ...]
    needed: int


@dataclass
class Handle:
    """What a plugin may use of the scheduler it is part of."""

    client: Client
    informer_of: Callable[[ResourceType], Informer]
    """Shared informers: to ask for one is to have it followed."""
    events: EventRecorder
    cluster: ClusterState
    nominations: Nominations
    start: Callable[[Coroutine[Any, Any, None], str], None]
    """Run a coroutine beside the scheduler until it ends: ``start(coroutine, name)``."""
    activate: Callable[[str], None]
    """Have a waiting pod tried now, by its key."""
    released: Callable[[str], None]
    """Say that ``pre_enqueue`` would let a pod through now that it held back before, by its key."""
    kubernetes_version: tuple[int, int] = (1, 37)
    later: Callable[[str], None] = field(default=lambda key: None)
    """Have a waiting pod tried after its pause, by its key: what was done for it went wrong."""
    tell: Callable[[ResourceType, str, Object | None, Object | None], None] = field(
        default=lambda resource, action, old, new: None
    )
    """Have pods tried that may have waited for something that no informer tells: ``tell(resource, action, old, new)``."""
    filters: Callable[[CycleState, PodInfo, NodeInfo], Status | None] = field(default=lambda state, pod, node: None)
    """The filters of the profile on one node, nominated pods counted: for plugins that try what would be."""
    pods_changed: Callable[[CycleState, PodInfo, PodInfo, NodeInfo, int], Status | None] = field(
        default=lambda state, pod, other, node, sign: None
    )
    """Tell the profile's plugins that ``other`` comes to (1) or leaves (-1) a node in a trial."""


class Plugin:
    """The base of all plugins: made once a profile, with its ``args`` of the configuration (defaults filled in)."""

    name = ""
    ARGS: Mapping[str, Any] = {}
    """The arguments it knows, with their defaults; others are refused."""
    local = False
    """Whether ``filter`` and ``score`` depend on nothing but the node and what pods of a kind share (``remembered.py``): then
    their answers are remembered until the node changes."""

    def __init__(self, args: Mapping[str, Any], handle: Handle) -> None:
        self.args, self.handle = args, handle

    @classmethod
    def check(cls, args: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` for arguments that make no sense."""

    def interests(self) -> Sequence[Interest]:
        """Return what may make room for a pod that this plugin refused. Unless a plugin knows better: everything."""
        node = (ADD, ALLOCATABLE, NODE_LABELS, TAINTS, CONDITIONS, NODE_ANNOTATIONS)
        return (interest(NODES, *node), interest(PODS, ADD, DELETE, POD_LABELS, SCALED_DOWN))

    async def prepare(self) -> None:
        """Find out what must be known of the API before anything is scheduled: may follow resources that it serves."""

    def pre_enqueue(self, pod: PodInfo) -> Status | None:
        """May the pod be tried at all?"""
        return None

    def together(self, pod: PodInfo) -> Together | None:
        """Return which pods must be scheduled with this one, None where it stands alone."""
        return None

    def not_together(self, together: Together, why: str) -> None:
        """Too few of them found a node: say so."""

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> PreFilterAnswer:
        """Look at the pod once, before nodes are looked at; ``SKIP``: ``filter`` has nothing to say of it."""
        return None

    def add_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        """In a trial: what if ``other`` were on ``node`` too?"""
        return None

    def remove_pod(self, state: CycleState, pod: PodInfo, other: PodInfo, node: NodeInfo) -> Status | None:
        """In a trial: what if ``other`` were not on ``node``?"""
        return None

    def filter(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> Status | None:
        """Return why the pod cannot be on the node, or None."""
        return None

    async def before_post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses, narrow: Narrow) -> None:
        """Prepare ``post_filter`` for a pod that extenders are asked about; ``narrow`` asks them which of the nodes may be
        taken, and whose room."""

    def post_filter(self, state: CycleState, pod: PodInfo, statuses: NodeStatuses) -> PostFilterResult:
        """No node will do: make room, if that can be done. A result without a status ends the search for one."""
        return PostFilterResult(unschedulable())

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Status | Skip | None:
        """Look at the nodes that will do, before they are scored; ``SKIP``: all are equal."""
        return None

    def score(self, state: CycleState, pod: PodInfo, node: NodeInfo) -> int:
        """Return the node's points: 0 to 100, or any when there is a ``normalize``."""
        return 0

    def scores(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo]) -> list[int]:
        """Return the points of all nodes that will do: one call, where speed matters."""
        return [self.score(state, pod, node) for node in nodes]

    def normalize(self, state: CycleState, pod: PodInfo, nodes: Sequence[NodeInfo], scores: list[int]) -> list[int]:
        """Return the scores as 0 to 100."""
        return scores

    def reserve(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        """Note that the pod goes to the node; when this or a later step fails, ``unreserve`` is called."""
        return None

    def unreserve(self, state: CycleState, pod: PodInfo, node: str) -> None:
        """Take the note back; must bear to be called without a ``reserve`` before."""

    async def permit(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        """Wait as long as the pod must not be bound; a status refuses it."""
        return None

    async def pre_bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | None:
        """Do and await what must be true before the pod is bound (volumes)."""
        return None

    async def bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | Skip | None:
        """Bind the pod; ``SKIP`` leaves it to the next plugin."""
        return SKIP

    def post_bind(self, state: CycleState, pod: PodInfo, node: str) -> None:
        """It is bound: clean up."""


def defines(plugin: Plugin, point: str) -> bool:
    """Whether a plugin has a point, itself or by a base of its own."""
    return getattr(type(plugin), point) is not getattr(Plugin, point)


def default_normalize(scores: list[int], *, reverse: bool = False) -> list[int]:
    """Return the scores as shares of the highest, 0 to 100; ``reverse``: the lowest is best."""
    highest = max(scores, default=0)
    if highest == 0:
        return [HIGHEST_SCORE] * len(scores) if reverse else scores
    if reverse:
        return [HIGHEST_SCORE - score * HIGHEST_SCORE // highest for score in scores]
    return [score * HIGHEST_SCORE // highest for score in scores]
