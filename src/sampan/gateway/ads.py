"""The delta ADS server: gives each Envoy what it asks for, once and again when it changes, and hears what it thinks of it.

``Snapshot`` is the set of resources that should be (type → name → bytes); ``Ads.publish`` takes a new one and pushes the
difference, in the order clusters, endpoints, listeners, routes, extensions, each type only after the one before was taken
(so that no route names a cluster Envoy does not have; removals go in the reverse order). ``await ads.settled(version)`` ends
when every connected Envoy has answered; ``ads.problems`` has the texts of what it refused, by type and
name (an answer with several resources that Envoy refuses is sent again one by one, to know which it was).
Source: the incremental aggregated discovery service of xDS.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sampan.gateway.encode import EncodingError, decode, encode

logger = logging.getLogger("sampan.gateway")

PREFIX = "type.googleapis.com/"
CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = PREFIX + "envoy.config.route.v3.RouteConfiguration"
EXTENSION = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
ORDER = (CLUSTER, ENDPOINTS, LISTENER, EXTENSION, ROUTES)
WILDCARD = (CLUSTER, LISTENER)
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

Snapshot = Mapping[str, Mapping[str, bytes]]
"""Type URL → resource name → encoded message."""


def fingerprint(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


class Raw:
    """A message that is bytes already, as grpclib's codec sees it."""

    def __init__(self, content: bytes) -> None:
        self.content = content


