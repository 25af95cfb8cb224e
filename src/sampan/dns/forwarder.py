"""Names that are not the cluster's: asked of the resolvers of the host's resolv.conf, and of no one else.

Each question goes out from a socket of its own with an identity of its own, so that answers cannot be guessed. The resolver
that answered last is asked first. Our own addresses and loopback ones (the host's stub resolver is not to be reached from the
cluster's namespace) are left out: a question cannot come back to us. Source: RFC 5452, resolv.conf(5).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import struct
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

from sampan.dns.wire import HEADER_SIZE, TRUNCATED

logger = logging.getLogger("sampan.dns")

RESOLV_CONF = Path("/etc/resolv.conf")
BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved names the resolvers that its stub at 127.0.0.53 asks."""
ATTEMPT_SECONDS = 2.0
IN_FLIGHT_AT_MOST = 1000


def upstreams_of(text: str, excluded: Collection[str]) -> list[str]:
    """Return the resolvers that a resolv.conf names, without those that lead back to us."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] not in excluded:
            try:
                address = ip_address(words[1])
            except ValueError:
                continue
            if not address.is_loopback and not address.is_unspecified:
                found.append(words[1])
    return found


class Forwarder:
    """Asks upstream resolvers; the list is read again when the file changes."""

    def __init__(self, excluded: Collection[str], path: Path = RESOLV_CONF, port: int = 53) -> None:
        self._excluded = excluded
        self._path = path
        self._port = port
        self._read = -1.0
        self._upstreams: list[str] = []
        self._in_flight = 0

    def upstreams(self) -> list[str]:
        try:
            changed = self._path.stat().st_mtime
        except OSError:
            changed = 0.0
        if changed != self._read:
            self._read = changed
            self._upstreams = self._load()
            if not self._upstreams:
                logger.warning("%s names no resolver that is reachable: outer names are not resolved", self._path)
        return self._upstreams

    def _load(self) -> list[str]:
        for path in (self._path, BEHIND_STUB):
            try:
                found = upstreams_of(path.read_text(), self._excluded)
            except OSError:
                continue
            if found:
                return found
        return []

    async def ask(self, query: bytes, *, udp: bool) -> bytes | None:
        """Return the answer to a query's bytes, with the query's identity; None when no resolver answers."""
        upstreams = list(self.upstreams())
        if self._in_flight >= IN_FLIGHT_AT_MOST:
            return None
        self._in_flight += 1
        try:
            for upstream in upstreams:
                identity = struct.pack("!H", secrets.randbits(16))
                ask = self._by_udp if udp else self._by_tcp
                try:
                    async with asyncio.timeout(ATTEMPT_SECONDS):
                        answer = await ask(upstream, identity + query[2:])
                except (TimeoutError, OSError, asyncio.IncompleteReadError):
                    self._last(upstream)
                    continue
                return query[:2] + answer[2:]
        finally:
            self._in_flight -= 1
        return None

    async def ask_wholly(self, query: bytes) -> bytes | None:
        """Return the answer, by TCP where UDP's is cut short."""
        answer = await self.ask(query, udp=True)
        if answer is not None and answer[2] & (TRUNCATED >> 8):
            return await self.ask(query, udp=False)
        return answer

    def _last(self, upstream: str) -> None:
        if len(self._upstreams) > 1 and upstream in self._upstreams:
            self._upstreams.remove(upstream)
            self._upstreams.append(upstream)

    async def _by_udp(self, upstream: str, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        exchange = _Exchange(query, loop.create_future())
        transport, _ = await loop.create_datagram_endpoint(lambda: exchange, remote_addr=(upstream, self._port))
        try:
            transport.sendto(query)
            return await exchange.answer
        finally:
            transport.close()

    async def _by_tcp(self, upstream: str, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(upstream, self._port)
        try:
            writer.write(struct.pack("!H", len(query)) + query)
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            answer = await reader.readexactly(size)
        finally:
            writer.close()
        if not answers(answer, query):
            raise OSError("an answer to another question")
        return answer


class _Exchange(asyncio.DatagramProtocol):
    """One question by UDP; what is not its answer is dropped."""

    def __init__(self, query: bytes, answer: asyncio.Future[bytes]) -> None:
        self.query = query
        self.answer = answer

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self.answer.done() and answers(data, self.query):
            self.answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(exc)


def answers(data: bytes, query: bytes) -> bool:
    """Whether a message is the answer to a query: same identity, an answer, same question."""
    if len(data) < HEADER_SIZE or data[:2] != query[:2] or not data[2] & 0x80:
        return False
    end = query.find(0, HEADER_SIZE) + 5
    return data[4:6] == b"\0\0" or data[HEADER_SIZE:end].lower() == query[HEADER_SIZE:end].lower()
