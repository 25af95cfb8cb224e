"""Elements of nftables sets and maps by netlink: many changes in one transaction, and what the kernel holds.

A change of a few elements takes the kernel some tens of microseconds this way; ``nft`` would take some milliseconds to
start and to read what there is. Tables, chains and sets are made by ``nft``, as text (``nft.py``).
Source: linux/netfilter/nf_tables.h, linux/netfilter/nfnetlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence

from sampan.network.families import FAMILIES
from sampan.network.netlink import (
    ACK,
    DONE,
    ERROR,
    NESTED,
    NETLINK_CAP_ACK,
    ROOT_MATCH,
    SOL_NETLINK,
    attribute,
    attributes,
    message,
    messages,
)
from sampan.network.nft import NftError

NETLINK_NETFILTER, SUBSYSTEM, BATCH_SUBSYSTEM = 12, 10 << 8, 10
BATCH_BEGIN, BATCH_END = 16, 17
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = SUBSYSTEM | 12, SUBSYSTEM | 13, SUBSYSTEM | 14
CREATE = 0x400
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEMENT = 1
KEY, DATA, FLAGS, KEY_END = 1, 2, 3, 10
INTERVAL_END = 1
VALUE, VERDICT = 1, 2
VERDICT_CODE, VERDICT_CHAIN = 1, 2
CODES = {"drop": 0, "accept": 1, "jump": -3, "goto": -4, "return": -5}
WORDS = {code: word for word, code in CODES.items()}
MESSAGE_BYTES = 48 << 10
"""The list of elements in one message: its length has 16 bits."""
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER_BYTES = 64 << 20

Element = tuple[str, str, bytes]
"""``(table family, set, key)``: ``ip``, ``ip6``, ``inet``, ``bridge``; the key as the kernel has it, in a set of ranges with
its end."""
Value = bytes | str | None
"""What a map leads to: data, or a verdict as nft writes it (``goto pick-3``, ``drop``); None in a set."""
NFPROTO_INET, NFPROTO_BRIDGE = 1, 7
AF = {**{family.nft: family.af for family in FAMILIES}, "inet": NFPROTO_INET, "bridge": NFPROTO_BRIDGE}


class Elements:
    """The elements of the sets and maps of one table name, in the network namespace this was made in."""

    def __init__(self, table: str, ranges: Iterable[str] = ()) -> None:
        self._table = attribute(LIST_TABLE, table.encode() + b"\0")
        self._ranges = frozenset(ranges)
        """The sets whose keys are ranges."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        # the kernel has answered when ``send`` returns: there is nothing to wait for
        self._socket.setblocking(False)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        for option in (SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            self._socket.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)

    def close(self) -> None:
        self._socket.close()

    def change(self, removed: Iterable[Element], added: Mapping[Element, Value]) -> None:
        """Have all removed, then added, in one transaction: all of it is there after, or nothing. Raises ``NftError``."""
        self.transact(self.requests(removed, added))

    def requests(self, removed: Iterable[Element], added: Mapping[Element, Value]) -> list[bytes]:
        """Return what removes and adds elements, for a transaction."""
        return [
            *self._requests(DELETE_ELEMENT, 0, dict.fromkeys(removed)),
            *self._requests(NEW_ELEMENT, CREATE, added),
        ]

    def transact(self, requests: Sequence[bytes]) -> None:
        """Have all requests carried out, or none. Raises ``NftError``."""
        if not requests:
            return
        whole = b"".join((_edge(BATCH_BEGIN), *requests, _edge(BATCH_END)))
        try:
            self._socket.send(whole)
            self._acknowledged(len(requests))
        except OSError as error:
            raise NftError(f"changing nftables: {error.strerror or error}") from error

    def _requests(self, kind: int, flags: int, elements: Mapping[Element, Value]) -> Iterable[bytes]:
        grouped: dict[tuple[str, str], list[bytes]] = {}
        for (family, name, key), value in elements.items():
            grouped.setdefault((family, name), []).append(self._encoded(name, key, value))
        for (family, name), parts in grouped.items():
            head = struct.pack("=BBH", AF[family], 0, 0) + self._table + attribute(LIST_SET, name.encode() + b"\0")
            for some in _portions(parts):
                yield message(kind, flags | ACK, head + attribute(LIST_ELEMENTS | NESTED, some))

    def _encoded(self, name: str, key: bytes, value: Value) -> bytes:
        if name in self._ranges:
            half = len(key) // 2
            body = _data(KEY, key[:half]) + _data(KEY_END, key[half:])
        else:
            body = _data(KEY, key)
        if isinstance(value, bytes):
            body += _data(DATA, value)
        elif value is not None:
            word, _, chain = value.partition(" ")
            verdict = attribute(VERDICT_CODE, struct.pack("!i", CODES[word]))
            if chain:
                verdict += attribute(VERDICT_CHAIN, chain.encode() + b"\0")
            body += attribute(DATA | NESTED, attribute(VERDICT | NESTED, verdict))
        return attribute(LIST_ELEMENT | NESTED, body)

    def _acknowledged(self, wanted: int) -> None:
        """Read one answer for each request: they are there when ``send`` returns. Raises the first refusal."""
        problem: NftError | None = None
        seen = 0
        while True:
            try:
                answers = self._socket.recv(1 << 20)
            except BlockingIOError:
                break
            for kind, _, body in messages(answers):
                if kind == ERROR:
                    seen += 1
                    number = -struct.unpack_from("=i", body)[0]
                    if number and problem is None:
                        problem = NftError(f"the kernel refused a change of nftables: {os.strerror(number)}")
        if problem is not None:
            raise problem
        if seen < wanted:
            raise NftError(f"the kernel answered {seen} of {wanted} requests to change nftables")

    def held(self, family: str, name: str) -> dict[Element, Value]:
        """Return what the kernel has in a set or map. Raises ``NftError`` where it has no such set."""
        head = struct.pack("=BBH", AF[family], 0, 0) + self._table + attribute(LIST_SET, name.encode() + b"\0")
        found: dict[Element, Value] = {}
        self._socket.send(message(GET_ELEMENT, ROOT_MATCH, head))
        while True:
            for kind, _, body in messages(self._socket.recv(1 << 20)):
                if kind == DONE:
                    return found
                if kind == ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    if number:
                        raise NftError(f"reading {family} {name}: {os.strerror(number)}")
                    return found
                for part in _listed(attributes(body[4:]).get(LIST_ELEMENTS, b"")):
                    key, value = _decoded(part)
                    found[family, name, key] = value


