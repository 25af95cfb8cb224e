"""Whether a file is a MaxMind database: by its metadata, as strictly as libmaxminddb, which Envoy reads it with.

Envoy ends with one that it cannot open. Source: MaxMind DB File Format Specification 2.0.
"""

from __future__ import annotations

from typing import Any

MARK = b"\xab\xcd\xefMaxMind.com"
MARK_WITHIN_BYTES = 128 * 1024
DEEPEST = 16
TEXT, DOUBLE, BYTES, UINT16, UINT32, MAP, INT32, UINT64, UINT128, ARRAY, BOOLEAN, FLOAT = (
    2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15
)  # fmt: skip
NEEDED = {
    "binary_format_major_version": UINT16,
    "binary_format_minor_version": UINT16,
    "build_epoch": UINT64,
    "database_type": TEXT,
    "ip_version": UINT16,
    "languages": ARRAY,
    "node_count": UINT32,
    "record_size": UINT16,
}
MOST_SIZE = {UINT16: 2, UINT32: 4, UINT64: 8}
SEPARATOR_BYTES = 16


class NoDatabase(Exception):
    """The text says why a file is no database."""


def check(content: bytes) -> dict[str, Any]:
    """Return the metadata of a database. Raises ``NoDatabase``."""
    place = content.rfind(MARK, max(0, len(content) - MARK_WITHIN_BYTES))
    if place < 0:
        raise NoDatabase("this is no MaxMind database")
    try:
        kind, metadata, _ = value(content, place + len(MARK), 0)
    except (IndexError, UnicodeDecodeError, TypeError) as error:
        raise NoDatabase("its metadata are cut short, or not such") from error
    if kind != MAP:
        raise NoDatabase("its metadata are no map")
    for name, wanted in NEEDED.items():
        if metadata.get(name, (0, None))[0] != wanted:
            raise NoDatabase(f"its metadata have no {name}, or one of another type")
    found = {name: metadata[name][1] for name in NEEDED}
    if found["binary_format_major_version"] != 2:
        raise NoDatabase(f"it is of format {found['binary_format_major_version']}; 2 is read")
    if found["record_size"] not in (24, 28, 32) or found["ip_version"] not in (4, 6) or not found["node_count"]:
        raise NoDatabase("its metadata say what no tree can be")
    tree = found["node_count"] * found["record_size"] // 4
    if tree + SEPARATOR_BYTES > place:
        raise NoDatabase("it is shorter than its metadata say")
    return found


def value(content: bytes, at: int, deep: int) -> tuple[int, Any, int]:
    """Return type and content of a value, and where the next begins. Values of maps have their type beside them."""
    if deep > DEEPEST:
        raise TypeError("too deep")
    first = content[at]
    at += 1
    kind, size = first >> 5, first & 31
    if kind == 0:
        kind, at = content[at] + 7, at + 1
    if kind == 1:
        raise TypeError("a pointer")
    if size >= 29:
        extra = size - 28
        if at + extra > len(content):
            raise IndexError
        size = (29, 285, 65821)[extra - 1] + int.from_bytes(content[at : at + extra], "big")
        at += extra
    if kind == MAP:
        entries = {}
        for _ in range(size):
            key_kind, key, at = value(content, at, deep + 1)
            if key_kind != TEXT:
                raise TypeError("a key that is no text")
            entry_kind, entry, at = value(content, at, deep + 1)
            entries[key] = entry_kind, entry
        return kind, entries, at
    if kind == ARRAY:
        items = []
        for _ in range(size):
            _, item, at = value(content, at, deep + 1)
            items.append(item)
        return kind, items, at
    if kind == BOOLEAN:
        return kind, bool(size), at
    if at + size > len(content) or size > MOST_SIZE.get(kind, size):
        raise IndexError
    raw = content[at : at + size]
    return kind, raw.decode() if kind == TEXT else int.from_bytes(raw, "big"), at + size
