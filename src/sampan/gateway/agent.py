"""The gateway as a long-running part: watches, brings Envoy up to date, and writes what is true into the status.

Two loops. ``_follow``: a change of a watched object sets ``dirty``; the loop lets the tick end, has the pipeline work off
what changed, and makes sure of each Gateway's Service. ``_tell``: when Envoy has answered, the statuses that are due are
written, those that differ. It needs a kubeconfig and nothing else, so it runs on any Kubernetes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.http import HttpClient
from sampan.client.informer import Handler, Informer, key_of
from sampan.client.kubeconfig import Connection, load
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import (
    CONFIG_MAPS,
    ENDPOINT_SLICES,
    INGRESS_CLASSES,
    INGRESSES,
    NAMESPACES,
    PODS,
    SECRETS,
    SERVICES,
)
from sampan.gateway import infrastructure
from sampan.gateway.databases import Databases
from sampan.gateway.envoy import EnvoyConfig, run_envoy
from sampan.gateway.health import serve_health
from sampan.gateway.ingress.translation import KINDS as TRANSLATED
from sampan.gateway.install import install
from sampan.gateway.issuers import Issuer, Issuers
from sampan.gateway.kinds import resources as kinds
from sampan.gateway.limits.peers import Peers
from sampan.gateway.limits.service import SOCKET as LIMITS_SOCKET
from sampan.gateway.limits.service import Limits
from sampan.gateway.limits.service import Service as LimitsService
from sampan.gateway.model.world import Surroundings
from sampan.gateway.pipeline import Pipeline
from sampan.gateway.plugins.loader import Plugins
from sampan.gateway.replicas import LEASE, Replica, alive, bury, elected, leave
from sampan.gateway.status import STATUSES, Moment
from sampan.gateway.xds import ads
from sampan.gateway.xds.metrics import PORT as METRICS_PORT
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

SETTLE_SECONDS = 10.0
"""How long Envoy may take to answer before the status says that it has not."""
LONGEST_SLEEP_SECONDS = 86_400.0
STATUS_WRITERS = 8
TOGETHER_SECONDS = 10.0
"""How long before it is tried again to count with other replicas."""
PAUSE_SECONDS = 1.0
"""How long what the API refused is left alone."""
WATCHED = (
    *kinds.DEFINED,
    SERVICES,
    ENDPOINT_SLICES,
    SECRETS,
    CONFIG_MAPS,
    NAMESPACES,
    INGRESS_CLASSES,
    INGRESSES,
)
RESOURCES = {kinds.world_kind(resource): resource for resource in WATCHED}


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    node_ip: str
    """The address that Envoy listens on."""
    run_dir: Path
    state_dir: Path
    log_dir: Path
    kubeconfig: Path = Path()
    connection: Connection | None = None
    """What leads to the API, where it is not a kubeconfig."""
    on_host: bool = False
    """Whether Gateways have their ports on the host itself; else each has a Service that leads to a port of Envoy's."""
    owns_envoy: bool = False
    """Whether Envoy ends with us; else it serves on while we are started again."""
    replica: Replica | None = None
    """Which of several this is; None: there is no other."""
    starts_envoy: bool = True
    metrics_port: int = METRICS_PORT
    """Where Envoy's counters are served; 0: nowhere."""
    health_port: int = 0
    """Where it is told whether this is alive and ready; 0: nowhere."""
    makes_kinds: bool = True
    """Whether kinds that are missing are made; else they are waited for."""

    @property
    def reached_at(self) -> str:
        """The address that slices lead to."""
        return self.replica.address if self.replica is not None else self.node_ip

    def make_folders(self) -> None:
        for folder in (self.run_dir, self.state_dir / "plugins", self.log_dir):
            folder.mkdir(parents=True, exist_ok=True)


