"""Names that are not the cluster's: kept answers first, else the resolvers of the ``forward`` line they fall under.

The same question is under way once, whoever asks it; how many are, is bounded, also for each client. What was cut short by
UDP is asked by TCP where a whole answer is needed. A probe that comes back to us says that forwarding runs in a circle: then
nobody is asked any more. Source: RFC 7766, RFC 8767 (stale answers), CoreDNS's ``forward``, ``cache`` and ``loop``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sampan.dns import wire
from sampan.dns.forwarding import exchange
from sampan.dns.forwarding.cache import Cache, CacheSettings, Entry
from sampan.dns.forwarding.upstream_answer import Answered, read
from sampan.dns.forwarding.upstreams import ForwardSettings, Upstreams
from sampan.dns.observed import Observed

logger = logging.getLogger("sampan.dns")

WHOLE_SECONDS = 5.0
"""How long a question may take, over all resolvers."""
OPT = b"\0" + struct.pack("!HHIH", wire.OPT, wire.OUR_UDP_SIZE, 0, 0)
OPT_DNSSEC = b"\0" + struct.pack("!HHIH", wire.OPT, wire.OUR_UDP_SIZE, wire.DNSSEC_OK, 0)


class Rejected(Exception):
    """There are too many questions under way."""


@dataclass(slots=True)
class Line:
    """One ``forward`` line at work."""

    settings: ForwardSettings
    upstreams: Upstreams
    in_flight: int = 0
    rejected: int = 0
    looping: bool = False


class Forwarder:
    """The ``forward`` lines and the cache of one server block. ``spawn`` starts a task of the owner's group."""

    def __init__(
        self,
        lines: Collection[ForwardSettings],
        cache: CacheSettings | None,
        excluded: Collection[str],
        spawn: Callable[..., asyncio.Task[object]],
    ) -> None:
        self.lines = [Line(settings, Upstreams(settings, excluded, spawn)) for settings in lines]
        self.cache = Cache(cache) if cache is not None else None
        self._spawn = spawn
        self._asking: dict[bytes, asyncio.Task[object]] = {}
        self._now = asyncio.get_running_loop().time
        self.probe = wire.name_to_wire(f"{secrets.randbits(63)}.{secrets.randbits(63)}")

    def line_of(self, name: bytes) -> Line | None:
        """Return the first line that a name falls under and is not excepted from."""
        for line in self.lines:
            excluded = line.settings.excluded
            if wire.is_below(name, line.settings.zone) and not any(wire.is_below(name, zone) for zone in excluded):
                return line
        return None

    def close(self) -> None:
        """Look after no resolver any more: another configuration is in force."""
        for line in self.lines:
            line.upstreams.close()

    # kept answers

    def kept(self, name: bytes, kind: int, dnssec_ok: bool) -> Entry | None:
        """Return what is kept; what grows old or is asked for often is asked for anew behind its back."""
        if self.cache is None:
            return None
        now = self._now()
        key = key_of(name, kind, dnssec_ok)
        entry = self.cache.get(key, now)
        if entry is None:
            return None
        if not entry.is_fresh(now) and self.cache.settings.verify:
            return None
        if self.cache.wants_refresh(entry, now):
            entry.refreshing = True
            if entry.is_fresh(now):
                self.cache.counts.prefetches += 1
            with contextlib.suppress(Rejected):
                self._begin(key, name, kind, dnssec_ok)
        return entry

    def tail(self, entry: Entry) -> bytes:
        assert self.cache is not None
        return entry.tail(self._now(), self.cache.settings)

    def records(self, entry: Entry) -> tuple[list[bytes], list[bytes]]:
        """Return a kept answer's records. Raises ``WireError``."""
        return entry.records(self._now())

    # asking

    async def ask(self, name: bytes, kind: int, dnssec_ok: bool) -> Answered | None:
        """Return what the resolvers say, None when none does. Raises ``Rejected``."""
        key = key_of(name, kind, dnssec_ok)
        asking = self._begin(key, name, kind, dnssec_ok)
        stale = self.cache.get(key, self._now()) if self.cache is not None and self.cache.settings.verify else None
        if stale is None:
            return await _outcome(asyncio.shield(asking))
        assert self.cache is not None
        try:
            async with asyncio.timeout(self.cache.settings.verify_seconds or None):
                answered = await _outcome(asyncio.shield(asking))
        except TimeoutError:
            answered = None
        if answered is None or answered.code == wire.SERVER_FAILURE:
            return stale.answered.with_ttl(self.cache.settings.stale_ttl)
        return answered

    def _begin(self, key: bytes, name: bytes, kind: int, dnssec_ok: bool) -> asyncio.Task[object]:
        asking = self._asking.get(key)
        if asking is None:
            line = self.line_of(name)
            if line is not None and 0 < line.settings.max_concurrent <= line.in_flight:
                line.rejected += 1
                raise Rejected
            asking = self._spawn(self._asked(key, line, name, kind, dnssec_ok), name="dns-forward")
            self._asking[key] = asking
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        return asking

    async def _asked(self, key: bytes, line: Line | None, name: bytes, kind: int, dnssec_ok: bool) -> Answered | None:
        answered = None
        if line is not None and not line.looping:
            line.in_flight += 1
            try:
                answered = await self._by(line, name, kind, dnssec_ok)
            except Exception:
                # one answer that cannot be read must not end the server
                logger.exception("asking for %s", wire.wire_to_name(name))
            finally:
                line.in_flight -= 1
        if self.cache is not None:
            if answered is not None:
                self.cache.put(key, answered, self._now())
            for table in self.cache.tables.values():
                if key in table:
                    table[key].refreshing = False
        return answered

    async def _by(self, line: Line, name: bytes, kind: int, dnssec_ok: bool) -> Answered | None:
        """Ask one resolver after the other until one answers."""
        head = struct.pack("!HHHHHH", 0, wire.RECURSION_DESIRED, 1, 0, 0, 1)
        query = head + name + struct.pack("!HH", kind, wire.IN) + (OPT_DNSSEC if dnssec_ok else OPT)
        settings, answered = line.settings, None
        line.upstreams.refresh(self._now())
        ends = self._now() + WHOLE_SECONDS
        for upstream in line.upstreams.in_turn():
            began = self._now()
            left = min(settings.read_seconds, ends - began)
            if left <= 0:
                break
            try:
                async with asyncio.timeout(left):
                    answered = await self._whole(upstream.address, query, udp=not settings.force_tcp)
            except (OSError, TimeoutError, wire.WireError):
                line.upstreams.failed(upstream)
                continue
            code = wire.CODES[answered.code] if answered.code < len(wire.CODES) else str(answered.code)
            upstream.answered.setdefault(code, Observed()).observe(self._now() - began)
            if answered.code not in settings.failover:
                break
        return answered

    async def _whole(self, address: exchange.Address, query: bytes, *, udp: bool) -> Answered:
        answered = read(await exchange.ask(address, query, udp=udp))
        if answered.code == wire.FORMAT_ERROR and query[11] == 1:
            # it knows no EDNS (RFC 6891 section 7)
            answered = read(await exchange.ask(address, query[:11] + b"\0" + query[12 : -len(OPT)], udp=udp))
        if udp and answered.is_truncated:
            answered = read(await exchange.ask(address, query, udp=False))
        return answered

    # circles

    async def look_for_circles(self) -> None:
        """Ask a name that nobody else asks: where it comes back to us (``came_back``), its line asks nobody any more."""
        for line in self.lines:
            name = self.probe[:-1] + line.settings.zone
            if len(name) <= 255:
                await self._by(line, name, wire.HINFO, False)

    def came_back(self, name: bytes) -> bool:
        """Whether a question is our own probe; its line is stopped then."""
        if not name.startswith(self.probe[:-1]):
            return False
        for line in self.lines:
            if name == self.probe[:-1] + line.settings.zone and not line.looping:
                line.looping = True
                logger.error(
                    "forwarding of %s runs in a circle: its resolvers ask us; it is stopped until the configuration changes",
                    wire.wire_to_name(line.settings.zone) or ".",
                )
        return True


async def _outcome(asking: asyncio.Future[object]) -> Answered | None:
    answered = await asking
    assert answered is None or isinstance(answered, Answered)
    return answered


def key_of(name: bytes, kind: int, dnssec_ok: bool) -> bytes:
    return name + struct.pack("!HB", kind, dnssec_ok)
