"""The DNS server of a cluster: UDP and TCP, from a zone that follows Services, EndpointSlices, Namespaces and Pods.

``serve`` binds its sockets first and reads them when the zone is whole: what is asked meanwhile waits in the sockets, and
is not told that a name does not exist. ``ready`` is called when it reads and the Service kube-dns is there. A changed
Corefile is put in place whole, or not at all. Source: Kubernetes DNS specification 1.1, RFC 7766 (TCP).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sampan.api.memory import settle
from sampan.api.metrics.exposition import lines
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.http import HttpClient
from sampan.client.kubeconfig import Connection
from sampan.client.protocol import Client
from sampan.dns import cluster_service
from sampan.dns.asking import Way
from sampan.dns.batches import Datagrams, bind
from sampan.dns.corefile.configuration import DEFAULT, Configuration, read
from sampan.dns.corefile.grammar import CorefileError
from sampan.dns.corefile.source import ConfigMapSource, FileSource, FixedSource, Source, Text
from sampan.dns.following import Follower
from sampan.dns.forwarding.forwarder import Forwarder
from sampan.dns.forwarding.upstreams import RESOLV_CONF, searches
from sampan.dns.gateway_names import GatewayNames
from sampan.dns.gateway_watch import GatewayWatch
from sampan.dns.hosts import Hosts
from sampan.dns.http_pages import Page, Pages
from sampan.dns.metrics import Metrics
from sampan.dns.pending import Waiting
from sampan.dns.records import Options
from sampan.dns.responder import Responder
from sampan.dns.streams import Streams

logger = logging.getLogger("sampan.dns")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class DnsConfig:
    connection: Connection
    listen: tuple[str, ...]
    """The addresses it listens on, one of a family."""
    service_ips: tuple[str, ...]
    """What the name of the server itself answers."""
    cluster_domain: str = "cluster.local"
    port: int = 53
    resolv_conf: Path = RESOLV_CONF
    corefile: Path | None = None
    config_map: str = ""
    """``namespace/name`` of the ConfigMap with the Corefile."""
    makes_service: bool = False
    """Whether it makes the Service kube-dns, its EndpointSlice and its ConfigMap, where they are not."""


class Server:
    """Everything at work. ``spawn`` starts a task of the group that ends with it."""

    def __init__(self, client: Client, config: DnsConfig, spawn: Callable[..., asyncio.Task[Any]]) -> None:
        self.config = config
        self.client = client
        host = f"[{config.listen[0]}]" if ":" in config.listen[0] else config.listen[0]
        self.metrics = Metrics(f"dns://{host}:{config.port}", ".", "2" if ":" in config.listen[0] else "1")
        self.events = EventRecorder(client, "sampan-dns")
        addresses = tuple(map(ip_address, config.service_ips))
        self.follower = Follower(client, Options(domain=config.cluster_domain), addresses)
        self.follower.programmed = lambda kind, seconds: self.metrics.programming.observe(seconds)
        self.follower.collided = self._on_collision
        self.waiting = Waiting(spawn)
        self.streams = Streams(lambda: self.responder, self.waiting)
        self.pages = Pages()
        self.gateways = GatewayWatch(client, spawn)
        self.responder: Responder
        self.is_ready = False
        self._spawn = spawn
        self._turn = True
        self._pods: asyncio.Task[Any] | None = None

    # configuration

    def read(self, text: Text) -> Configuration:
        """Return what a Corefile asks for. Raises ``CorefileError``."""
        return read(text.text, port=self.config.port, files=text.files)

    def default(self) -> Configuration:
        return self.read(Text(default_corefile(self.config)))

    @property
    def domain(self) -> str:
        return self.config.cluster_domain

    async def apply(self, configuration: Configuration) -> None:
        """Put a configuration in place. Raises ``OSError`` where one of its HTTP addresses cannot be had; at the start names
        are served without."""
        try:
            await self.pages.serve(self._pages(configuration))
        except OSError as error:
            if hasattr(self, "responder"):
                raise
            logger.error("health, ready and metrics are not served: %s", error)
        if configuration.watches_pods and self._pods is None:
            self._pods = self._spawn(self.follower.pods.run(), name="dns-pods")
            await self.follower.pods.synced()
        options = configuration.kubernetes or Options(domain=self.domain)
        turn = any(block.loadbalance for block in configuration.blocks if block.kubernetes is not None)
        if (options, turn) != (self.follower.zone.options, self._turn):
            self._turn = turn
            await self.follower.become(self.follower.new_zone(options, turn=turn))
        before = self.responder.ways if hasattr(self, "responder") else []
        self.gateways.forget()
        ways = [self._way(block, before) for block in configuration.blocks]
        for old in before:
            if old.forwarder is not None and all(way.forwarder is not old.forwarder for way in ways):
                old.forwarder.close()
        try:
            host_searches = searches(self.config.resolv_conf.read_text())
        except OSError:
            host_searches = ()
        zone, follower = self.follower.zone, self.follower
        self.responder = Responder(zone, follower, configuration, ways, self.metrics, host_searches=host_searches)
        for way in ways:
            if way.block.loop and way.forwarder is not None:
                self._spawn(way.forwarder.look_for_circles(), name="dns-loop")

    def _way(self, block: Any, before: list[Way]) -> Way:
        excluded = {*self.config.listen, *self.config.service_ips}
        forwards = [
            replace(one, files=tuple(self.config.resolv_conf if file == RESOLV_CONF else file for file in one.files))
            for one in block.forwards
        ]
        forwarder = None
        for old in before:  # what is kept of others' answers stays, where nothing about it changed
            if (old.block.zones, old.block.forwards, old.block.cache) == (block.zones, block.forwards, block.cache):
                forwarder = old.forwarder
        if forwarder is None and forwards:
            forwarder = Forwarder(forwards, block.cache, excluded, self._spawn)
        gateway = GatewayNames(block.gateway) if block.gateway is not None else None
        if gateway is not None:
            self.gateways.feed(gateway)
        return Way(block, forwarder, Hosts(block.hosts) if block.hosts is not None else None, gateway)

    def _pages(self, configuration: Configuration) -> dict[tuple[str, int], dict[str, Page]]:
        found: dict[tuple[str, int], dict[str, Page]] = {}
        listening = configuration.listening
        for where, path, page in (
            (listening.health, "/health", lambda: (200, "OK")),
            (listening.ready, "/ready", lambda: (200, "OK") if self.is_ready else (503, "kubernetes")),
            (listening.metrics, "/metrics", lambda: (200, self._exposed())),
        ):
            if where is not None:
                found.setdefault(where, {})[path] = page
        return found

    def _exposed(self) -> str:
        return "\n".join([*lines(self.metrics.families(self.responder)), ""]) if hasattr(self, "responder") else ""

    async def follow(self, source: Source, started: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Put each Corefile in place; ``started`` is awaited with the first. One that is wrong leaves the present one."""
        async for text in source.texts():
            first = not hasattr(self, "responder")
            if not first and not self.responder.configuration.reload:
                continue
            try:
                await self.apply(self.read(text))
                self.metrics.configuration_hash = hashlib.sha512(text.text.encode()).hexdigest()
                if not first:
                    logger.info("the Corefile changed and is in force")
                    if text.about is not None:
                        self.events.normal(text.about, "Reloaded", "the Corefile is in force")
            except (CorefileError, OSError) as error:
                self.metrics.reloads_failed += 1
                kept = "the default" if first else "the one before"
                logger.error("%s; %s is in force", error, kept)
                if text.about is not None:
                    self.events.warning(text.about, "InvalidCorefile", f"{error}; {kept} is in force")
                if first:
                    await self.apply(self.default())
            if first:
                await started()

    def _on_collision(self, key: str, pods: dict[str, str]) -> None:
        namespace, _, name = key.partition("/")
        about = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name}}
        for pod, other in sorted(pods.items()):
            message = f"Pod {pod} cannot be called {pod}.{name}: that is the hostname of {other or 'another endpoint'}"
            self.events.warning(about, "PodNameTaken", message)


