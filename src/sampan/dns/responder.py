"""A query's bytes to an answer's bytes, as far as the zone goes; pure.

``answer`` returns bytes, or an ``Outside`` for what others must be asked about first. The usual query is answered without
being parsed: its question is looked up as it stands.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sampan.dns import wire
from sampan.dns.wire import Query, WireError
from sampan.dns.zone import TTL_SECONDS, Answer, Zone, question_key

PLAIN = b"\x00\x01\x00\x00\x00\x00\x00\x00"
"""Counts of a query without EDNS: one question and no more."""
ALIASES_AT_MOST = 8


@dataclass(frozen=True, slots=True)
class Outside:
    """A query to ask others: as it came, or (of an alias) for ``name``, with ``aliases`` to put before the answer."""

    query: Query
    name: bytes
    aliases: tuple[bytes, ...] = ()


class Responder:
    def __init__(self, zone: Zone) -> None:
        self.zone = zone

    def answer(self, data: bytes, *, udp: bool = True) -> bytes | Outside | None:
        """Return the answer; None for what deserves none (an answer, less than a header)."""
        end = data.find(0, wire.HEADER_SIZE) + 5
        if end == len(data) and data[4:12] == PLAIN and not data[2] & 0xF8:
            found = self.zone.answers.get(data[12 : end - 4].lower() + data[end - 4 :])
            if found is not None:
                body = found.orders[data[1] % len(found.orders)]
                if not udp or end + len(body) <= wire.UDP_SIZE:
                    flags = b"\x85\x80" if data[2] & 1 else b"\x84\x80"
                    return b"".join((data[:2], flags, b"\0\1", found.counts, data[12:], body))
        try:
            return self._slowly(data, udp)
        except WireError:
            if len(data) < wire.HEADER_SIZE or data[2] & 0x80:
                return None
            return wire.failure(data, wire.FORMAT_ERROR)

    def _slowly(self, data: bytes, udp: bool) -> bytes | Outside:
        query = wire.parse_query(data)
        if query.flags & wire.OPCODE:
            return wire.message(query, wire.NOT_IMPLEMENTED, [], [], [])
        if query.edns_version > 0:
            # BADVERS, 16: its upper bits go into the OPT record (RFC 6891 section 6.1.3)
            return wire.message(query, 1 << 16, [], [], [])
        if query.class_ not in (wire.IN, wire.ANY) or query.type == wire.AXFR:
            return wire.message(query, wire.REFUSED, [], [], [])
        found = self.zone.answers.get(question_key(query.name, query.type))
        if found is None and query.type == wire.ANY:
            found = self._any(query.name)
        if found is not None:
            return fitting(query, positive(query, found), udp)
        if query.name in self.zone.aliases:
            return self._alias(query, udp)
        if not self.zone.contains(query.name) and not self.zone.exists(query.name):
            return Outside(query, query.name)
        return self._absent(query)

    def _any(self, name: bytes) -> Answer | None:
        """One set of records is an answer to ANY (RFC 8482)."""
        kinds = (wire.A, wire.AAAA, wire.SRV, wire.PTR, wire.TXT, wire.SOA, wire.NS)
        return next((found for kind in kinds if (found := self.zone.answers.get(question_key(name, kind)))), None)

    def _absent(self, query: Query) -> bytes:
        pod = self.zone.pod(query.name)
        if pod is not None:
            kind = wire.A if pod.version == 4 else wire.AAAA
            if query.type in (kind, wire.ANY):
                record = wire.record(wire.POINTER_TO_QUESTION, kind, TTL_SECONDS, wire.address_data(pod))
                return wire.message(query, wire.AUTHORITATIVE, [record], [], [])
        code = wire.NO_ERROR if pod is not None or self.zone.exists(query.name) else wire.NAME_ERROR
        return wire.message(query, wire.AUTHORITATIVE | code, [], [self.zone.soa], [])

    def _alias(self, query: Query, udp: bool) -> bytes | Outside:
        """Follow ExternalName Services, through the zone and out of it: stub resolvers do not do it themselves."""
        records: list[bytes] = []
        name = query.name
        while name in self.zone.aliases and len(records) < ALIASES_AT_MOST:
            owner = name if records else wire.POINTER_TO_QUESTION
            target = wire.name_to_wire(self.zone.aliases[name])
            records.append(wire.record(owner, wire.CNAME, TTL_SECONDS, target))
            name = target.lower()
        if query.type in (wire.CNAME, wire.ANY) or name in self.zone.aliases:
            return fitting(query, wire.message(query, wire.AUTHORITATIVE, records, [], []), udp)
        found = self.zone.records(name, query.type)
        if found:
            return fitting(query, wire.message(query, wire.AUTHORITATIVE, [*records, *found], [], []), udp)
        if self.zone.contains(name):
            return fitting(query, wire.message(query, wire.AUTHORITATIVE, records, [self.zone.soa], []), udp)
        return Outside(query, name, tuple(records))


def positive(query: Query, found: Answer) -> bytes:
    """Return the answer of the zone to a parsed query."""
    answers, authorities, additional = struct.unpack("!HHH", found.counts)
    body = found.orders[query.identity % len(found.orders)]
    if query.edns_version >= 0:
        body += wire.opt_record()
        additional += 1
    flags = wire.QR | wire.AUTHORITATIVE | wire.RECURSION_AVAILABLE | (query.flags & wire.RECURSION_DESIRED)
    head = struct.pack("!HHHHHH", query.identity, flags, 1, answers, authorities, additional)
    return head + query.question + body


def fitting(query: Query, answer: bytes, udp: bool) -> bytes:
    """Return the answer, or for UDP that it must be asked for by TCP when it is too long (RFC 2181 section 9)."""
    if not udp or len(answer) <= query.udp_size:
        return answer
    flags = struct.unpack_from("!H", answer, 2)[0] & ~wire.QR
    return wire.message(query, (flags & (wire.AUTHORITATIVE | 0xF)) | wire.TRUNCATED, [], [], [])
