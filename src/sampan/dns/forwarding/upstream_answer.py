"""What an upstream resolver answered, kept so that it can be given again: to the same question, or its records in another.

``read`` takes a message apart just far enough: where its TTLs are, how long it may be kept, and where its OPT record is,
which is between it and us. Source: RFC 1035 section 4, RFC 2308 (negative answers), RFC 6891 section 6.1.1, RFC 9471.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sampan.dns import wire
from sampan.dns.wire import HEADER_SIZE, WireError, expand_name, skip_name

AUTHENTIC_DATA = 0x20
LONGEST_TTL_SECONDS = 0x7FFFFFFF


class Answered(NamedTuple):
    code: int
    flags: int
    """The header's, as they came."""
    data: bytes
    """The message without its OPT record and what stood behind it."""
    question_end: int
    ttl_offsets: tuple[int, ...]
    ttl: int
    """Seconds that it may be kept; 0 where nothing says how long."""
    counts: tuple[int, int, int]

    @property
    def is_truncated(self) -> bool:
        return bool(self.flags & wire.TRUNCATED)

    @property
    def is_denial(self) -> bool:
        return self.code == wire.NAME_ERROR or not self.counts[0]

    def aged(self, seconds: int, ttl: int | None = None) -> bytes:
        """Return what stands behind the question, its TTLs less ``seconds``, or all of them ``ttl``."""
        made = bytearray(self.data)
        for offset in self.ttl_offsets:
            (old,) = struct.unpack_from("!I", made, offset)
            struct.pack_into("!I", made, offset, max(old - seconds, 0) if ttl is None else ttl)
        return bytes(made[self.question_end :])

    def with_ttl(self, ttl: int) -> Answered:
        """Return the same answer with one TTL for all."""
        return self._replace(data=self.data[: self.question_end] + self.aged(0, ttl), ttl=ttl)

    def records(self, seconds: int = 0) -> tuple[list[bytes], list[bytes]]:
        """Return the records of the answer and the authority section, names written out. Raises ``WireError``."""
        found: tuple[list[bytes], list[bytes]] = ([], [])
        offset = self.question_end
        for section, count in zip(found, self.counts, strict=False):
            for _ in range(count):
                owner = expand_name(self.data, offset).lower()
                offset = skip_name(self.data, offset, pointers=True)
                kind, class_, ttl, length = struct.unpack_from("!HHIH", self.data, offset)
                offset += 10
                if class_ == wire.IN:
                    data = whole_data(self.data, kind, offset, length)
                    section.append(wire.record(owner, kind, max(min(ttl, LONGEST_TTL_SECONDS) - seconds, 0), data))
                offset += length
        return found


def read(data: bytes) -> Answered:
    """Return an answer. Raises ``WireError`` for what is none."""
    if len(data) < HEADER_SIZE:
        raise WireError("shorter than a header")
    _, flags, questions, *counts = struct.unpack_from("!HHHHHH", data)
    if not flags & wire.QR or questions > 1:
        raise WireError("no answer to a question")
    offset = HEADER_SIZE
    if questions:
        offset = skip_name(data, offset) + 4
    question_end = offset
    kept, ttls, offsets, denial_ttl = [0, 0, 0], [], [], None
    end = 0
    for section, count in enumerate(counts):
        for _ in range(count):
            start = offset
            offset = skip_name(data, offset, pointers=True)
            if offset + 10 > len(data):
                raise WireError("a record is cut off")
            kind, _, ttl, length = struct.unpack_from("!HHIH", data, offset)
            if offset + 10 + length > len(data):
                raise WireError("a record's data is cut off")
            if kind == wire.OPT:
                end = end or start
            elif not end:
                kept[section] += 1
                offsets.append(offset + 4)
                ttl = ttl if ttl <= LONGEST_TTL_SECONDS else 0
                ttls.append(ttl)
                if section == 1 and kind == wire.SOA and length >= 20:
                    (minimum,) = struct.unpack_from("!I", data, offset + 10 + length - 4)
                    denial_ttl = min(ttl, minimum)
            offset += 10 + length
    code = flags & 0xF
    if code == wire.NAME_ERROR or not counts[0]:
        ttl = denial_ttl or 0
    else:
        ttl = min(ttls)
    whole = data[: end or offset]
    return Answered(code, flags, whole, question_end, tuple(offsets), ttl, (kept[0], kept[1], kept[2]))


def whole_data(message: bytes, kind: int, offset: int, length: int) -> bytes:
    """Return a record's data with the names in it written out (RFC 3597 section 4: those of old types may be pointers)."""
    raw = message[offset : offset + length]
    if kind in (wire.NS, wire.CNAME, wire.PTR, 39):
        return expand_name(message, offset)
    if kind == wire.MX:
        return raw[:2] + expand_name(message, offset + 2)
    if kind == wire.SRV:
        return raw[:6] + expand_name(message, offset + 6)
    if kind == wire.SOA:
        second = skip_name(message, offset, pointers=True)
        return expand_name(message, offset) + expand_name(message, second) + raw[-20:]
    return raw
