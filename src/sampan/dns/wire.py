"""DNS messages as bytes: what is asked, and the pieces that answers are made of.

Nothing here keeps state. Names are in wire form (length-prefixed labels) everywhere but in ``name_to_wire``'s argument.
Source: RFC 1035 section 4, RFC 2181, RFC 2782 (SRV), RFC 6891 (EDNS0).
"""

from __future__ import annotations

import struct
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

A, NS, CNAME, SOA, PTR, HINFO, MX, TXT, AAAA, SRV, OPT, IXFR, AXFR, ANY = (
    1, 2, 5, 6, 12, 13, 15, 16, 28, 33, 41, 251, 252, 255,
)  # fmt: skip
IN = 1
TYPES = {
    A: "A", NS: "NS", CNAME: "CNAME", SOA: "SOA", PTR: "PTR", HINFO: "HINFO", MX: "MX", TXT: "TXT", AAAA: "AAAA", SRV: "SRV",
    35: "NAPTR", 43: "DS", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 64: "SVCB", 65: "HTTPS", IXFR: "IXFR",
    AXFR: "AXFR", ANY: "ANY",
}  # fmt: skip
CODES = (
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE",
)  # fmt: skip
BAD_VERSION = 16
"""Its upper bits go into the OPT record (RFC 6891 section 6.1.3)."""
DNSSEC_OK = 0x8000
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED = 0, 1, 2, 3, 4, 5
QR, AUTHORITATIVE, TRUNCATED, RECURSION_DESIRED, RECURSION_AVAILABLE, OPCODE = 0x8000, 0x400, 0x200, 0x100, 0x80, 0x7800
HEADER_SIZE = 12
UDP_SIZE = 512
"""The longest UDP answer to who says nothing else (RFC 1035 section 4.2.1)."""
OUR_UDP_SIZE = 1232
"""What we say we take (DNS flag day 2020)."""
LONGEST_UDP_SIZE = 4096
POINTER_TO_QUESTION = b"\xc0\x0c"
_header = struct.Struct("!HHHHHH")


class WireError(ValueError):
    """Bytes that are no DNS query; the message says what is wrong."""


class Query(NamedTuple):
    identity: int
    flags: int
    name: bytes
    """Lower-cased, with its closing zero."""
    type: int
    class_: int
    question: bytes
    """As it was sent, case included: it is sent back so (draft-vixie-dnsext-dns0x20)."""
    udp_size: int
    edns_version: int
    """-1 without EDNS."""
    dnssec_ok: bool = False


def parse_query(data: bytes) -> Query:
    """Return a query with one question. Raises ``WireError``."""
    if len(data) < HEADER_SIZE:
        raise WireError("shorter than a header")
    identity, flags, questions, answers, authorities, additional = _header.unpack_from(data)
    if flags & QR:
        raise WireError("an answer, not a query")
    if questions != 1 or answers:
        raise WireError(f"{questions} questions, {answers} answers")
    end = skip_name(data, HEADER_SIZE) + 4
    if end > len(data):
        raise WireError("the question is cut off")
    name = data[HEADER_SIZE : end - 4].lower()
    kind, class_ = struct.unpack_from("!HH", data, end - 4)
    size, version, dnssec_ok = _edns(data, end, authorities, additional)
    return Query(identity, flags, name, kind, class_, data[HEADER_SIZE:end], size, version, dnssec_ok)


def skip_name(data: bytes, offset: int, *, pointers: bool = False) -> int:
    """Return the offset behind a name. Raises ``WireError``."""
    start = offset
    while True:
        if offset >= len(data):
            raise WireError("a name is cut off")
        length = data[offset]
        if length == 0:
            return offset + 1
        if length >= 0xC0 and pointers:
            if offset + 2 > len(data):
                raise WireError("a pointer is cut off")
            return offset + 2
        if length > 63:
            raise WireError("a label is longer than 63 bytes")
        offset += length + 1
        if offset - start > 254:
            raise WireError("a name is longer than 255 bytes")


def _edns(data: bytes, offset: int, authorities: int, additional: int) -> tuple[int, int, bool]:
    """Return (UDP size, version, whether DNSSEC's records are wanted) of the OPT record behind the question."""
    found = UDP_SIZE, -1, False
    for _ in range(authorities + additional):
        start = offset
        offset = skip_name(data, offset, pointers=True)
        if offset + 10 > len(data):
            raise WireError("a record is cut off")
        kind, class_, ttl, length = struct.unpack_from("!HHIH", data, offset)
        offset += 10 + length
        if offset > len(data):
            raise WireError("a record's data is cut off")
        if kind == OPT:
            if found[1] >= 0 or data[start]:
                raise WireError("two OPT records, or one with a name")
            found = min(max(class_, UDP_SIZE), LONGEST_UDP_SIZE), (ttl >> 16) & 0xFF, bool(ttl & DNSSEC_OK)
    return found


