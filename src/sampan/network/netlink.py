"""Netlink, whatever is talked of: messages, attributes, and a conversation with the kernel.

The kernel answers each request before ``send`` returns, so one blocking socket is enough and a request takes some tens of
microseconds. ``Conversation.request`` sends many at once and reads one acknowledgement for each; ``Conversation.batch``
reads one for all. No library: importing one costs 0.3 s and 20 MB in every process. Links, addresses and routes are asked
for in the words of ``route_netlink``, nftables in those of ``nft_elements``, connections in those of ``conntrack``.
Source: netlink(7), linux/netlink.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from sampan.network.netns import entered

SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11

REQUEST, ACK, ROOT_MATCH = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE = 0x100, 0x200, 0x400
ERROR, DONE = 2, 3
NESTED = 0x8000
BATCH_BYTES = 1 << 16
"""Less than what a socket takes in one message (``net.core.wmem_default`` is 212,992)."""


class NetlinkError(OSError):
    """The kernel refused a request; the message has its own words where it gave some."""

    request = 0
    """Which of a batch was the first to be refused."""


def attribute(kind: int, payload: bytes) -> bytes:
    size = 4 + len(payload)
    return struct.pack("=HH", size, kind) + payload + b"\0" * (-size % 4)


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return a request without its sequence number, which is set when it is sent."""
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 0, 0) + body


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes of a message's body by kind."""
    found = {}
    offset = 0
    while offset + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, offset)
        if size < 4:
            break
        found[kind & ~NESTED] = data[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield kind, sequence number and body of each message."""
    offset = 0
    while offset + 16 <= len(data):
        size, kind, _, sequence = struct.unpack_from("=IHHI", data, offset)
        if size < 16:
            return
        yield kind, sequence, data[offset + 16 : offset + size]
        offset += (size + 3) & ~3


def refusal(body: bytes) -> NetlinkError | None:
    """Return what an answer of the kind ``ERROR`` refuses; None for a plain acknowledgement."""
    number = -struct.unpack_from("=i", body)[0]
    if number == 0:
        return None
    words = attributes(body[20:]).get(1, b"").rstrip(b"\0").decode(errors="replace")
    return NetlinkError(number, f"{os.strerror(number)}{f' ({words})' if words else ''}")


class Conversation:
    """A netlink socket of a family (``NETLINK_ROUTE``, ``NETLINK_NETFILTER``); it belongs to the network namespace it was
    made in for good, which is that of the descriptor ``netns`` if one is given."""

    def __init__(self, family: int, netns: int = -1) -> None:
        with entered(netns) if netns >= 0 else contextlib.nullcontext():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.settimeout(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, *requests: bytes) -> None:
        """Have all carried out, in order. Raises the first ``NetlinkError``; the others are carried out none the less."""
        self._socket.send(b"".join(requests))
        problem = None
        answers = 0
        while answers < len(requests):
            for kind, _, body in messages(self._socket.recv(65536)):
                if kind == ERROR:
                    answers += 1
                    problem = problem or refusal(body)
        if problem:
            raise problem

    def batch(self, requests: Sequence[bytes]) -> None:
        """Have any number carried out, in order, with one acknowledgement a send. Raises the first ``NetlinkError``, which
        knows the ``request``; the others are carried out none the less."""
        problem: NetlinkError | None = None
        begin = 0
        while begin < len(requests):
            size, end = 0, begin
            while end < len(requests) and (end == begin or size + len(requests[end]) <= BATCH_BYTES):
                size += len(requests[end])
                end += 1
            refused = self._send(requests[begin:end], begin)
            problem = problem or refused
            begin = end
        if problem:
            raise problem

    def _send(self, requests: Sequence[bytes], first: int) -> NetlinkError | None:
        data = bytearray(b"".join(requests))
        offset = 0
        for number, request in enumerate(requests, 1):
            flags = int.from_bytes(request[6:8], "little")
            flags = flags | ACK if number == len(requests) else flags & ~ACK
            struct.pack_into("=HI", data, offset + 6, flags, number)
            offset += len(request)
        self._socket.send(data)
        problem: NetlinkError | None = None
        while True:
            for kind, sequence, body in messages(self._socket.recv(65536)):
                if kind == ERROR and problem is None and (problem := refusal(body)):
                    problem.request = first + sequence - 1
                if kind == ERROR and sequence == len(requests):
                    return problem

    def dump(self, request: bytes) -> Iterator[bytes]:
        """Yield the bodies that answer a request with ``ROOT_MATCH``."""
        self._socket.send(request)
        bodies: list[bytes] = []
        while True:
            for kind, _, body in messages(self._socket.recv(1 << 18)):
                if kind == DONE:
                    yield from bodies
                    return
                if kind == ERROR:
                    problem = refusal(body)
                    if problem:
                        raise problem
                else:
                    bodies.append(body)


def round_trip(family: int, request: bytes, *, missing_ok: bool = False) -> list[bytes]:
    """Return the bodies that answer one request of another netlink family (netfilter's, say)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family) as channel:
        channel.settimeout(10)
        channel.send(request)
        bodies: list[bytes] = []
        while True:
            for kind, _, body in messages(channel.recv(1 << 18)):
                if kind == DONE:
                    return bodies
                if kind == ERROR:
                    problem = refusal(body)
                    if problem and not (missing_ok and problem.errno == errno.ENOENT):
                        raise problem
                    return bodies
                bodies.append(body)
