"""The delta ADS server: gives each Envoy what it asks for, once and again when it changes, and hears what it thinks of it.

``change`` notes one resource, ``push`` sends what was noted, in the order of ``types.ORDER``, each type only after the one
before was taken (so that no route names a cluster Envoy does not have; removals go in the reverse order). Many of a type go
in several answers, one after the other. Every push has a number; ``acknowledged`` is the last number up to which every
connected Envoy has answered to everything. ``problems`` has the texts of what it refused, by type and name (an answer with
several resources that Envoy refuses is sent again one by one, to know which it was). The work of a push is that of the
resources that changed. Source: the incremental aggregated discovery service of xDS.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sampan.gateway.xds.connections import Connection
from sampan.gateway.xds.encode import EncodingError, any_of, decode, delimited, encode
from sampan.gateway.xds.generations import Generations, Taken
from sampan.gateway.xds.offers import NOTHING, base_of, table_of
from sampan.gateway.xds.types import (
    CLUSTER,
    EAGER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ORDER,
    PREFIX,
    ROUTES,
    SCOPES,
    WILDCARD,
)

logger = logging.getLogger("sampan.gateway")

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
AT_ONCE = 200
"""Resources in one answer: Envoy's heap stays as large as its largest message made it, 5,000 clusters in one 30 MB more. Of
discovered filters there is one: of what Envoy refused together it acknowledges each when it comes again, unseen."""
OnAnswer = Callable[[str, str, int, str], None]
"""``(type, name, the last push whose changes were in it, Envoy's words)``; the words are empty when it took the resource."""


def fingerprint(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


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


class Ads:
    """The server. ``change`` and ``push`` may be called at any time; Envoys come and go."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, bytes]] = {type_url: {} for type_url in ORDER}
        self.versions: dict[str, dict[str, str]] = {type_url: {} for type_url in ORDER}
        self.problems: dict[tuple[str, str], str] = {}
        """``(type, resource name) -> Envoy's words``, for as long as the refused resource is wanted."""
        self.needs: dict[str, frozenset[str]] = {}
        """Tables whose routes need filters of their listeners (digests): held back from an Envoy whose listener lacks one."""
        self._generations = Generations()
        self.sequence = 0
        self.on_answer: OnAnswer = lambda type_url, name, number, text: None
        self._noted: dict[str, dict[str, None]] = {type_url: {} for type_url in ORDER}
        self._connections: set[Connection] = set()
        self._answered = asyncio.Event()

    def __mapping__(self) -> dict[str, Any]:
        from grpclib.const import Cardinality, Handler

        return {METHOD: Handler(self._serve, Cardinality.STREAM_STREAM, Raw, Raw)}

    @property
    def connected(self) -> bool:
        return bool(self._connections)

    @property
    def acknowledged(self) -> int:
        """The number of the last push that every Envoy has taken or refused; -1 while none is connected."""
        if not self._connections:
            return -1
        oldest = [self._oldest(connection) for connection in self._connections]
        return min((number - 1 for number in oldest if number is not None), default=self.sequence)

    def _oldest(self, connection: Connection) -> int | None:
        """Return the first push that an Envoy has not answered, None when there is none. What is held back waits for
        somebody to change something."""
        if LISTENER not in connection.subscribed:
            return 0
        due = (self._sendable(connection, type_url) for type_url in ORDER)
        numbers = [min(names.values()) for names in due if names]
        numbers += [min(sent.values()) for _, sent in connection.waiting.values() if sent]
        for table in [table for table in connection.awaited if self._is_served(connection, table)]:
            del connection.awaited[table]
        if connection.awaited:
            numbers.append(min(connection.awaited.values()))
        return min(numbers) if numbers else None

    def offered(self, table: str) -> frozenset[str] | None:
        """Return the filters (digests) that routes of a table may need as long as Envoy refuses a listener of it that it
        has an earlier version of; None: all, no listener of it is refused so."""
        found = [offer for one in self._connections if (offer := one.refused_offer(table)) is not None]
        return frozenset.intersection(*found) if found else None

    def is_settled(self, table: str) -> bool:
        """Whether every Envoy has taken, or refused, all that there is of a table."""
        return all(table_of(name) != table for name in self._under_way())

    def _under_way(self) -> Iterator[str]:
        """Yield the names of tables, and of scopes, that an Envoy has not answered to."""
        for type_url in (ROUTES, SCOPES):
            yield from self._noted[type_url]
            for one in self._connections:
                yield from (name for name in one.due[type_url] if base_of(name) == name or self._may_have(one, name))
                yield from one.waiting.get(type_url, ("", {}))[1]

    def judgement(self, table: str) -> dict[str, str] | None:
        """Return what was refused of a table as it is now, with Envoy's words; None: not every Envoy has answered to all of
        it, or none is connected."""
        if not self._connections or not self.is_settled(table):
            return None
        there = [(name, version) for name, version in self.versions[ROUTES].items() if table_of(name) == table]
        if not all(one.has_table(name, version) for one in self._connections for name, version in there):
            return None
        return {name: self.problems[ROUTES, name] for name, _ in there if (ROUTES, name) in self.problems}

    async def answered(self) -> None:
        """Return at the next answer of an Envoy, or when one comes or goes."""
        self._answered.clear()
        await self._answered.wait()

    def change(self, type_url: str, name: str, content: bytes | None, label: str = "") -> bool:
        """Note what a resource is from now on (None: gone). Return whether that is news. ``label``: what its version tells
        besides (``offers.py``)."""
        resources = self.resources[type_url]
        _, slash, told = self.versions[type_url].get(name, "").partition("/")
        if resources.get(name) == content and slash + told == label:
            return False
        if content is None:
            del resources[name]
            self.versions[type_url].pop(name, None)
            self._generations.forget(name)
            self.problems.pop((type_url, name), None)
        else:
            resources[name] = content
            self.versions[type_url][name] = fingerprint(content) + label
            self._generations.learn(self.versions[type_url][name])
        self._noted[type_url][name] = None
        return True

    def push(self) -> int:
        """Send what was noted; return the number of the push."""
        if any(self._noted.values()):
            self.sequence += 1
            for type_url, names in self._noted.items():
                for connection in self._connections:
                    for name in names:
                        for known in (name, *connection.names.get(name, ())) if type_url == ROUTES else (name,):
                            self._owe(connection, type_url, known, self.sequence)
                names.clear()
        for connection in self._connections:
            self._send_due(connection)
        return self.sequence

    def _owe(self, connection: Connection, type_url: str, name: str, number: int) -> None:
        """Make a resource due when the Envoy wants it and has it otherwise."""
        version = self.versions[type_url].get(base_of(name))
        has = connection.has[type_url].get(name)
        wanted = connection.wants(type_url, name)
        if type_url == ROUTES and base_of(name) == name:
            if version is not None and not wanted and not connection.never_asks(name):
                connection.awaited.setdefault(name, number)
            else:
                connection.awaited.pop(name, None)
        if version == has or (version is not None and not wanted):
            connection.due[type_url].pop(name, None)
        else:
            connection.due[type_url].setdefault(name, number)

    def _sendable(self, connection: Connection, type_url: str) -> dict[str, int]:
        """Return what is due of a type, without the tables that are held back."""
        due = connection.due[type_url]
        if type_url != ROUTES or not due or not self.needs:
            return due
        return {name: number for name, number in due.items() if self._may_have(connection, name)}

    def _may_have(self, connection: Connection, name: str) -> bool:
        """Whether a table may go out under a name: the listeners that ask for it so have all filters that it needs."""
        needs = self._needs_of(name)
        if base_of(name) != name:
            return self._generations.have(name, needs)
        return not needs or (LISTENER in connection.subscribed and not connection.lacks(name, needs))

    def _needs_of(self, name: str) -> frozenset[str]:
        return self.needs.get(table_of(name), NOTHING)

    def _is_served(self, connection: Connection, table: str) -> bool:
        """Whether a listener of this generation has asked for a table."""
        return any(self._may_have(connection, name) for name in connection.names.get(table, ()))

    def _send_due(self, connection: Connection) -> None:
        """Send the next type that has something due. Additions go in order; removals of a type wait until later types
        are done. What clusters and listeners wait for does not wait for their acknowledgement: Envoy holds that back until
        they are warm."""
        for type_url in ORDER:
            if type_url in connection.waiting:
                if type_url == CLUSTER:
                    continue
                return
            if CLUSTER in connection.waiting and type_url not in EAGER:
                return
            due = self._sendable(connection, type_url)
            if not due:
                continue
            known = self.versions[type_url]
            changed = [name for name in due if base_of(name) in known]
            removed = [name for name in due if base_of(name) not in known]
            later = self._later_due(connection, type_url)
            if not changed and later:
                continue
            if later:
                removed = []
            lone = [name for name in changed if (type_url, name) in connection.alone]
            if lone:
                together = [name for name in changed if name not in lone]
                changed, removed = together or lone[:1], removed if together else []
            most = AT_ONCE if type_url != EXTENSION else 1
            if len(changed) > most:
                changed, removed = changed[:most], []
            self._send(connection, type_url, changed, removed)
            if type_url in (ENDPOINTS, LISTENER) or (type_url == EXTENSION and due):
                return  # a listener is not there before its filters are: routes come after the last

    def _later_due(self, connection: Connection, type_url: str) -> bool:
        later = ORDER[ORDER.index(type_url) + 1 :]
        return any(self._sendable(connection, other) or other in connection.waiting for other in later)

    def _send(self, connection: Connection, type_url: str, changed: list[str], removed: list[str]) -> None:
        connection.count += 1
        nonce = str(connection.count)
        has, due = connection.has[type_url], connection.due[type_url]
        sent = {name: due.pop(name) for name in (*changed, *removed)}
        message = type_url.removeprefix(PREFIX)
        resources = []
        for name in changed:
            table = base_of(name)
            content, version = self.resources[type_url][table], self.versions[type_url][table]
            if table != name:
                taken = self._generations.taken(name)
                if name not in has and taken is not None and taken.version != version:
                    content, version = taken.content, taken.version
                    connection.first.add(name)
                    due[name] = sent[name]  # what is new follows
                content += delimited(1, name.encode())
            has[name] = version
            if type_url == CLUSTER and connection.wants(ENDPOINTS, name) and name in self.versions[ENDPOINTS]:
                # a changed cluster warms anew, and Envoy does not ask again for what it subscribed to
                connection.has[ENDPOINTS].pop(name, None)
                connection.due[ENDPOINTS].setdefault(name, sent[name])
            resource = {"name": name, "version": has[name], "resource": any_of(message, content)}
            resources.append(delimited(2, encode("envoy.service.discovery.v3.Resource", resource)))
        for name in removed:
            has.pop(name, None)
        head = {"type_url": type_url, "removed_resources": removed, "nonce": nonce, "system_version_info": nonce}
        connection.waiting[type_url] = nonce, sent
        connection.newest[type_url] = self.sequence
        connection.out.put_nowait(
            b"".join((encode("envoy.service.discovery.v3.DeltaDiscoveryResponse", head), *resources))
        )

    def on_request(self, connection: Connection, request: dict[str, Any]) -> None:
        """Take an Envoy's request: an acknowledgement, a refusal, a subscription, or several of these."""
        type_url = request.get("type_url", "")
        if type_url not in self.resources:
            return
        nonce = request.get("response_nonce", "")
        if nonce and type_url in connection.waiting and connection.waiting[type_url][0] == nonce:
            _, sent = connection.waiting.pop(type_url)
            self._on_answer(connection, type_url, sent, request.get("error_detail"))
        first = type_url not in connection.subscribed
        if first or "resource_names_subscribe" in request or "resource_names_unsubscribe" in request:
            self._on_subscription(connection, type_url, request, first=first)
        self._send_due(connection)
        self._answered.set()

    def _on_subscription(self, connection: Connection, type_url: str, request: dict[str, Any], *, first: bool) -> None:
        """Note what an Envoy asks for. One that comes back says what it has: only what differs is sent."""
        names, has = connection.subscribed.setdefault(type_url, set()), connection.has[type_url]
        asked = request.get("resource_names_subscribe", [])
        connection.subscribe(type_url, asked)
        kept = request.get("initial_resource_versions", {}) if first else {}
        has.update(kept)
        if type_url == LISTENER:
            for name, version in kept.items():
                connection.takes(name, version)
                self._generations.learn(version)
        if type_url == ROUTES:
            for name in [name for name, version in kept.items() if version == self.versions[ROUTES].get(base_of(name))]:
                self._note_table(name)
                self._taken(ROUTES, base_of(name), self.sequence)
        for name in asked:  # asked again means: send again
            if name not in kept:
                has.pop(name, None)
        for name in request.get("resource_names_unsubscribe", []):
            connection.unsubscribe(type_url, name)
        if first and type_url == LISTENER:
            for name in self.resources[ROUTES]:
                self._owe(connection, ROUTES, name, self.sequence)
        wildcard = type_url in WILDCARD or "*" in names
        for name in {**dict.fromkeys(self.resources[type_url] if first and wildcard else asked), **kept}:
            if base_of(name) in self.resources[type_url] or name in has:
                self._owe(connection, type_url, name, self.sequence)
        if first and wildcard and not kept and not connection.due[type_url]:
            self._send(connection, type_url, [], [])  # there is nothing: Envoy would wait 15 s to be told so

    def _on_answer(
        self, connection: Connection, type_url: str, sent: dict[str, int], error: dict[str, Any] | None
    ) -> None:
        """Note what Envoy says of the resources it was sent."""
        names = [name for name in sent if base_of(name) in self.resources[type_url]]
        if error is None or len(names) < 2:
            self._note_listeners(connection, type_url, sent, "" if error is None else error.get("message", "refused"))
        if error is None:
            for name in names:
                connection.alone.discard((type_url, name))
                if name in connection.first:
                    connection.first.discard(name)
                    continue
                is_current, number = self._judged(connection, type_url, name)
                if type_url == ROUTES and is_current:
                    self._note_table(name)
                self._taken(type_url, base_of(name), number)
                if type_url == EXTENSION:
                    self._try_again(connection, name)
            return
        text = error.get("message", "refused")
        if len(names) > 1:
            for name in names:
                connection.has[type_url].pop(name, None)
                connection.alone.add((type_url, name))
                connection.due[type_url].setdefault(name, sent[name])
            return
        if names and names[0] in connection.first:
            connection.first.discard(names[0])  # what is new follows
            return
        for asked in names:
            name, (_, number) = base_of(asked), self._judged(connection, type_url, asked)
            self.problems[type_url, name] = text
            logger.error("envoy refused %s %s: %s", type_url.rpartition(".")[2], name, text)
            if type_url == LISTENER:  # nobody will ask for its routes
                for table in [table for table in connection.awaited if connection.never_asks(table)]:
                    del connection.awaited[table]
            self.on_answer(type_url, name, number, text)

    def _judged(self, connection: Connection, type_url: str, name: str) -> tuple[bool, int]:
        """Return whether an answer is about a resource as it is now, and the last push whose changes it is about: those that
        went since, where they came to the same in the end."""
        is_current = connection.has[type_url].get(name) == self.versions[type_url][base_of(name)]
        return is_current, self.sequence if is_current else connection.newest[type_url]

    def _note_listeners(self, connection: Connection, type_url: str, sent: dict[str, int], text: str) -> None:
        """Note which versions of listeners an Envoy has from now on; ``text``: why it refused the one that was changed."""
        for name in sent if type_url == LISTENER else ():
            version = connection.has[LISTENER].get(name, "")
            if version and text:
                connection.refused[name] = text
                continue
            connection.takes(name, version)
            if connection.refused.pop(name, "") and name not in self.resources[LISTENER]:
                self._taken(LISTENER, name, connection.newest[LISTENER])  # what waited for it waits no more

    def _note_table(self, name: str) -> None:
        """Note a table that an Envoy has taken as it is, for those who ask for it under another name."""
        table = base_of(name)
        if table != name:
            taken = Taken(self.versions[ROUTES][table], self.resources[ROUTES][table], self._needs_of(name))
            self._generations.take(name, taken)

    def _try_again(self, connection: Connection, name: str) -> None:
        """Send the listeners that were refused and name a filter which Envoy has taken now: it may have been its fault."""
        for listener in connection.refused:
            if name.encode() in self.resources[LISTENER].get(listener, b""):
                connection.has[LISTENER].pop(listener, None)
                self._owe(connection, LISTENER, listener, self.sequence)

    def _taken(self, type_url: str, name: str, number: int) -> None:
        """Say that an Envoy has taken a resource. A listener that another one refuses is refused."""
        words = (one.refused[name] for one in self._connections if type_url == LISTENER and name in one.refused)
        text = next(words, "")
        if not text:
            self.problems.pop((type_url, name), None)
        self.on_answer(type_url, name, number, text)

    def _leave(self, connection: Connection) -> None:
        """Forget an Envoy, and what it alone refused."""
        self._connections.discard(connection)
        for name, text in connection.refused.items():
            if name in self.resources[LISTENER]:
                if self._connections:
                    self._taken(LISTENER, name, self.sequence)
                else:
                    self.on_answer(LISTENER, name, self.sequence, text)
        self._answered.set()

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
                    self.on_request(connection, request)
                sender.cancel()
        finally:
            self._leave(connection)

    async def _send_out(self, connection: Connection, stream: Any) -> None:
        while True:
            await stream.send_message(Raw(await connection.out.get()))


async def serve(service: Any, socket: Path) -> None:
    """Serve a gRPC service of ours on a Unix socket until cancelled. The folder exists, the socket of an earlier run does
    not."""
    from grpclib.server import Server

    server = Server([service], codec=RawCodec())
    await server.start(path=str(socket))
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        await server.wait_closed()
