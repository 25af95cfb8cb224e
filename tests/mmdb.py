"""A MaxMind database, written for a test. Source: MaxMind DB File Format Specification 2.0."""

from __future__ import annotations

import ipaddress
from typing import Any

RECORD_BITS = 24


def written(networks: dict[str, dict[str, Any]], kind: str) -> bytes:
    """Return a database of a kind (as ``GeoIP2-City``) with a record for each network."""
    data, places = bytearray(), []
    for record in networks.values():
        places.append(len(data))
        data += value(record)
    nodes: list[list[int | None]] = [[None, None]]
    leaves: dict[tuple[int, int], int] = {}
    for place, text in zip(places, networks, strict=True):
        network = ipaddress.ip_network(text)
        length = network.prefixlen + (96 if network.version == 4 else 0)
        number = int(network.network_address)
        node = 0
        for depth in range(length):
            bit = number >> (127 - depth) & 1
            if depth == length - 1:
                leaves[node, bit] = place
                break
            following = nodes[node][bit]
            if following is None:
                following = nodes[node][bit] = len(nodes)
                nodes.append([None, None])
            node = following
    count = len(nodes)
    tree = bytearray()
    for number, pair in enumerate(nodes):
        for bit, following in enumerate(pair):
            leaf = leaves.get((number, bit))
            record = count + 16 + leaf if leaf is not None else count if following is None else following
            tree += record.to_bytes(3, "big")
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": kind,
        "description": {"en": kind},
        "ip_version": 6,
        "languages": ["en"],
        "node_count": count,
        "record_size": RECORD_BITS,
    }
    return bytes(tree) + bytes(16) + bytes(data) + b"\xab\xcd\xefMaxMind.com" + described(metadata)


UINT16, UINT32, UINT64 = 5, 6, 9
NUMBERS = {"node_count": UINT32, "build_epoch": UINT64}
"""Metadata that are not of 16 bits."""


def described(metadata: dict[str, Any]) -> bytes:
    """Return metadata, with numbers of the types that they have to be of."""
    entries = [value(name) + value(one, NUMBERS.get(name, UINT16)) for name, one in metadata.items()]
    return control(7, len(entries)) + b"".join(entries)


def value(content: Any, kind: int = UINT32) -> bytes:
    """Return a value of the data section; booleans, texts, numbers of a kind, lists and maps."""
    if isinstance(content, bool):
        return control(14, int(content))
    if isinstance(content, str):
        return control(2, len(content.encode())) + content.encode()
    if isinstance(content, int):
        raw = content.to_bytes((content.bit_length() + 7) // 8, "big")
        return control(kind, len(raw)) + raw
    if isinstance(content, list):
        return control(11, len(content)) + b"".join(value(one) for one in content)
    return control(7, len(content)) + b"".join(value(key) + value(one) for key, one in content.items())


def control(kind: int, size: int) -> bytes:
    assert size < 29 + 256
    low, more = (size, b"") if size < 29 else (29, bytes([size - 29]))
    return (bytes([kind << 5 | low]) if kind < 8 else bytes([low, kind - 7])) + more
