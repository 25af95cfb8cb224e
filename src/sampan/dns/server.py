"""The DNS server of a cluster: UDP and TCP, from a zone that follows Services, EndpointSlices and Namespaces.

``serve`` binds its sockets first and reads them when the zone is whole: what is asked meanwhile waits in the sockets, and
is not told that a name does not exist. ``ready`` is called when it reads and the Service kube-dns is there.
Source: Kubernetes DNS specification 1.1, RFC 7766 (TCP).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sampan.client.errors import ApiError
from sampan.client.http import HttpClient
from sampan.client.informer import Informer, key_of
from sampan.client.kubeconfig import load
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, NAMESPACES, SERVICES
from sampan.dns import cluster_service, wire
from sampan.dns.forwarder import RESOLV_CONF, Forwarder
from sampan.dns.records import Records, checked, records_of
from sampan.dns.responder import Outside, Responder, fitting
from sampan.dns.zone import Zone
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.dns")

SERVICE_NAME = "kubernetes.io/service-name"
TCP_IDLE_SECONDS = 10.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class DnsConfig:
    kubeconfig: Path
    listen: str
    service_ip: str
    cluster_domain: str
    port: int = 53
    resolv_conf: Path = RESOLV_CONF


class Server:
    """Answers from the zone, asks others for the rest. ``group`` owns the questions that wait for others."""

    def __init__(self, zone: Zone, forwarder: Forwarder, group: asyncio.TaskGroup) -> None:
        self.responder = Responder(zone)
        self.forwarder = forwarder
        self.group = group

    async def forwarded(self, data: bytes, outside: Outside, *, udp: bool) -> bytes:
        """Return the answer that others give; SERVFAIL when none does."""
        query = outside.query
        if not outside.aliases:
            answer = await self.forwarder.ask(data, udp=udp)
            if answer is not None:
                return answer
            return wire.message(query, wire.SERVER_FAILURE, [], [], [])
        asked = struct.pack("!HHHHHH", 0, wire.RECURSION_DESIRED, 1, 0, 0, 0) + outside.name
        answer = await self.forwarder.ask_wholly(asked + struct.pack("!HH", query.type, wire.IN))
        try:
            code, records = wire.answer_records(answer or b"")
        except wire.WireError:
            code, records = wire.SERVER_FAILURE, []
        return fitting(query, wire.message(query, code, [*outside.aliases, *records], [], []), udp)

    async def tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's questions, one after the other."""
        try:
            while True:
                async with asyncio.timeout(TCP_IDLE_SECONDS):
                    (size,) = struct.unpack("!H", await reader.readexactly(2))
                    data = await reader.readexactly(size)
                answer = self.responder.answer(data, udp=False)
                if isinstance(answer, Outside):
                    answer = await self.forwarded(data, answer, udp=False)
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport) or hasattr(transport, "sendto")
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.server.responder.answer(data)
        if isinstance(answer, Outside):
            self.server.group.create_task(self._forward(data, answer, addr))
        elif answer is not None:
            self.transport.sendto(answer, addr)

    async def _forward(self, data: bytes, outside: Outside, addr: tuple[str, int]) -> None:
        answer = await self.server.forwarded(data, outside, udp=True)
        if not self.transport.is_closing():
            self.transport.sendto(answer, addr)


class Follower:
    """Keeps the zone equal to the API's objects, change by change."""

    def __init__(self, zone: Zone, services: Informer, slices: Informer, namespaces: Informer) -> None:
        self.zone = zone
        self._services = services
        self._slices = slices
        slices.add_index("service", service_keys)
        services.add_handler(lambda change, old, new: self._update([key_of(new)]))
        slices.add_handler(lambda change, old, new: self._update({*service_keys(new), *service_keys(old or new)}))
        namespaces.add_handler(
            lambda change, old, new: zone.set_namespace(str(new["metadata"]["name"]), change != "DELETED")
        )

    def _update(self, keys: list[str] | set[str]) -> None:
        self.zone.update({key: self._records(key) for key in keys})

    def _records(self, key: str) -> Records:
        service = self._services.get(key)
        if service is None:
            return {}
        try:
            return checked(records_of(service, self._slices.by_index("service", key), self.zone.domain))
        except wire.WireError as error:
            logger.warning("Service %s has no records: %s", key, error)
            return {}


def service_keys(piece: Object) -> list[str]:
    """Return the key of the Service that an EndpointSlice belongs to."""
    name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME)
    return [f"{piece['metadata'].get('namespace')}/{name}"] if name else []


async def serve(config: DnsConfig, ready: Callable[[], None]) -> None:
    """Serve until cancelled."""
    zone = Zone(config.cluster_domain, config.service_ip)
    forwarder = Forwarder({config.listen, config.service_ip}, config.resolv_conf)
    client = HttpClient(load(config.kubeconfig), agent="sampan-dns")
    try:
        informers = [Informer(client, resource) for resource in (SERVICES, ENDPOINT_SLICES, NAMESPACES)]
        Follower(zone, *informers)
        async with asyncio.TaskGroup() as group:
            sockets = bind(config.listen, config.port)
            for informer in informers:
                group.create_task(informer.run(), name=f"dns-{informer.resource.plural}")
            await _ensure_service(client, config)
            for informer in informers:
                await informer.synced()
            await listen(Server(zone, forwarder, group), sockets, group)
            ready()
    finally:
        await client.close()


def bind(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return bound sockets for UDP and TCP. Raises ``OSError`` when the port is taken."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for made in (datagrams, streams):
        made.setblocking(False)
        made.bind((address, port))
        # an unset port is the same for both
        port = made.getsockname()[1]
    streams.listen(128)
    return datagrams, streams


async def listen(server: Server, sockets: tuple[socket.socket, socket.socket], group: asyncio.TaskGroup) -> None:
    """Read the sockets from now on, as a task of the group."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(server), sock=sockets[0])
    streams = await asyncio.start_server(server.tcp, sock=sockets[1])

    async def hold() -> None:
        try:
            async with streams:
                await streams.serve_forever()
        finally:
            transport.close()

    group.create_task(hold(), name="dns-sockets")


async def _ensure_service(client: Client, config: DnsConfig) -> None:
    """Make kube-dns, as soon as the API lets us."""
    pause, said = FIRST_PAUSE_SECONDS, ""
    while True:
        try:
            await cluster_service.ensure(client, config.service_ip, config.listen, config.port)
            return
        except (ApiError, OSError) as error:
            if str(error) != said:
                said = str(error)
                logger.warning("the Service kube-dns is not there yet: %s", said)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
