"""``/stats/summary``, ``/metrics``, ``/metrics/resource`` and ``/metrics/cadvisor`` of the kubelet's server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node import stats_metrics
from sampan.node.node_status import memory_bytes
from sampan.node.runtime import RuntimeFailure
from sampan.node.stats import Snapshot, summary
from sampan.node.stats_rates import Measured, Sampler
from sampan.node.stats_reading import HasPod, Reader, TellsStats
from sampan.node.volumes.usage import families
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from aiohttp import web

TEXT = "text/plain; version=0.0.4; charset=utf-8"
STATES = {cri.CONTAINER_CREATED: "created", cri.CONTAINER_RUNNING: "running", cri.CONTAINER_EXITED: "exited"}


class StatsConfig(Protocol):
    """What of the node's configuration is needed."""

    @property
    def name(self) -> str: ...
    @property
    def cgroup(self) -> str: ...
    @property
    def kubelet_dir(self) -> Path: ...
    @property
    def pod_log_dir(self) -> Path: ...
    @property
    def kubernetes_version(self) -> str: ...


class TellsVolumes(HasPod, Protocol):
    async def volume_stats(self) -> list[Object]: ...


class StatsRoutes:
    """What the kubelet tells of use, asked of the runtime and the kernel when somebody asks."""

    def __init__(self, workers: Mapping[str, TellsVolumes], runtime: TellsStats, config: StatsConfig) -> None:
        self._workers, self._config = workers, config
        reader = Reader(config.name, config.cgroup, config.kubelet_dir, config.pod_log_dir)

        async def read() -> Snapshot:
            return await reader.read(runtime, list(workers.values()))

        self._read = read
        self._sampler = Sampler(read)

    def add(self, app: web.Application) -> None:
        app.router.add_get("/stats/summary", self.summary)
        app.router.add_get("/metrics", self.own)
        app.router.add_get("/metrics/resource", self.resource)
        app.router.add_get("/metrics/cadvisor", self.cadvisor)

    async def measured(self) -> Measured:
        from aiohttp import web

        try:
            return await self._sampler.measure()
        except RuntimeFailure as error:
            raise web.HTTPInternalServerError(text=f"failed to list container stats: {error}") from error

    async def _snapshot(self) -> Snapshot:
        from aiohttp import web

        try:
            return await self._read()
        except RuntimeFailure as error:
            raise web.HTTPInternalServerError(text=f"failed to list container stats: {error}") from error

    async def summary(self, request: web.Request) -> web.Response:
        from aiohttp import web

        found = await self.measured()
        only = request.query.get("only_cpu_and_memory", "").lower() in ("true", "1")
        told = summary(found.snapshot, found.rates, only_cpu_and_memory=only)
        for pod in () if only else told["pods"]:
            worker = self._workers.get(pod["podRef"]["uid"])
            pod["volume"] = await worker.volume_stats() if worker is not None else []
        body = orjson.dumps(told)
        return web.Response(body=body, content_type="application/json")

    async def resource(self, request: web.Request) -> web.Response:
        return prometheus(stats_metrics.resource_page(await self._snapshot()))

    async def cadvisor(self, request: web.Request) -> web.Response:
        cores = len(os.sched_getaffinity(0))
        return prometheus(stats_metrics.cadvisor_page(await self._snapshot(), cores, memory_bytes()))

    async def own(self, request: web.Request) -> web.Response:
        counts = dict.fromkeys(STATES.values(), 0)
        views = [worker.view for worker in self._workers.values()]
        for view in views:
            for container in view.containers.values():
                if container.current is not None and container.current.state in STATES:
                    counts[STATES[container.current.state]] += 1
        running = sum(view.sandbox_ready for view in views)
        name, version = self._config.name, self._config.kubernetes_version
        volumes = [stats for worker in list(self._workers.values()) for stats in await worker.volume_stats()]
        return prometheus(stats_metrics.kubelet_page(name, version, running, counts, families(volumes)))


def prometheus(text: str) -> web.Response:
    from aiohttp import web

    return web.Response(body=text.encode(), headers={"Content-Type": TEXT})
