"""The gateway as a long-running part: watches, brings Envoy up to date, and writes what is true into the status.

Two loops. ``_follow``: a change of a watched object sets ``dirty``; the loop lets the tick end, has the pipeline work off
what changed, and makes sure of each Gateway's Service. ``_tell``: when Envoy has answered, the statuses that are due are
written, those that differ. It needs a kubeconfig and nothing else, so it runs on any Kubernetes.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import logging
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sampan.client.http import HttpClient
from sampan.client.informer import Handler, key_of
from sampan.client.kubeconfig import load
from sampan.client.protocol import Client
from sampan.client.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    PODS,
    SECRETS,
)
from sampan.gateway.configuration import GatewayConfig
from sampan.gateway.copies import LeanInformer
from sampan.gateway.databases import Databases
from sampan.gateway.envoy import EnvoyConfig, libpython, run_envoy
from sampan.gateway.failures import expected
from sampan.gateway.fronts import Fronts
from sampan.gateway.health import serve_health
from sampan.gateway.install import install
from sampan.gateway.issuers import Issuer, Issuers
from sampan.gateway.kinds import resources as kinds
from sampan.gateway.limits.peers import Peers
from sampan.gateway.limits.service import SOCKET as LIMITS_SOCKET
from sampan.gateway.limits.service import Limits
from sampan.gateway.limits.service import Service as LimitsService
from sampan.gateway.model.certificates import no_secret
from sampan.gateway.model.world import Surroundings
from sampan.gateway.pipeline import Pipeline
from sampan.gateway.plugins import trampolines
from sampan.gateway.plugins.exchange_jumps import ExchangeJumps
from sampan.gateway.plugins.jumps import Jumps
from sampan.gateway.plugins.loader import Plugins
from sampan.gateway.plugins.machine import Machine
from sampan.gateway.replicas import alive, bury, elected, leave
from sampan.gateway.status import STATUSES
from sampan.gateway.telling import Telling
from sampan.gateway.watched import WATCHED
from sampan.gateway.xds import ads
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

LONGEST_SLEEP_SECONDS = 86_400.0
TOGETHER_SECONDS = 10.0
"""How long before it is tried again to count with other replicas."""


async def serve(config: GatewayConfig, ready: Callable[[], None]) -> None:
    """Run until cancelled. ``ready`` is called when the kinds are served and the world is known."""
    config.make_folders()
    connection = config.connection or load(config.kubeconfig)
    client = HttpClient(connection, agent="sampan-gateway")
    try:
        await install(client, makes_kinds=config.makes_kinds, gateway_class=config.gateway_class)
        async with asyncio.TaskGroup() as group:
            agent = Agent(config, client, group)
            if config.health_port:
                health = serve_health(config.node_ip, config.health_port, lambda: agent.is_ready)
                group.create_task(health, name="health")
            await agent.run(ready)
            if config.replica is not None:
                try:
                    await asyncio.get_running_loop().create_future()
                finally:
                    await leave(client, config.replica)
    finally:
        await client.close()


def loadable(machine: type[Machine], folder: Path) -> str:
    """Return the path of an object by which Envoy calls plugins itself, "" where this machine or its Python has none, or the
    folder is on a file system from which nothing may be loaded."""
    if not trampolines.is_served() or libpython() is None:
        return ""
    path = trampolines.written(folder, machine)
    try:
        ctypes.CDLL(path)
    except OSError as error:
        logger.warning("plugins are asked, not called: %s", error)
        return ""
    return path


class Agent:
    """The loops and what they keep: informers, the pipeline, plugins, Envoy's task."""

    def __init__(self, config: GatewayConfig, client: Client, group: asyncio.TaskGroup) -> None:
        self.config, self.client, self.group = config, client, group
        self.ads = ads.Ads()
        self.limits = Limits()
        module = importlib.util.find_spec("pyvoy._pyvoy")
        surroundings = Surroundings(
            node_ip=config.node_ip,
            plugin_sockets=str(config.run_dir),
            pyvoy_module=str(module.origin) if module else "",
            inline_module=loadable(Jumps, config.state_dir / "plugins"),
            exchange_module=loadable(ExchangeJumps, config.state_dir / "plugins"),
            log_dir=str(config.log_dir),
            on_host=config.on_host,
            metrics_port=config.metrics_port,
            gateway_class=config.gateway_class,
            secret_namespaces=frozenset(config.secret_namespaces),
        )
        self.pipeline = Pipeline(surroundings, self.ads)
        self.peers = Peers(self.limits, config.replica, config.node_ip, client) if config.replica is not None else None
        self.dirty = asyncio.Event()
        self.informers = {resource: LeanInformer(client, resource) for resource in WATCHED if resource is not SECRETS}
        self.secrets = [LeanInformer(client, SECRETS, namespace) for namespace in config.secret_namespaces or (None,)]
        log = config.log_dir / "plugins.log"
        self.plugins = Plugins(config.state_dir / "plugins", self._plugins_changed, group, config.run_dir, log)
        self.plugins.secrets = self._secret
        self.issuers = Issuers(self._issuer_answered, group)
        self.databases = Databases(config.run_dir / "databases", self._database_read, group)
        self._envoy: asyncio.Task[None] | None = None
        self._pods: asyncio.Task[None] | None = None
        self._running = False
        self.leads = config.replica is None
        """Whether it is for us to write statuses, Events and Services."""
        self.fronts = Fronts(config, client, self.pipeline, self.ads, self.informers, self.dirty.set)
        self.telling = Telling(
            client,
            self.pipeline,
            self.ads,
            self.informers,
            self.plugins,
            leads=lambda: self.leads,
            envoy_runs=lambda: self._envoy is not None,
            again=self.dirty.set,
        )
        self._alarm: asyncio.TimerHandle | None = None
        self._is_updating = False
        """Whether a change has been taken over and what it makes due is not known yet."""

    async def run(self, ready: Callable[[], None]) -> None:
        informers = [*self.informers.values(), *self.secrets]
        for informer in informers:
            resource = informer.resource
            self._task(informer.run(), "-".join(("informer", resource.plural, informer.namespace or "")))
            informer.add_handler(self._handler(kinds.world_kind(resource)))
        self.informers[CONFIG_MAPS].add_handler(self.plugins.on_config_map)
        self.informers[kinds.PLUGINS].add_handler(self.plugins.on_plugin)
        if self.peers is not None:
            self.informers[ENDPOINT_SLICES].add_handler(self.peers.on_slice)
        for informer in informers:
            await informer.synced()
        await self.plugins.loaded()
        self._plugins_changed()
        self.pipeline.ports.learn(self.informers[ENDPOINT_SLICES].all())
        self.fronts.learn()
        self.telling.note_due(self.pipeline.update())
        self._want()
        # an Envoy that is there already is told what is gone: only now is it known what should be
        socket, limits_socket = self.config.run_dir / "ads.sock", self.config.run_dir / LIMITS_SOCKET
        for path in (socket, limits_socket):
            path.unlink(missing_ok=True)
        self._task(ads.serve(self.ads, socket), "ads")
        self._task(ads.serve(LimitsService(self.limits), limits_socket), "limits")
        if self.peers is not None:
            self._task(self._count_together(self.peers), "peers")
        if self.config.replica is not None:
            self._task(alive(self.client, self.config.replica), "alive")
            self._task(elected(self.client, self.config.replica, self.config.replica.election, self._lead), "election")
        self._task(self.telling.run(), "status")
        self._task(self.telling.events.run(), "events")
        self._task(self._follow(), "follow")
        self._running = True
        ready()

    @property
    def is_ready(self) -> bool:
        """Whether the world is known, and Envoy has taken it, where there is one."""
        return self._running and (self._envoy is None or self.ads.acknowledged >= 0)

    def _handler(self, kind: str) -> Handler:
        def changed(change: str, old: Object | None, new: Object) -> None:
            self.pipeline.put(kind, key_of(new), None if change == "DELETED" else new)
            self.dirty.set()

        return changed

    def _secret(self, key: str) -> Object | str:
        """Return a Secret, or why there is none for us."""
        found = next((obj for informer in self.secrets if (obj := informer.get(key)) is not None), None)
        return found or no_secret(self.pipeline.world.surroundings, key)

    def _plugins_changed(self) -> None:
        for key in {*self.plugins.live, *self.plugins.problems, *self.pipeline.world.all("LivePlugin")}:
            self.pipeline.put_plugin(str(key), self.plugins.live.get(str(key)), self.plugins.problems.get(str(key), ""))
        self.dirty.set()

    def _issuer_answered(self, issuer: Issuer, known: dict[str, Any] | None, problem: str) -> None:
        self.pipeline.put_issuer(issuer, known, problem)
        self.dirty.set()

    def _database_read(self, path: str, copy: str | None, problem: str) -> None:
        self.pipeline.put_database(path, copy, problem)
        self.dirty.set()

    def _want(self) -> None:
        """Look for what the pipeline wants of the world outside."""
        self.issuers.want(set(self.pipeline.issuers.values()))
        self.databases.want({path for paths in self.pipeline.databases.values() for path in paths})

    async def settled(self) -> None:
        """Return when every status is written, of what is known after each issuer and database was looked at."""
        await self.issuers.tried()
        await self.databases.tried()
        await self.telling.told.wait()
        while self.dirty.is_set() or self._is_updating or self.pipeline.due or self.telling.due:
            await asyncio.sleep(0)
            await self.telling.told.wait()

    async def _count_together(self, peers: Peers) -> None:
        """Count with the other replicas what is shared; each for itself until that can be."""
        while True:
            try:
                await peers.run()
            except Exception as error:
                if not expected(error):
                    raise
                logger.warning("limits are not shared with other replicas yet: %s", error)
            await asyncio.sleep(TOGETHER_SECONDS)

    def _task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self.group.create_task(work, name=name)

    # from the world to Envoy

    async def _follow(self) -> None:
        self.dirty.set()
        while True:
            await self.dirty.wait()
            self._is_updating = True
            self.dirty.clear()
            await asyncio.sleep(0)  # the events of this tick go together
            live = self.plugins.versions()
            self.pipeline.world.time_passes()
            number = self.pipeline.update()
            self._wake()
            self.telling.pushed = number, live
            self._want()
            self.telling.note_due(number)
            self._is_updating = False
            if self.pipeline.gateways or self.pipeline.waypoints:
                self._ensure_envoy()
            if self.pipeline.wants_pods and self._pods is None:
                self._pods = self._task(self._follow_pods(), "pods")
            if self.leads:
                await self.fronts.ensure_waypoints(number)
            for key in list(self.pipeline.gateways):
                await self.fronts.ensure_service(key, self.leads)
            await self.fronts.remove_others()

    def _wake(self) -> None:
        """Go on when the next time has come that something waits for (a certificate expires)."""
        if self._alarm is not None:
            self._alarm.cancel()
        moment = self.pipeline.world.time_passes()
        if moment is not None:
            delay = min(max(0.0, moment - time.time()) + 0.01, LONGEST_SLEEP_SECONDS)
            self._alarm = asyncio.get_running_loop().call_later(delay, self.dirty.set)

    async def _follow_pods(self) -> None:
        """Watch all pods' addresses: begun with the first route for the clients of a namespace."""
        informer = LeanInformer(self.client, PODS)

        def changed(change: str, old: Object | None, new: Object) -> None:
            self.pipeline.put_pod(key_of(new), None if change == "DELETED" else new)
            if self.pipeline.world.dirty:
                self.dirty.set()

        informer.add_handler(changed)
        await informer.run()

    async def _lead(self) -> None:
        """Write what there is to write, for as long as we lead."""
        self.leads = True
        try:
            self.fronts.services.clear()
            for kind in STATUSES:
                self.pipeline.due |= {(kind, str(key)) for key in self.pipeline.world.all(kind)}
            self.telling.note_due(self.ads.sequence)
            self.dirty.set()
            if self.config.replica is not None:
                await bury(self.client, self.config.replica)
        finally:
            self.leads = False

    def _ensure_envoy(self) -> None:
        if self._envoy is None and self.config.starts_envoy:
            config = EnvoyConfig(
                owned=self.config.owns_envoy,
                ads_socket=self.config.run_dir / "ads.sock",
                run_dir=self.config.run_dir,
                log_dir=self.config.log_dir,
                plugin_dir=self.config.state_dir / "plugins",
                workers=self.config.workers,
            )
            self._envoy = self._task(run_envoy(config, self.limits.flights.forget), "envoy")
