"""Images of a node for people: their names, size, and who uses them. Pure, from what the runtime lists."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sampan.node import cri_pb2 as cri
from sampan.node.containerd import PAUSE_IMAGE
from sampan.node.images import ImageError, full_name
from sampan.node.pod_config import CONTAINER, NAME
from sampan.node.pod_config import NAMESPACE as POD_NAMESPACE
from sampan.schema.objects import Object


class Held(NamedTuple):
    """An image that is there."""

    id: str
    """Digest of its configuration."""
    names: list[str]
    size: int
    users: list[str]
    """The containers made of it: ``namespace/pod/container``, those that have ended included; and pods that have it as a
    volume: ``namespace/pod/volume``."""

    @property
    def needed(self) -> bool:
        """Whether a container, or the node itself, is made of it, or a pod has it as a volume."""
        return bool(self.users) or PAUSE_IMAGE in self.names


def volume_users(pods: Iterable[Object]) -> dict[str, set[str]]:
    """Return which pods have images as volumes, by the image's full name: ``namespace/pod/volume``. Pods that have ended
    have none any more."""
    users: dict[str, set[str]] = {}
    for pod in pods:
        metadata = pod["metadata"]
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        for volume in pod["spec"].get("volumes") or ():
            if reference := (volume.get("image") or {}).get("reference"):
                with contextlib.suppress(ImageError):  # one that is no name was never pulled
                    who = f"{metadata['namespace']}/{metadata['name']}/{volume['name']}"
                    users.setdefault(full_name(reference), set()).add(who)
    return users


def held(
    images: Iterable[cri.Image],
    containers: Iterable[cri.Container],
    volumes: Mapping[str, set[str]] = MappingProxyType({}),
) -> list[Held]:
    """Return the images by their first name. ``volumes``: the pods that have one as a volume, by its full name."""
    users = {name: set(pods) for name, pods in volumes.items()}
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
