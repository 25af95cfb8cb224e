"""The gateway as a long-running part: watches, translates, pushes to Envoy, and writes what is true into the status.

One loop: a change of any watched object sets ``dirty``; the loop waits for the burst of a tick to end, translates the world,
publishes the difference, and, when Envoy has answered, writes the statuses that changed. Endpoints go the same way, which
takes a few milliseconds. It needs a kubeconfig and nothing else, so it runs on any Kubernetes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.kubeconfig import load
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, ENDPOINT_SLICES, NAMESPACES, SECRETS, SERVICES
from sampan.gateway import addresses, ads, kinds, status
from sampan.gateway.envoy import EnvoyConfig, run_envoy
from sampan.gateway.plugins import Plugins
from sampan.gateway.resources import Translation, translate
from sampan.gateway.routes import plugin_filter
from sampan.gateway.world import World
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

BURST_SECONDS = 0.005
SETTLE_SECONDS = 10.0
"""How long Envoy may take to answer before the status says that it has not."""
SERVICE_INDEX = "service"


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    kubeconfig: Path
    node_ip: str
    run_dir: Path
    state_dir: Path
    log_dir: Path


WATCHED = (
    kinds.GATEWAY_CLASSES,
    kinds.GATEWAYS,
    kinds.HTTP_ROUTES,
    kinds.REFERENCE_GRANTS,
    kinds.MIDDLEWARES,
    kinds.PLUGINS,
    SERVICES,
    ENDPOINT_SLICES,
    SECRETS,
    NAMESPACES,
)


async def serve(config: GatewayConfig, ready: Callable[[], None]) -> None:
    """Run until cancelled. ``ready`` is called when the kinds are served and the world is known."""
    for folder in (config.run_dir, config.state_dir / "plugins", config.log_dir):
        folder.mkdir(parents=True, exist_ok=True)
    socket = config.run_dir / "ads.sock"
    socket.unlink(missing_ok=True)
    client = HttpClient(load(config.kubeconfig), agent="sampan-gateway")
    try:
        await install(client)
        async with asyncio.TaskGroup() as group:
            agent = Agent(config, client, group)
            group.create_task(ads.serve_ads(agent.ads, socket), name="ads")
            await agent.run(ready)
    finally:
        await client.close()


async def install(client: Client) -> None:
    """Make sure the kinds and the GatewayClass are there. What exists already stays as it is."""
    for definition in kinds.definitions():
        await create_if_missing(client, CUSTOM_RESOURCE_DEFINITIONS, definition)
    for resource in WATCHED[:6]:
        await until_served(client, resource)
    spec = {"controllerName": kinds.CONTROLLER, "description": "Envoy with Python plugins, by Sampan"}
    gateway_class = {
        "apiVersion": kinds.GATEWAY_CLASSES.api_version,
        "kind": "GatewayClass",
        "metadata": {"name": kinds.CLASS},
        "spec": spec,
    }
    await create_if_missing(client, kinds.GATEWAY_CLASSES, gateway_class)


async def create_if_missing(client: Client, resource: ResourceType, obj: Object) -> None:
    pause = 0.02
    while True:
        try:
            await client.create(resource, obj)
            return
        except ApiError as error:
            if error.already_exists:
                return
            raise
        except Exception as error:
            # the API is forked at the same moment as we are; nothing tells when it listens
            if not (isinstance(error, OSError) or type(error).__module__.startswith("aiohttp")):
                raise
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)


async def until_served(client: Client, resource: ResourceType) -> None:
    """Return when a new kind is served (a foreign API takes a moment to establish it)."""
    while True:
        try:
            await client.list(resource)
            return
        except ApiError as error:
            if not error.is_not_found:
                raise
            await asyncio.sleep(0.1)


def service_key(endpoint_slice: Object) -> list[str]:
    metadata = endpoint_slice["metadata"]
    name = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
    return [f"{metadata['namespace']}/{name}"] if name else []


class Agent:
    """The loop and what it keeps: informers, plugins, the ADS server, Envoy's task."""

    def __init__(self, config: GatewayConfig, client: Client, group: asyncio.TaskGroup) -> None:
        self.config, self.client, self.group = config, client, group
        self.ads = ads.Ads()
        self.dirty = asyncio.Event()
        self.informers = {resource: Informer(client, resource) for resource in WATCHED}
        self.informers[ENDPOINT_SLICES].add_index(SERVICE_INDEX, service_key)
        self.plugins = Plugins(config.state_dir / "plugins", self.dirty.set, group)
        module = importlib.util.find_spec("pyvoy._pyvoy")
        self._pyvoy_module = str(module.origin) if module else ""
        self._envoy: asyncio.Task[None] | None = None
        self._written: dict[tuple[str, str], Object] = {}
        self._settled_at = asyncio.get_running_loop().time()

    async def run(self, ready: Callable[[], None]) -> None:
        for informer in self.informers.values():
            self._task(informer.run(), f"informer-{informer.resource.plural}")
            informer.add_handler(lambda change, old, new: self.dirty.set())
        self.informers[kinds.PLUGINS].add_handler(self.plugins.on_plugin)
        for informer in self.informers.values():
            await informer.synced()
        await self.plugins.loaded()
        self.dirty.set()
        ready()
        while True:
            await self.dirty.wait()
            await asyncio.sleep(BURST_SECONDS)
            self.dirty.clear()
            try:
                await self._round()
            except ApiError as error:
                logger.warning("%s", error)
                self._again(1.0)
            except Exception as error:
                if not (isinstance(error, OSError) or type(error).__module__.startswith("aiohttp")):
                    raise
                logger.warning("%s: %s", type(error).__name__, error)
                self._again(1.0)

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self.group.create_task(work, name=name)

    def _again(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.dirty.set)

    def world(self) -> World:
        """Return the world as the informers have it now."""
        objects = {resource: informer.objects for resource, informer in self.informers.items()}
        slices = self.informers[ENDPOINT_SLICES]
        by_service: dict[str, list[Object]] = {}
        for endpoint_slice in slices:
            for key in service_key(endpoint_slice):
                by_service.setdefault(key, []).append(endpoint_slice)
        world = World(
            classes=objects[kinds.GATEWAY_CLASSES],
            gateways=objects[kinds.GATEWAYS],
            routes=objects[kinds.HTTP_ROUTES],
            services=objects[SERVICES],
            slices=by_service,
            secrets=objects[SECRETS],
            namespaces=objects[NAMESPACES],
            grants=objects[kinds.REFERENCE_GRANTS],
            middlewares=objects[kinds.MIDDLEWARES],
            plugins=objects[kinds.PLUGINS],
            live_plugins=dict(self.plugins.live),
            plugin_problems=dict(self.plugins.problems),
            node_ip=self.config.node_ip,
            plugin_sockets=str(self.config.run_dir),
            pyvoy_module=self._pyvoy_module,
        )
        ports = addresses.assign(world.our_gateways(), addresses.ports_of(slices.all()))
        return World(**{**world.__dict__, "ports": ports})

    async def _round(self) -> None:
        """Bring Envoy and the statuses up to date with the world."""
        world = self.world()
        gateways = world.our_gateways()
        if gateways:
            self._ensure_envoy()
        translation = translate(world)
        self.ads.publish(translation.snapshot)
        for key, gateway in gateways:
            await self._ensure_address(world, key, gateway)
        live = await self._until_settled() if gateways else True
        now = asyncio.get_running_loop().time()
        if live:
            self._settled_at = now
        elif self.dirty.is_set() and now - self._settled_at < SETTLE_SECONDS:
            return  # a change overtook Envoy's answer: the next round says what became of both
        await self._write_statuses(world, translation, live)
        if live:
            self.plugins.sweep()
        else:
            self.dirty.set()  # the status is to follow when Envoy answers after all

    def _ensure_envoy(self) -> None:
        if self._envoy is None:
            config = EnvoyConfig(
                ads_socket=self.config.run_dir / "ads.sock",
                run_dir=self.config.run_dir,
                log_dir=self.config.log_dir,
                plugin_dir=self.config.state_dir / "plugins",
            )
            self._envoy = self._task(run_envoy(config), "envoy")

    async def _ensure_address(self, world: World, key: str, gateway: Object) -> None:
        ports = {entry: number for entry, number in world.ports.items() if entry[0] == key}
        wanted = {"ports": sorted(ports.items()), "generation": gateway["metadata"].get("generation", 0)}
        there = world.services.get(key) is not None
        if self._written.get(("address", key)) == wanted and there:
            return
        if "deletionTimestamp" in gateway["metadata"]:
            return
        await addresses.ensure(self.client, gateway, key, ports, self.config.node_ip)
        self._written["address", key] = wanted

    async def _until_settled(self) -> bool:
        """Wait for Envoy's answer; a change that comes meanwhile goes first."""
        settled = asyncio.ensure_future(self.ads.settled())
        changed = asyncio.ensure_future(self.dirty.wait())
        try:
            await asyncio.wait((settled, changed), timeout=SETTLE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            return settled.done()
        finally:
            settled.cancel()
            changed.cancel()

    async def _write_statuses(self, world: World, translation: Translation, live: bool) -> None:
        now = timestamp()
        listeners, routes = (self.ads.refusals(kind) for kind in (ads.LISTENER, ads.ROUTES))
        plugins = self.ads.refusals(ads.EXTENSION)
        by_gateway = {name.rpartition("/")[0]: text for name, text in listeners.items()}
        clusters = next(iter(self.ads.refusals(ads.CLUSTER).values()), "")
        # a route configuration is <namespace>/<gateway>/<port> and, for TLS, /<listener>
        routes = {"/".join(name.split("/")[:2]): text for name, text in routes.items()}
        for name, obj in world.classes.items():
            if obj["spec"]["controllerName"] == kinds.CONTROLLER:
                await self._write(kinds.GATEWAY_CLASSES, name, obj, status.class_status(obj, now))
        for key, gateway in world.our_gateways():
            address = addresses.address_of(world.services.get(key))
            refusal = by_gateway.get(key, clusters)
            new = status.gateway_status(world, translation, key, gateway, address, live, refusal, now)
            await self._write(kinds.GATEWAYS, key, gateway, new)
        for key, route in world.routes.items():
            found = status.route_status(world, translation, key, route, now, routes)
            if found is not None:
                await self._write(kinds.HTTP_ROUTES, key, route, found)
        for key, plugin in world.plugins.items():
            refusal = plugins.get(plugin_filter(key), "")
            await self._write(kinds.PLUGINS, key, plugin, status.plugin_status(world, key, plugin, now, refusal))

    async def _write(self, resource: ResourceType, key: str, obj: Object, new: Object) -> None:
        """Write a status unless it is there already."""
        if obj.get("status") == new:
            return
        metadata = obj["metadata"]
        with contextlib.suppress(ApiError):  # gone or changed meanwhile: its event brings us back
            await self.client.patch(
                resource,
                metadata["name"],
                {"status": new},
                metadata.get("namespace"),
                type="merge",
                subresource="status",
            )
