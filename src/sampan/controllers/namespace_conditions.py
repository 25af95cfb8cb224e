"""What a namespace that is being deleted says of itself: its five conditions, in Kubernetes' words. Pure.

Source: core/v1 NamespaceConditionType; kubernetes pkg/controller/namespace/deletion (status_condition_utils.go).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sampan.client.protocol import ResourceType
from sampan.controllers.ownership import with_condition
from sampan.schema.objects import Object

FINE = {
    "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": ("ContentRemoved", "All content successfully removed"),
}
"""Each condition with its reason and message where nothing is wrong."""


@dataclass
class Findings:
    """What one look at a namespace has found."""

    undiscovered: Mapping[str, str] = field(default_factory=dict)
    """Group versions that discovery could not tell of, and why."""
    unparsed: str = ""
    errors: Sequence[str] = ()
    """What deletions were refused with."""
    remaining: Sequence[tuple[ResourceType, Object]] = ()


def conditions(old: Sequence[Object], found: Findings, now: str) -> list[Object]:
    """Return the conditions of a namespace; a transition time changes only with its status."""
    wrong = dict(failures(found))
    made = list(old)
    for kind, (reason, message) in FINE.items():
        status = "True" if kind in wrong else "False"
        reason, message = wrong.get(kind, (reason, message))
        made = with_condition(made, {"type": kind, "status": status, "reason": reason, "message": message}, now)
    return made


def failures(found: Findings) -> Iterable[tuple[str, tuple[str, str]]]:
    """Yield the conditions that are true, with reason and message."""
    if found.undiscovered:
        told = ", ".join(f"{name}: {why}" for name, why in sorted(found.undiscovered.items()))
        count = len(found.undiscovered)
        message = f"unable to retrieve the complete list of server APIs: {told}"
        message = f"Discovery failed for some groups, {count} failing: {message}"
        yield "NamespaceDeletionDiscoveryFailure", ("DiscoveryFailed", message)
    if found.unparsed:
        yield "NamespaceDeletionGroupVersionParsingFailure", ("GroupVersionParsingFailed", found.unparsed)
    if found.errors:
        told = ", ".join(sorted(found.errors))
        message = f"Failed to delete all resource types, {len(found.errors)} remaining: {told}"
        yield "NamespaceDeletionContentFailure", ("ContentDeletionFailed", message)
    if found.remaining:
        # "pods." for the core group, as Kubernetes prints it
        counts = Counter(f"{resource.plural}.{resource.group}" for resource, _ in found.remaining)
        yield (
            "NamespaceContentRemaining",
            ("SomeResourcesRemain", f"Some resources are remaining: {told_of(counts, 'has')}"),
        )
    holders = Counter(name for _, obj in found.remaining for name in obj["metadata"].get("finalizers") or ())
    if holders:
        message = f"Some content in the namespace has finalizers remaining: {told_of(holders, 'in')}"
        yield "NamespaceFinalizersRemaining", ("SomeFinalizersRemain", message)


def told_of(counts: Mapping[str, int], verb: str) -> str:
    return ", ".join(sorted(f"{name} {verb} {count} resource instances" for name, count in counts.items()))
