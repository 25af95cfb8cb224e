"""CSI drivers make themselves known: a socket each in ``plugins_registry``, asked who it is, told whether it is accepted.

What is known of the drivers is written to this node's CSINode (names, how many volumes each can have), and to the Node (its
name for each driver as an annotation, its place as labels). A socket that goes takes its driver with it.
Source: kubernetes pkg/kubelet/pluginmanager, pkg/volume/csi (csi_plugin.go, nodeinfomanager).
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from pathlib import Path

import orjson

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import CSI_NODES, NODES
from sampan.node.csi import plugin_registration_pb2 as registration
from sampan.node.csi.driver import CsiDriver, CsiFailure, call
from sampan.node.inotify import changes_of
from sampan.node.unix_channel import UnixChannel
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node.csi")

REGISTRATION = "/pluginregistration.Registration/"
CSI_PLUGIN = "CSIPlugin"
NODE_IDS = "csi.volume.kubernetes.io/nodeid"
PAUSES = (0.05, 5.0)
"""First and longest pause until a socket that did not answer is asked again."""
SECONDS = 5.0


class CsiPlugins:
    """The drivers of this node, by name."""

    def __init__(
        self, client: Client, node_name: str, kubelet_dir: Path, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self.client, self.node_name, self.kubelet_dir, self.on_change = client, node_name, kubelet_dir, on_change
        self.folder = kubelet_dir / "plugins_registry"
        self.drivers: dict[str, CsiDriver] = {}
        self._by_socket: dict[str, str] = {}
        """Names of the sockets' drivers; ``""``: accepted as none of ours."""

    def get(self, name: str) -> CsiDriver:
        """Return a driver. Raises ``CsiFailure`` for one that has not registered."""
        driver = self.drivers.get(name)
        if driver is None:
            raise CsiFailure(f"driver name {name} not found in the list of registered CSI drivers")
        return driver

    async def run(self) -> None:
        """Follow the folder until cancelled."""
        (self.kubelet_dir / "plugins").mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        await self._write()
        pause = PAUSES[0]
        try:
            async with changes_of(self.folder) as changed:
                while True:
                    changed.clear()
                    failed = await self._look()
                    pause = min(pause * 2, PAUSES[1]) if failed else PAUSES[0]
                    try:
                        async with asyncio.timeout(pause if failed else None):
                            await changed.wait()
                    except TimeoutError:
                        continue
        finally:
            for driver in self.drivers.values():
                driver.close()

    async def _look(self) -> bool:
        """Register what is new, forget what has gone; return whether a socket has to be asked again."""
        there = {path.name for path in self.folder.iterdir() if is_socket(path)}
        gone = self._by_socket.keys() - there
        for socket in gone:
            name = self._by_socket.pop(socket)
            if name and name not in self._by_socket.values():
                self.drivers.pop(name).close()
        if gone:
            await self._write()
            self.on_change()
        failed = False
        for socket in sorted(there - self._by_socket.keys()):
            try:
                await self._register(socket)
            except (CsiFailure, ApiError) as error:
                logger.warning("plugin %s: %s", socket, error)
                failed = True
        return failed

    async def _register(self, socket: str) -> None:
        channel = UnixChannel(self.folder / socket)
        try:
            request = registration.InfoRequest()
            info = await call(channel, REGISTRATION + "GetInfo", request, registration.PluginInfo, SECONDS)
            problem = await self._accept(socket, info)
            told = registration.RegistrationStatus(plugin_registered=not problem, error=problem)
            answer = registration.RegistrationStatusResponse
            await call(channel, REGISTRATION + "NotifyRegistrationStatus", told, answer, SECONDS)
        finally:
            channel.close()
        if problem:
            raise CsiFailure(problem)

    async def _accept(self, socket: str, info: registration.PluginInfo) -> str:
        """Take a driver in; return why it is refused, or ``""``."""
        if info.type != CSI_PLUGIN:
            self._by_socket[socket] = ""
            return f"plugins of type {info.type} have no handler on this node"
        if not any(version.lstrip("v").split(".")[0] == "1" for version in info.supported_versions):
            return f"none of the CSI versions {', '.join(info.supported_versions)} is known here: 1.x is"
        endpoint = Path(info.endpoint) if info.endpoint else self.folder / socket
        driver = CsiDriver(info.name, endpoint, self.kubelet_dir)
        try:
            await driver.learn()
        except CsiFailure as error:
            driver.close()
            return f"RegisterPlugin error -- plugin registration failed with err: {error}"
        before = self.drivers.get(info.name)
        if before is not None:
            before.close()
        self.drivers[info.name] = driver
        self._by_socket[socket] = info.name
        await self._write()
        self.on_change()
        return ""

    # the API

    async def _write(self) -> None:
        """Write the CSINode, and to the Node what drivers call it and where they say it is."""
        node = await self._own_node()
        wanted = csi_node(node, list(self.drivers.values()))
        try:
            found = await self.client.get(CSI_NODES, self.node_name)
        except ApiError as error:
            if not error.is_not_found:
                raise
            await self.client.create(CSI_NODES, wanted)
        else:
            if found.get("spec") != wanted["spec"]:
                # what is said of a driver may not be changed: it goes first, and comes anew
                kept = [one for one in wanted["spec"]["drivers"] if one in (found["spec"].get("drivers") or ())]
                if kept != wanted["spec"]["drivers"] and (found["spec"].get("drivers") or []):
                    found = await self.client.update(CSI_NODES, {**found, "spec": {"drivers": kept}})
                await self.client.update(CSI_NODES, {**found, "spec": wanted["spec"]})
        change = node_change(node, list(self.drivers.values()))
        if change:
            await self.client.patch(NODES, self.node_name, {"metadata": change})

    async def _own_node(self) -> Object:
        """Return this Node; it registers itself meanwhile."""
        pause = PAUSES[0]
        while True:
            try:
                return await self.client.get(NODES, self.node_name)
            except ApiError as error:
                if not error.is_not_found:
                    raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSES[1])


def is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:  # it went this moment, and the folder will say so
        return False


def csi_node(node: Object, drivers: list[CsiDriver]) -> Object:
    """Return the CSINode of a node with these drivers."""
    metadata = node["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    listed = []
    for driver in sorted(drivers, key=lambda one: one.name):
        entry: Object = {"name": driver.name, "nodeID": driver.info.node_id}
        segments = driver.info.accessible_topology.segments
        if segments:
            entry["topologyKeys"] = sorted(segments)
        if driver.info.max_volumes_per_node > 0:
            entry["allocatable"] = {"count": driver.info.max_volumes_per_node}
        listed.append(entry)
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": metadata["name"], "ownerReferences": [owner]},
        "spec": {"drivers": listed},
    }


def node_change(node: Object, drivers: list[CsiDriver]) -> Object:
    """Return what of a Node's metadata is to be changed; ``{}``: nothing."""
    metadata = node["metadata"]
    ids = {driver.name: driver.info.node_id for driver in sorted(drivers, key=lambda one: one.name)}
    written = orjson.dumps(ids).decode() if ids else None
    labels = {key: value for driver in drivers for key, value in driver.info.accessible_topology.segments.items()}
    change: Object = {}
    if (metadata.get("annotations") or {}).get(NODE_IDS) != written:
        change["annotations"] = {NODE_IDS: written}
    if not labels.items() <= (metadata.get("labels") or {}).items():
        change["labels"] = labels
    return change
