"""The rule that remembers which endpoint a client went to, by netlink: nft (1.0.6) has not the registers for it in IPv6.

``update @NAME { ip saddr timeout SECONDS : ip daddr . th dport }``, of a packet that has been led to its endpoint already.
Source: linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import struct

from sampan.network.families import Family
from sampan.network.netlink import ACK, NESTED, attribute, message
from sampan.network.service_table import TABLE

NEW_RULE, CREATE, APPEND = 10 << 8 | 6, 0x400, 0x800
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
LIST_ELEMENT, EXPRESSION_NAME, EXPRESSION_DATA = 1, 1, 2
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
UPDATE = 1
CLIENT_REGISTER, ENDPOINT_REGISTER = 8, 12
"""Registers of four bytes: the client's address has the first four, the endpoint what comes after."""
SOURCES = {4: 12, 6: 8}
DESTINATIONS = {4: 16, 6: 24}
"""Where addresses stand in the header."""


def remembering(family: Family, name: str, seconds: int) -> bytes:
    """Return the request that adds the rule to the chain ``NAME-remember``."""
    size = family.size
    expressions = (
        _payload(CLIENT_REGISTER, NETWORK_HEADER, SOURCES[family.version], size),
        _payload(ENDPOINT_REGISTER, NETWORK_HEADER, DESTINATIONS[family.version], size),
        _payload(ENDPOINT_REGISTER + size // 4, TRANSPORT_HEADER, 2, 2),
        _update(name, seconds),
    )
    listed = b"".join(attribute(LIST_ELEMENT | NESTED, one) for one in expressions)
    body = struct.pack("=BBH", family.af, 0, 0)
    body += _text(RULE_TABLE, TABLE) + _text(RULE_CHAIN, f"{name}-remember")
    return message(NEW_RULE, CREATE | APPEND | ACK, body + attribute(RULE_EXPRESSIONS | NESTED, listed))


def _payload(register: int, base: int, offset: int, size: int) -> bytes:
    return _expression("payload", _number(1, register) + _number(2, base) + _number(3, offset) + _number(4, size))


def _update(name: str, seconds: int) -> bytes:
    data = _text(1, name) + _number(3, UPDATE) + _number(4, CLIENT_REGISTER) + _number(5, ENDPOINT_REGISTER)
    return _expression("dynset", data + attribute(6, struct.pack("!Q", seconds * 1000)))


def _expression(name: str, data: bytes) -> bytes:
    return _text(EXPRESSION_NAME, name) + attribute(EXPRESSION_DATA | NESTED, data)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


def _text(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")
