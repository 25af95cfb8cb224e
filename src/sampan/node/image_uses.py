"""Images of a node for people: their names, size, and who uses them. Pure, from what the runtime lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sampan.node import cri_pb2 as cri
from sampan.node.containerd import PAUSE_IMAGE
from sampan.node.pod_config import CONTAINER, NAME
from sampan.node.pod_config import NAMESPACE as POD_NAMESPACE


class Held(NamedTuple):
    """An image that is there."""

    id: str
    """Digest of its configuration."""
    names: list[str]
    size: int
    users: list[str]
    """The containers made of it: ``namespace/pod/container``, those that have ended included."""

    @property
    def needed(self) -> bool:
        """Whether a container, or the node itself, is made of it."""
        return bool(self.users) or PAUSE_IMAGE in self.names


def held(images: Iterable[cri.Image], containers: Iterable[cri.Container]) -> list[Held]:
    """Return the images by their first name."""
    users: dict[str, set[str]] = {}
    for one in containers:
        labels = one.labels
        who = "/".join(labels.get(key, "") for key in (POD_NAMESPACE, NAME, CONTAINER))
        for reference in (one.image_ref, one.image.image):
            users.setdefault(reference, set()).add(who)
    found = []
    for image in images:
        names = [*image.repo_tags, *image.repo_digests]
        by = set().union(*(users.get(reference, set()) for reference in (image.id, *names)))
        found.append(Held(image.id, list(image.repo_tags) or list(image.repo_digests), int(image.size), sorted(by)))
    return sorted(found, key=lambda one: (not one.names, one.names, one.id))
