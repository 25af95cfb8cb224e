"""What the node does beside its pods' own workers: logs rotated, images collected, room made when something runs short.

Each is a task of its own with a round of its own; all of them read what there is anew in each round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from sampan.node.context import NodeContext
from sampan.node.eviction import Eviction
from sampan.node.image_collection import ImageCollection
from sampan.node.log_rotation import Log, LogRotation
from sampan.node.node import Node
from sampan.node.patience import patiently
from sampan.node.stats_reading import Reader
from sampan.node.volumes import image


class Housekeeping:
    """``changed`` is called when the node's conditions change."""

    def __init__(self, context: NodeContext, node: Node, changed: Callable[[], None]) -> None:
        config, runtime = context.kubelet, context.runtime
        self._node = node
        about = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": context.node_name, "uid": context.node_name}}

        def tell(reason: str, message: str) -> None:
            context.events.warning(about, reason, message)

        self._images = ImageCollection(runtime, context.images.records, config, self._mounted, tell)
        self._logs = LogRotation(runtime, self._running, config.container_log_max_size, config.container_log_max_files)
        reader = Reader(context.node_name, context.cgroup, context.kubelet_dir, context.pod_log_dir)
        self._eviction = Eviction(runtime, reader, node.workers, self._images, config, changed, tell)

    @property
    def conditions(self) -> set[str]:
        """The conditions of pressure that hold now."""
        return self._eviction.conditions

    def start(self, group: asyncio.TaskGroup) -> None:
        for name, work in (
            ("images", self._images.run),
            ("logs", self._logs.run),
            ("eviction", self._eviction.run),
        ):
            group.create_task(patiently(work, name), name=name)

    def _mounted(self) -> Iterator[str]:
        for worker in self._node.workers.values():
            yield from image.references(worker.pod)

    def _running(self) -> Iterator[Log]:
        for worker in self._node.workers.values():
            for view in worker.view.containers.values():
                if view.running and view.current is not None and view.current.log_path:
                    yield Log(view.current.id, Path(view.current.log_path))
