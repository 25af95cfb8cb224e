"""A query on its way: through which block, along which names of a search, and what of it waits for others.

``responder.py`` makes these; ``Pending.finished`` awaits what others say and hands it back to the responder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sampan.dns import wire
from sampan.dns.corefile.configuration import Block
from sampan.dns.entries import Ip
from sampan.dns.forwarding.forwarder import Forwarder, Rejected
from sampan.dns.forwarding.upstream_answer import AUTHENTIC_DATA, Answered
from sampan.dns.gateway_names import GatewayNames
from sampan.dns.hosts import Hosts
from sampan.dns.rewrite import Rewritten
from sampan.dns.wire import Query, WireError
from sampan.dns.zone import Found

if TYPE_CHECKING:
    from sampan.dns.responder import Responder


REFUSED_TYPES = (wire.AXFR, wire.IXFR, wire.OPT, 249, 250, 253, 254)
"""Zone transfers, and what asks for no records of a name (RFC 6895 section 3.1)."""


class Way(NamedTuple):
    """A server block at work."""

    block: Block
    forwarder: Forwarder | None
    hosts: Hosts | None
    gateway: GatewayNames | None


class Outside(NamedTuple):
    """A name that others must be asked about, with what is to be put before their answer."""

    way: Way
    name: bytes
    aliases: tuple[bytes, ...] = ()


class Asked(NamedTuple):
    """A parsed query on its way."""

    query: Query
    rewritten: Rewritten
    way: Way
    names: list[bytes]
    """The steps of the search; one where it is none."""
    most: int
    """How long the answer may be."""
    source: Ip
    began: float
    udp: bool
    size: int


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that waits for others."""

    responder: Responder
    asked: Asked
    step: int
    outside: Outside
    refused: tuple[Found, ...]
    """What the steps before came to."""

    @property
    def source(self) -> Ip:
        return self.asked.source

    async def finished(self) -> bytes:
        pending: bytes | Pending = self
        while isinstance(pending, Pending):
            found = await pending._ask()
            pending = pending.responder.walk(pending.asked, pending.step, found, pending.refused)
        return pending

    async def _ask(self) -> Found:
        outside, query = self.outside, self.asked.query
        assert outside.way.forwarder is not None
        try:
            answered = await outside.way.forwarder.ask(outside.name, self.asked.rewritten.kind, query.dnssec_ok)
        except Rejected:
            return Found(wire.REFUSED, [], [], [], False, "forward")
        if answered is None:
            return Found(wire.SERVER_FAILURE, list(outside.aliases), [], [], False, "forward")
        return of_others(outside, answered, answered.records, "forward")

    def rejected(self) -> bytes:
        """Return the answer to one who asks too much at once."""
        return self.responder.finish(self.asked, 0, Found(wire.REFUSED, [], [], [], False, "forward"))


def of_others(
    outside: Outside, answered: Answered, records: Callable[[], tuple[list[bytes], list[bytes]]], by: str
) -> Found:
    """Return the answer of others as records, behind the aliases that led to them."""
    try:
        answers, authorities = records()
    except WireError:
        return Found(wire.SERVER_FAILURE, [], [], [], False, by)
    authentic = bool(answered.flags & AUTHENTIC_DATA) and not outside.aliases
    return Found(answered.code, [*outside.aliases, *answers], authorities, [], False, by, authentic)


def turned(records: list[bytes], number: int) -> list[bytes]:
    """Return records with the addresses behind the aliases in another order."""
    first = next((at for at, one in enumerate(records) if _is_address(one)), len(records))
    aliases, addresses = records[:first], records[first:]
    if len(addresses) < 2 or not all(map(_is_address, addresses)):
        return records
    turn = number % len(addresses)
    return [*aliases, *addresses[turn:], *addresses[:turn]]


def _is_address(record: bytes) -> bool:
    end = wire.skip_name(record, 0)
    return record[end : end + 2] in (b"\0\x01", b"\0\x1c")


def wanted_data(query: Query) -> int:
    """Return the AD bit for who asked for it (RFC 6840 section 5.8)."""
    return AUTHENTIC_DATA if query.dnssec_ok or query.flags & AUTHENTIC_DATA else 0


def refusal(query: Query) -> int:
    """Return why a query is not looked at, 0 where it is."""
    if query.flags & wire.OPCODE:
        return wire.NOT_IMPLEMENTED
    if query.edns_version > 0:
        return wire.BAD_VERSION >> 4 << 16 | wire.BAD_VERSION & 0xF
    if query.class_ != wire.IN or query.type in REFUSED_TYPES:
        return wire.REFUSED
    return 0