async def serve(config: GatewayConfig, ready: Callable[[], None]) -> None:
    """Run until cancelled. ``ready`` is called when the kinds are served and the world is known."""
    config.make_folders()
    connection = config.connection or load(config.kubeconfig)
    client = HttpClient(connection, agent="sampan-gateway")
    try:
        await install(client, makes_kinds=config.makes_kinds)
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
            log_dir=str(config.log_dir),
            on_host=config.on_host,
            metrics_port=config.metrics_port,
        )
        self.pipeline = Pipeline(surroundings, self.ads)
        self.peers = Peers(self.limits, config.replica, config.node_ip, client) if config.replica is not None else None
        self.dirty, self.news = asyncio.Event(), asyncio.Event()
        self.told = asyncio.Event()
        """Set while every status is written that is due."""
        self.informers = {resource: Informer(client, resource) for resource in WATCHED}
        log = config.log_dir / "plugins.log"
        self.plugins = Plugins(config.state_dir / "plugins", self._plugins_changed, group, config.run_dir, log)
        self.plugins.secrets = lambda key: self.informers[SECRETS].get(key)
        self.issuers = Issuers(self._issuer_answered, group)
        self.databases = Databases(config.run_dir / "databases", self._database_read, group)
        self._envoy: asyncio.Task[None] | None = None
        self._services: dict[str, Object] = {}
        self._pauses: dict[str, float] = {}
        """Gateway → before when its Service is not tried again."""
        self._pods: asyncio.Task[None] | None = None
        self._waypoints: dict[str, Object] = {}
        self.events = EventRecorder(client, "sampan-gateway")
        self._problems: dict[tuple[str, str], tuple[str, ...]] = {}
        """Ingress or IngressRoute → what its Events said last."""
        self._pushed: tuple[int, dict[str, str]] = (0, {})
        """The last push, and the versions of plugins that are live with it."""
        self._running = False
        self.leads = config.replica is None
        """Whether it is for us to write statuses, Events and Services."""
        self.on_problem: Callable[[Object, str], None] = self._record_problem
        """Is told what of an Ingress or IngressRoute is not served."""
        self._alarm: asyncio.TimerHandle | None = None
        self._is_updating = False
        """Whether a change has been taken over and what it makes due is not known yet."""
        self._retries = 0
        """Statuses that are written again in a moment."""
        self._due: dict[tuple[str, str], tuple[int, int, float]] = {}
        """Object → the first and last push its status waits for, and since when."""

    async def run(self, ready: Callable[[], None]) -> None:
        for resource, informer in self.informers.items():
            self._task(informer.run(), f"informer-{resource.plural}")
            informer.add_handler(self._handler(kinds.world_kind(resource)))
        self.informers[CONFIG_MAPS].add_handler(self.plugins.on_config_map)
        self.informers[kinds.PLUGINS].add_handler(self.plugins.on_plugin)
        if self.peers is not None:
            self.informers[ENDPOINT_SLICES].add_handler(self.peers.on_slice)
        for informer in self.informers.values():
            await informer.synced()
        await self.plugins.loaded()
        self._plugins_changed()
        self.pipeline.ports.learn(self.informers[ENDPOINT_SLICES].all())
        self._waypoints = infrastructure.waypoints_of(self.informers[ENDPOINT_SLICES].all())
        self._note_due(self.pipeline.update())
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
            self._task(elected(self.client, self.config.replica, LEASE, self._lead), "election")
        self._task(self._tell(), "status")
        self._task(self.events.run(), "events")
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
        await self.told.wait()
        while self.dirty.is_set() or self._is_updating or self.pipeline.due or self._due:
            await asyncio.sleep(0)
            await self.told.wait()

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
            self._pushed = number, live
            self._want()
            self._note_due(number)
            self._is_updating = False
            if self.pipeline.gateways or self.pipeline.waypoints:
                self._ensure_envoy()
            if self.pipeline.wants_pods and self._pods is None:
                self._pods = self._task(self._follow_pods(), "pods")
            await self._ensure_waypoints(number)
            for key in list(self.pipeline.gateways):
                await self._ensure_service(key)
            for key in [key for key in self._services if key not in self.pipeline.gateways]:
                gone = self._services.pop(key)
                if self.config.on_host or self.config.replica is not None:  # nobody else collects it
                    namespace, name = key.partition("/")[0], gone["name"]
                    await infrastructure.remove(self.client, namespace, name, self.config.replica)

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
        informer = Informer(self.client, PODS)

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
            self._services.clear()
            for kind in STATUSES:
                self.pipeline.due |= {(kind, str(key)) for key in self.pipeline.world.all(kind)}
            self._note_due(self.ads.sequence)
            self.dirty.set()
            if self.config.replica is not None:
                await bury(self.client, self.config.replica)
        finally:
            self.leads = False

    def _note_due(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        for entry in self.pipeline.due:
            first, _, since = self._due.get(entry, (number, number, now))
            self._due[entry] = first, number, since
        if self.pipeline.due:
            self.pipeline.due.clear()
            self.told.clear()
            self.news.set()

    def _ensure_envoy(self) -> None:
        if self._envoy is None and self.config.starts_envoy:
            config = EnvoyConfig(
                owned=self.config.owns_envoy,
                ads_socket=self.config.run_dir / "ads.sock",
                run_dir=self.config.run_dir,
                log_dir=self.config.log_dir,
                plugin_dir=self.config.state_dir / "plugins",
            )
            self._envoy = self._task(run_envoy(config, self.limits.flights.forget), "envoy")

    async def _ensure_service(self, key: str) -> None:
        """Make the Service of a Gateway as it should be, when it should be otherwise than last time or is gone."""
        gateway = self.pipeline.world.all("Gateway").get(key)  # one that Ingresses share is not in the API
        if gateway is None or "deletionTimestamp" in gateway["metadata"]:
            return
        model, ports = self.pipeline.gateways[key], self.pipeline.gateway_ports(key)
        name = infrastructure.generated_name(gateway)
        wanted = {
            "ports": sorted(ports.items()),
            "addresses": model.addresses,
            "infrastructure": gateway["spec"].get("infrastructure"),
            "uid": gateway["metadata"]["uid"],
            "name": name,
        }
        there = self.informers[SERVICES].get(f"{gateway['metadata']['namespace']}/{name}")
        now = asyncio.get_running_loop().time()
        if not ports or (self._services.get(key) == wanted and there is not None) or self._pauses.get(key, 0.0) > now:
            return
        self._services[key] = wanted
        try:
            leads_to = "" if self.config.on_host else self.config.reached_at
            if self.leads or there is not None:
                await infrastructure.ensure(
                    self.client, gateway, ports, model.addresses, leads_to, self.config.replica, self.leads
                )
            else:
                self._services.pop(key, None)  # when the one who leads has made it
            if self.config.on_host:
                addresses = model.addresses[:1] or (infrastructure.reachable(self.config.node_ip),)
                await infrastructure.give(self.client, gateway, addresses)
        except Exception as error:
            self._services.pop(key, None)
            if not expected(error):
                raise
            logger.warning("gateway %s: %s", key, error)
            self._pauses[key] = now + PAUSE_SECONDS
            asyncio.get_running_loop().call_later(PAUSE_SECONDS + 0.01, self.dirty.set)

    async def _ensure_waypoints(self, number: int) -> None:
        """Lead Services with routes of their own through Envoy, when it is there, and those without past it."""
        if not self.leads or (not self.pipeline.waypoints and not self._waypoints):
            return
        wanted = {
            key: infrastructure.waypoint_of(service, ports, self.config.reached_at)
            for key, ports in self.pipeline.waypoints.items()
            if (service := self.informers[SERVICES].get(key)) is not None
        }
        if any(self._waypoints.get(key) != piece for key, piece in wanted.items()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_SECONDS):
                    while self.ads.acknowledged < number:
                        await self.ads.answered()
        for key in wanted.keys() | self._waypoints.keys():
            if self._waypoints.get(key) == wanted.get(key):
                continue
            namespace, _, name = key.partition("/")
            piece, slice_name = wanted.get(key), infrastructure.waypoint_name(name)
            try:
                if piece is None:
                    self._waypoints.pop(key)
                    await self.client.delete(ENDPOINT_SLICES, slice_name, namespace)
                else:
                    self._waypoints[key] = piece
                    manager = infrastructure.FIELD_MANAGER
                    await self.client.patch(
                        ENDPOINT_SLICES, slice_name, piece, namespace, type="apply", field_manager=manager, force=True
                    )
            except Exception as error:
                if not expected(error):
                    raise
                if not (isinstance(error, ApiError) and error.is_not_found):
                    logger.warning("waypoint of service %s: %s", key, error)
                    self._waypoints.pop(key, None)
                    asyncio.get_running_loop().call_later(1.0, self.dirty.set)

    # from Envoy to the statuses

    async def _tell(self) -> None:
        """Write the statuses that are due and answered for; those that Envoy does not answer for say so after a time."""
        writers = asyncio.Semaphore(STATUS_WRITERS)
        while True:
            self.news.clear()
            ripe, live = self._ripe()
            if not ripe:
                if not self._due and not self._retries:
                    self.told.set()
                await self._news()
                continue
            for entry in ripe:
                self._due.pop(entry, None)
            moment = Moment(timestamp(), live)
            async with asyncio.TaskGroup() as group:
                for kind, key in ripe:
                    group.create_task(self._write(kind, key, moment, writers), name=f"status-{kind}-{key}")
            if not live:
                number = self.ads.sequence
                now = asyncio.get_running_loop().time()
                for entry in ripe:  # they are to follow when Envoy answers after all
                    self._due.setdefault(entry, (number, number, now))
            self._sweep()

    def _sweep(self) -> None:
        """Take away the versions of plugins that Envoy has been told not to use any more, and has taken that."""
        number, live = self._pushed
        if self.ads.acknowledged >= number:
            self.plugins.sweep(live)

    def _ripe(self) -> tuple[list[tuple[str, str]], bool]:
        """Return the statuses to write now, and whether Envoy has answered for them."""
        done = self.ads.acknowledged if self._envoy is not None else self.ads.sequence
        now = asyncio.get_running_loop().time()
        ripe = [
            entry
            for entry, (first, last, since) in self._due.items()
            if last <= done or (first <= done and now - since > 1.0)
        ]
        if ripe:
            return ripe, True
        return [entry for entry, (_, _, since) in self._due.items() if now - since > SETTLE_SECONDS], False

    async def _news(self) -> None:
        """Return when there may be something to write."""
        waiting = {asyncio.ensure_future(self.news.wait()), asyncio.ensure_future(self.ads.answered())}
        since = min((entry[2] for entry in self._due.values()), default=None)
        timeout = None
        if since is not None:
            age = asyncio.get_running_loop().time() - since
            timeout = 1.05 - age if age < 1.0 else max(0.05, SETTLE_SECONDS + 0.05 - age)
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()
        if self.pipeline.world.dirty or self.pipeline.tables.changed:
            self.dirty.set()  # what Envoy refused is part of the world

    async def _write(self, kind: str, key: str, moment: Moment, writers: asyncio.Semaphore) -> None:
        """Write a status unless it is there already."""
        resource = RESOURCES[kind]
        if not self.leads:
            return  # all of it is due when we do
        new = self.pipeline.status(kind, key, moment)
        obj = self.informers[resource].get(key)
        if kind in TRANSLATED and moment.live:
            self._tell_problems(kind, key, obj)
        if new is None or obj is None or obj.get("status") == new:
            return
        metadata = obj["metadata"]
        patch = {**dict.fromkeys(obj.get("status") or {}), **new}  # what is not said any more is taken away
        async with writers:
            try:
                await self.client.patch(
                    resource,
                    metadata["name"],
                    {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": patch},
                    metadata.get("namespace"),
                    type="merge",
                    subresource="status",
                )
            except Exception as error:
                if not expected(error):
                    raise
                gone = isinstance(error, ApiError) and (error.is_not_found or error.is_conflict)
                if not gone:  # else its event brings us back
                    logger.warning("status of %s %s: %s", kind, key, error)
                    self._later(resource, kind, key)
                elif isinstance(error, ApiError) and error.is_conflict:
                    self._later(resource, kind, key)

    def _tell_problems(self, kind: str, key: str, obj: Object | None) -> None:
        """Say by Events what of an Ingress is not served, each once for as long as it is so."""
        found = self.pipeline.world.all("Outcome").get((kind, key)) or ()
        before = self._problems.get((kind, key), ())
        if obj is None or not found:
            self._problems.pop((kind, key), None)
            return
        self._problems[kind, key] = found
        about = {"apiVersion": RESOURCES[kind].api_version, "kind": RESOURCES[kind].kind, **obj}
        for text in found:
            if text not in before:
                self.on_problem(about, text)

    def _record_problem(self, about: Object, text: str) -> None:
        self.events.warning(about, "NotServed", text)

    def _later(self, resource: ResourceType, kind: str, key: str) -> None:
        loop = asyncio.get_running_loop()

        self._retries += 1
        self.told.clear()

        def again() -> None:
            self._retries -= 1
            self._due.setdefault((kind, key), (self.ads.sequence, self.ads.sequence, loop.time()))
            self.news.set()

        loop.call_later(0.2, again)


def expected(error: Exception) -> bool:
    """Whether an error is the API's or the network's, to be tried again."""
    with contextlib.suppress(ImportError):
        import aiohttp

        if isinstance(error, aiohttp.ClientError):
            return True
    return isinstance(error, (ApiError, OSError, TimeoutError))
