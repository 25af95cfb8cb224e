"""DefaultBinder: ``POST pods/NAME/binding``."""

from __future__ import annotations

from sampan.client.errors import ApiError
from sampan.client.resources import PODS
from sampan.scheduler.framework import CycleState, Plugin, Skip, Status, failure
from sampan.scheduler.pod_info import PodInfo


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    async def bind(self, state: CycleState, pod: PodInfo, node: str) -> Status | Skip | None:
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        }
        try:
            await self.handle.client.create(PODS, binding, pod.namespace, name=pod.name, subresource="binding")
        except (ApiError, OSError) as error:
            return failure(str(error))
        return None
