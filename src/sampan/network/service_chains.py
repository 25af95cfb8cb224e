"""The chains of Services that are made when they are needed, as netlink requests: they go with the elements that lead to
them, in one transaction, and no ``nft`` has to be started.

``pick-3``: ``dnat to ip daddr . meta l4proto . th dport . numgen random mod 3 map @endpoints``, and the like for ports of the
node, and for those inside (``service_table.py``). An affinity is a map of clients to endpoints, a chain that leads a known
client (``dnat to ip saddr map @NAME``) and one that remembers where a packet was led to (``update @NAME { ip saddr timeout
60s : ip daddr . th dport }``). Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from sampan.network.families import Family
from sampan.network.netlink import ACK, NESTED, attribute, message
from sampan.network.service_table import INSIDE_OFFSET, TABLE

SUBSYSTEM = 10 << 8
NEW_CHAIN, DELETE_CHAIN, NEW_RULE, DELETE_RULE, NEW_SET, DELETE_SET = (SUBSYSTEM | n for n in (3, 5, 6, 8, 9, 11))
CREATE, APPEND = 0x400, 0x800
NAMED_TABLE = 1
CHAIN_NAME, RULE_CHAIN, RULE_EXPRESSIONS = 3, 2, 4
SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_SIZE, SET_DATA_TYPE, SET_DATA_SIZE = 2, 3, 4, 5, 6, 7
SET_DESCRIPTION, SET_ID = 9, 10
SET_MAP, SET_TIMEOUT, SET_DYNAMIC = 0x8, 0x10, 0x20
DESCRIBED_SIZE = 1
AFFINITY_AT_MOST = 1 << 17
TYPES = {4: 7, 6: 8}
PORT_TYPE, TYPE_BITS = 13, 6
"""nft's own numbers of types, and how it puts several together: they are what it lists the map with."""
LIST_ELEMENT, EXPRESSION_NAME, EXPRESSION_DATA = 1, 1, 2
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
SOURCES, DESTINATIONS = {4: 12, 6: 8}, {4: 16, 6: 24}
"""Where addresses stand in the header."""
FIRST = 8
"""The first of the registers of four bytes."""
META_PROTOCOL, RANDOM, DNAT, MAPPED, UPDATE = 16, 1, 1, 0x3, 1


def picking(family: Family, number: int) -> Iterable[bytes]:
    """Yield the requests for the chains that pick one of a number of endpoints. Their second rule is for the packet that was
    on its way while the number became smaller: there is a first endpoint always."""
    for name, offset in (("pick", 0), ("inside", INSIDE_OFFSET)):
        for suffix, lookup in (("", "endpoints"), ("-port", "port_endpoints")):
            chain = f"{name}{suffix}-{number}"
            yield new_chain(family, chain)
            for modulus in dict.fromkeys((number, 1)):
                yield new_rule(family, chain, _picked(family, lookup, modulus, offset))


def _picked(family: Family, lookup: str, modulus: int, offset: int) -> list[bytes]:
    words = family.size // 4 if lookup == "endpoints" else 0
    address = [_payload(FIRST, NETWORK_HEADER, DESTINATIONS[family.version], family.size)] if words else []
    protocol = FIRST + words
    return [
        *address,
        _expression("meta", _number(2, META_PROTOCOL) + _number(1, protocol)),
        _payload(protocol + 1, TRANSPORT_HEADER, 2, 2),
        _expression("numgen", _number(1, protocol + 2) + _number(2, modulus) + _number(3, RANDOM) + _number(4, offset)),
        *_led(family, lookup),
    ]


def _led(family: Family, lookup: str) -> list[bytes]:
    """Return what leads a packet to the endpoint that a map has for the key in the registers."""
    port = FIRST + family.size // 4
    nat = _number(1, DNAT) + _number(2, family.af) + _number(3, FIRST) + _number(4, FIRST)
    return [
        _expression("lookup", _text(1, lookup) + _number(2, FIRST) + _number(3, FIRST)),
        _expression("nat", nat + _number(5, port) + _number(6, port) + _number(7, MAPPED)),
    ]


def new_affinity(family: Family, name: str, seconds: int, number: int) -> Iterable[bytes]:
    """Yield the requests for an affinity; ``number`` is one that no other map has in the transaction."""
    yield _new_map(family, name, number)
    for chain, expressions in (
        (name, [_payload(FIRST, NETWORK_HEADER, SOURCES[family.version], family.size), *_led(family, name)]),
        (f"{name}-remember", _remembered(family, name, seconds)),
    ):
        yield new_chain(family, chain)
        yield new_rule(family, chain, expressions)


def _remembered(family: Family, name: str, seconds: int) -> list[bytes]:
    client, endpoint = FIRST, FIRST + 4
    update = _text(1, name) + _number(3, UPDATE) + _number(4, client) + _number(5, endpoint)
    return [
        _payload(client, NETWORK_HEADER, SOURCES[family.version], family.size),
        _payload(endpoint, NETWORK_HEADER, DESTINATIONS[family.version], family.size),
        _payload(endpoint + family.size // 4, TRANSPORT_HEADER, 2, 2),
        _expression("dynset", update + attribute(6, struct.pack("!Q", seconds * 1000))),
    ]


def without_affinity(family: Family, name: str) -> Iterable[bytes]:
    """Yield the requests that delete an affinity which no element leads to any more."""
    for chain in (name, f"{name}-remember"):
        yield _request(DELETE_RULE, 0, family, _text(RULE_CHAIN, chain))
    for chain in (name, f"{name}-remember"):
        yield _request(DELETE_CHAIN, 0, family, _text(CHAIN_NAME, chain))
    yield _request(DELETE_SET, 0, family, _text(SET_NAME, name))


def new_chain(family: Family, name: str) -> bytes:
    return _request(NEW_CHAIN, CREATE, family, _text(CHAIN_NAME, name))


def new_rule(family: Family, chain: str, expressions: Iterable[bytes]) -> bytes:
    listed = b"".join(attribute(LIST_ELEMENT | NESTED, one) for one in expressions)
    body = _text(RULE_CHAIN, chain) + attribute(RULE_EXPRESSIONS | NESTED, listed)
    return _request(NEW_RULE, CREATE | APPEND, family, body)


def _new_map(family: Family, name: str, number: int) -> bytes:
    address = TYPES[family.version]
    body = _text(SET_NAME, name) + _number(SET_FLAGS, SET_MAP | SET_TIMEOUT | SET_DYNAMIC)
    body += _number(SET_KEY_TYPE, address) + _number(SET_KEY_SIZE, family.size)
    body += _number(SET_DATA_TYPE, address << TYPE_BITS | PORT_TYPE) + _number(SET_DATA_SIZE, family.size + 4)
    body += attribute(SET_DESCRIPTION | NESTED, _number(DESCRIBED_SIZE, AFFINITY_AT_MOST)) + _number(SET_ID, number)
    return _request(NEW_SET, CREATE, family, body)


def _request(kind: int, flags: int, family: Family, body: bytes) -> bytes:
    return message(kind, flags | ACK, struct.pack("=BBH", family.af, 0, 0) + _text(NAMED_TABLE, TABLE) + body)


def _payload(register: int, base: int, offset: int, size: int) -> bytes:
    return _expression("payload", _number(1, register) + _number(2, base) + _number(3, offset) + _number(4, size))


def _expression(name: str, data: bytes) -> bytes:
    return _text(EXPRESSION_NAME, name) + attribute(EXPRESSION_DATA | NESTED, data)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")