async def serve(config: DnsConfig, ready: Callable[[int], None]) -> None:
    """Serve until cancelled; ``ready`` is told the port. Raises ``OSError`` where an address is taken or the Corefile's file
    cannot be read, ``ExceptionGroup`` of what ends a task."""
    pairs = [bind(config.listen[0], config.port)]
    config = replace(config, port=pairs[0][0].getsockname()[1])
    pairs += [bind(address, config.port) for address in config.listen[1:]]
    client = HttpClient(config.connection, agent="sampan-dns")
    try:
        async with asyncio.TaskGroup() as group:
            server = Server(client, config, group.create_task)
            source: Source = FixedSource(default_corefile(config))
            if config.config_map:
                namespace, _, name = config.config_map.partition("/")
                source = ConfigMapSource(client, namespace, name, default_corefile(config))
                group.create_task(source.run(), name="dns-corefile")
            elif config.corefile is not None:
                source = FileSource(config.corefile)
            group.create_task(server.events.run(), name="dns-events")
            for table in server.follower.tables:
                group.create_task(table.run(), name=f"dns-{table.resource.plural}")

            async def started() -> None:
                for one, other in pairs:
                    datagrams = Datagrams(one, lambda: server.responder, server.waiting.take)
                    datagrams.start()
                    streams = await asyncio.start_server(server.streams.serve, sock=other)
                    group.create_task(_hold(datagrams, streams), name="dns-sockets")
                server.is_ready = True
                ready(config.port)
                settle()  # what is compiled stays: later collections pass it over

            if config.makes_service:
                await _ensure_service(client, config)
            for table in server.follower.tables:
                await table.synced()
            server.follower.begin()
            try:
                await server.follow(source, started)
            except asyncio.CancelledError:
                await _leave(server)
                raise
    finally:
        for one in (made for pair in pairs for made in pair):
            one.close()
        await client.close()


def default_corefile(config: DnsConfig) -> str:
    """Return what is served without a Corefile."""
    return DEFAULT.replace(":53", f":{config.port}", 1).replace("cluster.local", config.cluster_domain)


async def _leave(server: Server) -> None:
    """Answer for a while yet, and say that we go: who asks the Service is sent elsewhere meanwhile."""
    server.is_ready = False
    if hasattr(server, "responder"):
        await asyncio.sleep(server.responder.configuration.listening.lameduck_seconds)
    server.pages.close()


async def _hold(datagrams: Datagrams, streams: asyncio.Server) -> None:
    try:
        async with streams:
            await streams.serve_forever()
    finally:
        datagrams.stop()


async def _ensure_service(client: Client, config: DnsConfig) -> None:
    """Make kube-dns, as soon as the API lets us."""
    pause, said = FIRST_PAUSE_SECONDS, ""
    while True:
        try:
            await cluster_service.ensure(client, config.service_ips, config.listen, config.port)
            if config.config_map:
                await cluster_service.ensure_config_map(client, config.config_map, default_corefile(config))
            return
        except (ApiError, OSError) as error:
            if str(error) != said:
                said = str(error)
                logger.warning("the Service kube-dns is not there yet: %s", said)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
