"""Snapshots of fresh clusters, and what a forked process does with one.

A snapshot is the image of a store: what a fresh cluster of a version holds, and the manifests asked for with what the
controllers made of them. It is made once, in an event loop of its own that has ended when the process is forked; the fork
begins a store with it and puts a new API on that, as after a restart, so no task, timer or socket is ever inherited.
"""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
import socket
from pathlib import Path

import uvloop

import sampan.api.tls  # noqa: F401  # warm: imported late by whoever serves, and here before the forks
from sampan.api.app import Api
from sampan.api.assembly import assemble  # noqa: F401  # warm
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, listening, open_api
from sampan.client.applying import apply
from sampan.cluster.api_part import run_controllers
from sampan.controllers import builtin  # noqa: F401  # warm
from sampan.scheduler import scheduler  # noqa: F401  # warm
from sampan.schema.types import UnknownVersion, type_system
from sampan.simulation import simulation  # noqa: F401  # warm
from sampan.simulation.kinds import definitions
from sampan.store import Image, Store
from sampan.store.sqlite import SqliteStore
from sampan.testing.spec import ClusterError, ClusterSpec
from sampan.testing.warm import IMAGE, READY

POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
QUIET_SECONDS = 0.15
"""A snapshot with manifests is taken when the controllers have written nothing for so long."""
SETTLE_AT_MOST_SECONDS = 15.0
ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))


def node_names(spec: ClusterSpec) -> tuple[str, ...]:
    return tuple(f"node-{number}" for number in range(1, spec.nodes + 1)) if simulates(spec) else ()


def simulates(spec: ClusterSpec) -> bool:
    return spec.pods == "simulated" and spec.controllers


class Snapshots:
    """The snapshots of a warm process, in ``images``."""

    def __init__(self, pki_dir: Path) -> None:
        self.pki_dir = pki_dir
        self.images: dict[ClusterSpec, Image] = {}

    def make(self, spec: ClusterSpec) -> None:
        """Make the snapshot of a spec. Raises ``ClusterError`` with what was wrong with it."""
        try:
            type_system(spec.kubernetes_version)
        except UnknownVersion as error:
            raise ClusterError(str(error)) from error
        self.images[spec] = asyncio.run(self._filled(spec))

    async def _filled(self, spec: ClusterSpec) -> Image:
        store = SqliteStore(None)
        api = await open_api(self._config(spec, 0), store)
        try:
            if simulates(spec):
                await apply(LocalClient(api, ADMIN), definitions())
            if spec.manifests:
                await self._fill(spec, api)
            return store.image()
        finally:
            await api.close()

    async def _fill(self, spec: ClusterSpec, api: Api) -> None:
        running = asyncio.create_task(self._controllers(spec, api)) if spec.controllers else None
        try:
            await apply(LocalClient(api, ADMIN), spec.objects())
            if running is not None:
                await settled(api.store)
        finally:
            if running is not None:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    def serve(
        self, spec: ClusterSpec, image: Image, listener: socket.socket, control: socket.socket, image_file: Path
    ) -> None:
        """Serve a cluster from an image, in a process of its own, until it is killed or ``control`` ends."""
        import logging

        logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        uvloop.run(self._serve(spec, SqliteStore(image=image), listener, control, image_file))

    async def _serve(
        self, spec: ClusterSpec, store: SqliteStore, listener: socket.socket, control: socket.socket, image_file: Path
    ) -> None:
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None

        def asked() -> None:
            if not control.recv(1):  # the warm process has ended
                loop.remove_reader(control)
                main.cancel()
                return
            image_file.write_bytes(pickle.dumps(store.image()))
            control.sendall(IMAGE)

        loop.add_reader(control, asked)
        port = int(listener.getsockname()[1])
        config = dataclasses.replace(self._config(spec, port, listener), from_image=True)
        api = await open_api(config, store)
        async with listening(api, config), asyncio.TaskGroup() as group:
            if spec.controllers:
                nodes = registered(api, node_names(spec))
                group.create_task(self._controllers(spec, api), name="controllers")
                await nodes
            control.sendall(READY)
            await loop.create_future()

    async def _controllers(self, spec: ClusterSpec, api: Api) -> None:
        await run_controllers(
            api,
            root_ca=(self.pki_dir / "ca.crt").read_text(),
            pod_cidr=POD_CIDR,
            simulated_nodes=node_names(spec) if simulates(spec) else None,
            pki_dir=self.pki_dir,
            service_cidr=SERVICE_CIDR,
        )

    def _config(self, spec: ClusterSpec, port: int, *sockets: socket.socket) -> ApiConfig:
        return ApiConfig(
            pki_dir=self.pki_dir,
            sockets=sockets,
            kubernetes_version=spec.kubernetes_version,
            service_cidr=SERVICE_CIDR,
            pod_cidr=POD_CIDR,
            advertise=("127.0.0.1", port or 6443),
            resource_metrics=simulates(spec),
        )


async def registered(api: Api, names: tuple[str, ...]) -> None:
    """Return when the nodes are there."""
    served = api.catalog.get("", "v1", "nodes")
    assert served is not None
    watch = api.store.watch(served.key("", ""))
    missing = {served.key("", name) for name in names}
    missing = {key for key in missing if api.store.get(key) is None}
    while missing:
        for event in await anext(aiter(watch)):
            missing.discard(event.record.key)
    watch.close()


async def settled(store: Store) -> None:
    """Return when nothing has been written for a moment, or when the longest time to wait is over."""
    watch = store.watch("/registry/")
    try:
        async with asyncio.timeout(SETTLE_AT_MOST_SECONDS):
            while True:
                try:
                    await asyncio.wait_for(anext(aiter(watch)), QUIET_SECONDS)
                except TimeoutError:
                    return
    except TimeoutError:
        return
    finally:
        watch.close()