class RawCodec:
    """grpclib codec that carries bytes: our table encodes, not generated classes."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        content: bytes = message.content
        return content

    def decode(self, data: bytes, message_type: Any) -> Raw:
        return Raw(data)


class Connection:
    """One Envoy: what it subscribed to, what it has, what is on its way."""

    def __init__(self) -> None:
        self.subscribed: dict[str, set[str]] = {}
        self.has: dict[str, dict[str, str]] = {}
        self.waiting: dict[str, tuple[str, list[str]]] = {}
        """Type → nonce and resources of the answer that has not been acknowledged."""
        self.alone: set[tuple[str, str]] = set()
        """Resources of an answer that was refused: they go one by one."""
        self.out: asyncio.Queue[bytes] = asyncio.Queue()
        self.count = 0

    def wants(self, type_url: str, name: str) -> bool:
        names = self.subscribed.get(type_url)
        if names is None:
            return False
        return type_url in WILDCARD or name in names or "*" in names


class Ads:
    """The server. ``publish`` may be called at any time; Envoys come and go."""

    def __init__(self) -> None:
        self.snapshot: dict[str, dict[str, bytes]] = {type_url: {} for type_url in ORDER}
        self.problems: dict[tuple[str, str], str] = {}
        """``(type, resource name) -> Envoy's words``, for as long as the refused resource is wanted."""
        self._versions: dict[bytes, str] = {}
        self._connections: set[Connection] = set()
        self._settled = asyncio.Event()

    def __mapping__(self) -> dict[str, Any]:
        from grpclib.const import Cardinality, Handler

        return {METHOD: Handler(self._serve, Cardinality.STREAM_STREAM, Raw, Raw)}

    @property
    def connected(self) -> bool:
        return bool(self._connections)

    def publish(self, snapshot: Snapshot) -> None:
        """Make this the configuration there should be."""
        for type_url in ORDER:
            self.snapshot[type_url] = dict(snapshot.get(type_url, {}))
        self._versions = {}
        self.problems = {entry: text for entry, text in self.problems.items() if entry[1] in self.snapshot[entry[0]]}
        self._push_all()

    async def settled(self) -> None:
        """Return when every connected Envoy has taken or refused all of the present snapshot."""
        while not (self._connections and all(self._is_settled(connection) for connection in self._connections)):
            self._settled.clear()
            await self._settled.wait()

    def _is_settled(self, connection: Connection) -> bool:
        return not connection.waiting and not any(self._difference(connection, type_url) for type_url in ORDER)

    def _version(self, content: bytes) -> str:
        known = self._versions.get(content)
        if known is None:
            known = self._versions[content] = fingerprint(content)
        return known

    def _difference(self, connection: Connection, type_url: str) -> tuple[list[str], list[str]] | None:
        """Return ``(changed names, removed names)`` for a type, None when there is nothing to say."""
        if type_url not in connection.subscribed:
            return None
        should = self.snapshot[type_url]
        has = connection.has.setdefault(type_url, {})
        changed = [
            name
            for name, content in should.items()
            if connection.wants(type_url, name) and has.get(name) != self._version(content)
        ]
        removed = [name for name in has if name not in should]
        return (changed, removed) if changed or removed else None

    def _push_all(self) -> None:
        for connection in self._connections:
            self._push(connection)
        self._settled.set()

    def _push(self, connection: Connection) -> None:
        """Send the next type that differs. Additions go in order; removals of a type wait until later types are done.

        Endpoints do not wait for the clusters' acknowledgement: Envoy holds that back until the clusters are warm, for which
        it needs their endpoints."""
        for type_url in ORDER:
            if type_url in connection.waiting:
                if type_url == CLUSTER:
                    continue
                return
            if CLUSTER in connection.waiting and type_url != ENDPOINTS:
                return
            difference = self._difference(connection, type_url)
            if difference is None:
                continue
            changed, removed = difference
            if not changed and self._later_differs(connection, type_url):
                continue
            if self._later_differs(connection, type_url):
                removed = []
            lone = [name for name in changed if (type_url, name) in connection.alone]
            if lone:
                together = [name for name in changed if name not in lone]
                changed, removed = together or lone[:1], removed if together else []
            self._send(connection, type_url, changed, removed)
            return

    def _later_differs(self, connection: Connection, type_url: str) -> bool:
        later = ORDER[ORDER.index(type_url) + 1 :]
        return any(self._difference(connection, other) or other in connection.waiting for other in later)

    def _send(self, connection: Connection, type_url: str, changed: list[str], removed: list[str]) -> None:
        connection.count += 1
        nonce = str(connection.count)
        has = connection.has[type_url]
        resources = []
        for name in changed:
            content = self.snapshot[type_url][name]
            has[name] = self._version(content)
            if type_url == CLUSTER:
                # a changed cluster warms anew, and Envoy does not ask again for what it subscribed to
                connection.has.get(ENDPOINTS, {}).pop(name, None)
            any_message = _delimited_any(type_url, content)
            resources.append(
                encode("envoy.service.discovery.v3.Resource", {"name": name, "version": has[name]}) + any_message
            )
        for name in removed:
            del has[name]
        head = {"type_url": type_url, "removed_resources": removed, "nonce": nonce, "system_version_info": nonce}
        body = encode("envoy.service.discovery.v3.DeltaDiscoveryResponse", head)
        body += b"".join(b"\x12" + _length(resource) + resource for resource in resources)
        connection.waiting[type_url] = nonce, changed
        connection.out.put_nowait(body)

    def _on_request(self, connection: Connection, request: dict[str, Any]) -> None:
        type_url = request.get("type_url", "")
        if type_url not in self.snapshot:
            return
        nonce = request.get("response_nonce", "")
        if nonce and type_url in connection.waiting and connection.waiting[type_url][0] == nonce:
            _, sent = connection.waiting.pop(type_url)
            self._on_answer(connection, type_url, sent, request.get("error_detail"))
        if not nonce or "resource_names_subscribe" in request or "resource_names_unsubscribe" in request:
            names = connection.subscribed.setdefault(type_url, set())
            asked = request.get("resource_names_subscribe", [])
            names.update(asked)
            for name in asked:  # asked again means: send again
                connection.has.setdefault(type_url, {}).pop(name, None)
            for name in request.get("resource_names_unsubscribe", []):
                names.discard(name)
                connection.has.setdefault(type_url, {}).pop(name, None)
        self._push(connection)
        self._settled.set()

    def _on_answer(self, connection: Connection, type_url: str, names: list[str], error: dict[str, Any] | None) -> None:
        """Note what Envoy says of the resources it was sent."""
        if error is None:
            for name in names:
                self.problems.pop((type_url, name), None)
                connection.alone.discard((type_url, name))
            return
        text = error.get("message", "refused")
        if len(names) > 1:
            for name in names:
                connection.has[type_url].pop(name, None)
                connection.alone.add((type_url, name))
            return
        for name in names:
            self.problems[type_url, name] = text
            logger.error("envoy refused %s %s: %s", type_url.rpartition(".")[2], name, text)

    def refusals(self, type_url: str) -> dict[str, str]:
        """Return what Envoy refuses of a type: resource name → its words."""
        return {name: text for (of_type, name), text in self.problems.items() if of_type == type_url}

    async def _serve(self, stream: Any) -> None:
        connection = Connection()
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as group:
                sender = group.create_task(self._send_out(connection, stream), name="ads-out")
                while (message := await stream.recv_message()) is not None:
                    try:
                        request = decode("envoy.service.discovery.v3.DeltaDiscoveryRequest", message.content)
                    except EncodingError as error:
                        logger.error("a request of envoy cannot be read: %s", error)
                        break
                    self._on_request(connection, request)
                sender.cancel()
        finally:
            self._connections.discard(connection)
            self._settled.set()

    async def _send_out(self, connection: Connection, stream: Any) -> None:
        while True:
            await stream.send_message(Raw(await connection.out.get()))


def _length(content: bytes) -> bytes:
    from sampan.gateway.encode import varint

    return varint(len(content))


def _delimited_any(type_url: str, content: bytes) -> bytes:
    """Return the field ``resource`` (2) of a Resource: an Any around encoded bytes."""
    url = type_url.encode()
    body = b"\x0a" + _length(url) + url + b"\x12" + _length(content) + content
    return b"\x12" + _length(body) + body


async def serve_ads(ads: Ads, socket: Path) -> None:
    """Serve ADS on a Unix socket until cancelled. The folder exists, the socket of an earlier run does not."""
    from grpclib.server import Server

    server = Server([ads], codec=RawCodec())
    await server.start(path=str(socket))
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        await server.wait_closed()