@lru_cache(4096)  # the names of one Service are asked for several times while it is compiled
def name_to_wire(name: str) -> bytes:
    """Return a name (``a.b.c``, with or without a closing dot) in wire form. Raises ``WireError``."""
    made = bytearray()
    for label in name.rstrip(".").split(".") if name.rstrip(".") else ():
        raw = label.encode("ascii", "replace")
        if not 0 < len(raw) < 64:
            raise WireError(f"not a label: {label!r}")
        made += bytes([len(raw)]) + raw
    if len(made) > 254:
        raise WireError(f"longer than 255 bytes: {name!r}")
    return bytes(made) + b"\0"


def is_below(name: bytes, zone: bytes) -> bool:
    """Whether a name in wire form is a zone's or below it (its suffix at a label's border)."""
    if not name.endswith(zone):
        return False
    border, offset = len(name) - len(zone), 0
    while offset < border:
        offset += name[offset] + 1
    return offset == border


@lru_cache(4096)
def wire_to_name(wire: bytes) -> str:
    """Return the text of an uncompressed name, without a closing dot."""
    labels, offset = [], 0
    while offset < len(wire) and wire[offset]:
        labels.append(wire[offset + 1 : offset + 1 + wire[offset]].decode("latin-1"))
        offset += wire[offset] + 1
    return ".".join(labels)


def record(owner: bytes, kind: int, ttl: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, IN, ttl, len(data)) + data


def address_data(address: IPv4Address | IPv6Address) -> bytes:
    return address.packed


def srv_data(priority: int, weight: int, port: int, target: bytes) -> bytes:
    return struct.pack("!HHH", priority, weight, port) + target


def txt_data(text: str) -> bytes:
    raw = text.encode()
    return b"".join(bytes([len(raw[i : i + 255])]) + raw[i : i + 255] for i in range(0, max(len(raw), 1), 255))


def soa_data(server: bytes, contact: bytes, serial: int, minimum: int) -> bytes:
    return server + contact + struct.pack("!IIIII", serial, 7200, 1800, 86400, minimum)


def message(query: Query, flags: int, answers: list[bytes], authorities: list[bytes], additional: list[bytes]) -> bytes:
    """Return an answer to a query; an OPT record is added when the query had one. ``flags`` above 16 bits are the upper
    part of the response code. Records of the name that was asked for get a pointer to it."""
    name = query.name
    pointed = [
        [POINTER_TO_QUESTION + one[len(name) :] if one.startswith(name) else one for one in section]
        for section in (answers, authorities, additional)
    ]
    if query.edns_version >= 0:
        pointed[2].append(opt_record(flags, query.dnssec_ok))
    flags = QR | RECURSION_AVAILABLE | (query.flags & (RECURSION_DESIRED | OPCODE)) | (flags & 0xFFFF)
    head = _header.pack(query.identity, flags, 1, *map(len, pointed))
    return b"".join([head, query.question, *pointed[0], *pointed[1], *pointed[2]])


def fitting(
    query: Query, flags: int, answers: list[bytes], authorities: list[bytes], additional: list[bytes], most: int
) -> bytes:
    """Return an answer of at most so many bytes (0: any number): what goes along is left out first, then it is marked as cut
    short and keeps as many answers as fit, for who cannot ask by TCP (RFC 2181 section 9)."""
    made = message(query, flags, answers, authorities, additional)
    if not most or len(made) <= most:
        return made
    if additional and len(made := message(query, flags, answers, authorities, [])) <= most:
        return made
    room = most - len(message(query, flags, [], [], []))
    kept = []
    for one in answers:
        room -= len(one) - (len(query.name) - 2 if one.startswith(query.name) else 0)
        if room < 0:
            break
        kept.append(one)
    return message(query, flags | TRUNCATED, kept, [], [])


def opt_record(flags: int = 0, dnssec_ok: bool = False) -> bytes:
    """Return our OPT record; the bits of ``flags`` above 16 are the upper part of the response code."""
    extended = (flags >> 16) << 24 | (DNSSEC_OK if dnssec_ok else 0)
    return b"\0" + struct.pack("!HHIH", OPT, OUR_UDP_SIZE, extended, 0)


def failure(data: bytes, code: int) -> bytes:
    """Return an answer without a question to bytes that have at least a header."""
    identity, flags = struct.unpack_from("!HH", data)
    return _header.pack(identity, QR | RECURSION_AVAILABLE | (flags & (OPCODE | RECURSION_DESIRED)) | code, 0, 0, 0, 0)


def expand_name(data: bytes, offset: int) -> bytes:
    """Return a name with its pointers followed. Raises ``WireError``."""
    made = b""
    for _ in range(128):
        if offset >= len(data):
            raise WireError("a name is cut off")
        length = data[offset]
        if length == 0:
            return made + b"\0"
        if length >= 0xC0:
            if offset + 2 > len(data):
                raise WireError("a pointer is cut off")
            offset = struct.unpack_from("!H", data, offset)[0] & 0x3FFF
        elif length > 63 or offset + length >= len(data) or len(made) + length > 253:
            raise WireError("a label is too long")
        else:
            made += data[offset : offset + length + 1]
            offset += length + 1
    raise WireError("a name without end")