def _edge(kind: int) -> bytes:
    return message(kind, 0, struct.pack("!BBH", socket.AF_UNSPEC, 0, BATCH_SUBSYSTEM))


def _data(kind: int, value: bytes) -> bytes:
    return attribute(kind | NESTED, attribute(VALUE, value))


def _portions(parts: list[bytes]) -> Iterable[bytes]:
    some: list[bytes] = []
    size = 0
    for part in parts:
        if size + len(part) > MESSAGE_BYTES:
            yield b"".join(some)
            some, size = [], 0
        some.append(part)
        size += len(part)
    if some:
        yield b"".join(some)


def _listed(data: bytes) -> Iterable[bytes]:
    """Yield the payloads of a list of attributes of the same kind."""
    offset = 0
    while offset + 4 <= len(data):
        size = struct.unpack_from("=H", data, offset)[0]
        yield data[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def _decoded(data: bytes) -> tuple[bytes, Value]:
    parts = attributes(data)
    key = attributes(parts[KEY])[VALUE]
    if KEY_END in parts:
        key += attributes(parts[KEY_END])[VALUE]
    if DATA not in parts:
        return key, None
    given = attributes(parts[DATA])
    if VALUE in given:
        return key, given[VALUE]
    verdict = attributes(given[VERDICT])
    word = WORDS[struct.unpack("!i", verdict[VERDICT_CODE])[0]]
    chain = verdict.get(VERDICT_CHAIN, b"").rstrip(b"\0").decode()
    return key, f"{word} {chain}".rstrip()
