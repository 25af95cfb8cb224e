"""A cluster that is no API's, with what is in it: for plugins that look at more than nodes and pods."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import ResourceType
from sampan.client.resources import NODES, STORAGE_CLASSES
from sampan.scheduler.cluster_state import cluster_of
from sampan.scheduler.configuration import Configuration, ProfileSpec, build
from sampan.scheduler.cycle import Cycles, Refusal
from sampan.scheduler.framework import CycleState, Handle, Status
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.plugins.dynamic_resources import DynamicResources
from sampan.scheduler.plugins.volume_binding import VolumeBinding
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object

LATE = {"metadata": {"name": "late"}, "provisioner": "x.example", "volumeBindingMode": "WaitForFirstConsumer"}


class World:
    """``api`` holds what was written; informers see it at once, unless ``is_late``."""

    def __init__(
        self,
        nodes: list[Object],
        there: tuple[Object, ...] = (),
        objects: dict[ResourceType, list[Object]] | None = None,
        version: tuple[int, int] = (1, 37),
        args: dict[str, Any] | None = None,
    ) -> None:
        client: Any = SimpleNamespace(streams_lists=False, update=self.update, get=self.get)
        self.informers: dict[ResourceType, Informer] = {}
        self.client, self.written = client, asyncio.Queue[tuple[ResourceType, Object]]()
        self.api: dict[tuple[ResourceType, str], Object] = {}
        self.is_late = False
        self.told: list[tuple[ResourceType, str, Object | None, Object | None]] = []
        """What plugins had others told of."""
        self.started: list[asyncio.Future[None]] = []
        for resource, found in {STORAGE_CLASSES: [LATE], NODES: nodes, **(objects or {})}.items():
            for one in found:
                self.set(resource, one)
        handle = Handle(
            client=client,
            informer_of=self.informer,
            events=EventRecorder(client, "default-scheduler"),
            cluster=cluster_of(nodes, list(there)),
            nominations=Nominations(),
            start=lambda work, name: self.started.append(asyncio.ensure_future(work)),
            activate=lambda key: None,
            released=lambda key: None,
            kubernetes_version=version,
            tell=lambda *event: self.told.append(event),
        )
        self.cluster = handle.cluster
        self.profile = build(ProfileSpec(args=args or {}), Configuration(), handle)

    async def update(self, resource: ResourceType, obj: Object, **_: Any) -> Object:
        if self.is_late:
            self.api[resource, key_of(obj)] = obj
        else:
            self.set(resource, obj)
        self.written.put_nowait((resource, obj))
        return obj

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Object:
        found = self.api.get((resource, f"{namespace}/{name}" if namespace else name))
        if found is None:
            raise ApiError(404, {"reason": "NotFound"})
        return found

    def informer(self, resource: ResourceType) -> Informer:
        return self.informers.setdefault(resource, Informer(self.client, resource))

    def set(self, resource: ResourceType, obj: Object) -> None:
        number = str(int(obj["metadata"].get("resourceVersion", 0)) + 1)
        newer = {**obj, "metadata": {**obj["metadata"], "resourceVersion": number}}
        self.api[resource, key_of(newer)] = newer
        self.informer(resource).take(newer)

    def show(self, resource: ResourceType, key: str) -> None:
        """Have the informer see what the API has."""
        self.set(resource, self.api[resource, key])

    def goes(self, waiting: Object, state: CycleState | None = None) -> str:
        found = Cycles(self.cluster).choose(self.profile, CycleState() if state is None else state, PodInfo(waiting))
        assert not isinstance(found, Status), found
        return found.message if isinstance(found, Refusal) else found.name

    @property
    def binding(self) -> VolumeBinding:
        found = self.profile.plugins["VolumeBinding"]
        assert isinstance(found, VolumeBinding)
        return found

    @property
    def devices(self) -> DynamicResources:
        found = self.profile.plugins["DynamicResources"]
        assert isinstance(found, DynamicResources)
        return found


async def reserved(world: World, waiting: Object, node: str = "a") -> tuple[CycleState, PodInfo]:
    """Choose the node for a pod and reserve there what it needs."""
    state, info = CycleState(), PodInfo(waiting)
    assert world.goes(waiting, state) == node
    assert world.profile.reserve(state, info, node) is None
    return state, info
