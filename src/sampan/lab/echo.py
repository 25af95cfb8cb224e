"""ICMP echoes from a node, sent and counted in this process.

One raw socket a node and family, no program; the kernel answers while ``sendto`` runs, so that an answer is mostly there when
it is looked for.
Source: RFC 792, RFC 4443, linux/icmp.h, linux/icmpv6.h, raw(7), linux/filter.h.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from sampan.lab.namespaces import Place
from sampan.lab.plan import Plan
from sampan.network.families import Address

ECHO = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
SO_ATTACH_FILTER = 26


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo request. The checksum of IPv6 is the kernel's work, it needs the addresses."""
    header = struct.pack("!BBHHH", ECHO[version], 0, 0, identifier, sequence)
    if version == 6:
        return header + payload
    return struct.pack("!BBHHH", ECHO[4], 0, checksum(header + payload), identifier, sequence) + payload


def answered(version: int, data: bytes) -> tuple[int, int] | None:
    """Return identifier and sequence number of an echo reply as a raw socket has it; None for anything else."""
    if version == 4:
        data = data[(data[0] & 15) * 4 :]
    if len(data) < 8 or data[0] != ECHO_REPLY[version]:
        return None
    identifier, sequence = struct.unpack_from("!HH", data, 4)
    return identifier, sequence


def _own_answers(version: int, identifier: int) -> list[tuple[int, int, int, int]]:
    """Return a filter (bpf, classic) for a raw socket: what answers others' echoes takes no room in its buffer."""
    load = [(0xB1, 0, 0, 0), (0x48, 0, 0, 4)] if version == 4 else [(0x28, 0, 0, 4)]
    return [*load, (0x15, 0, 1, identifier), (0x06, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 0)]


class Pinger:
    """Echoes from one node, of one family."""

    def __init__(self, place: Place, version: int) -> None:
        self.version = version
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
        self.socket = place.run(lambda: socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol))
        if version == 4:
            self.socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", ~(1 << ECHO_REPLY[4]) & 0xFFFFFFFF))
        else:
            blocked = bytearray(b"\xff" * 32)
            struct.pack_into("=I", blocked, ECHO_REPLY[6] // 32 * 4, ~(1 << ECHO_REPLY[6] % 32) & 0xFFFFFFFF)
            self.socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(blocked))
        self.identifier = os.getpid() & 0xFFFF
        program = b"".join(struct.pack("=HBBI", *step) for step in _own_answers(version, self.identifier))
        steps = ctypes.create_string_buffer(program, len(program))
        attached = struct.pack("@HP", len(program) // 8, ctypes.addressof(steps))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, attached)

    def send(self, target: str, sequence: int) -> bool:
        """Send an echo; return whether the kernel knows a way."""
        try:
            self.socket.sendto(request(self.version, self.identifier, sequence, b"sampan lab  "), (target, 0))
        except OSError:
            return False
        return True

    def take(self) -> Iterator[tuple[str, int]]:
        """Yield address and sequence number of every answer that is there."""
        while True:
            try:
                data, sender = self.socket.recvfrom(2048)
            except OSError:
                return
            found = answered(self.version, data)
            if found is not None and found[0] == self.identifier:
                yield sender[0], found[1]

    def close(self) -> None:
        self.socket.close()


def ping(pinger: Pinger, target: str, count: int, seconds: float) -> list[float | None]:
    """Send echoes one after the other; return the time of each answer in milliseconds, None where there is none in time."""
    found: list[float | None] = []
    for sequence in range(count):
        begun = time.perf_counter()
        took: float | None = None
        if pinger.send(target, sequence):
            deadline = begun + seconds
            while took is None and (left := deadline - time.perf_counter()) > 0:
                select.select([pinger.socket], [], [], left)
                if any(number == sequence for _, number in pinger.take()):
                    took = (time.perf_counter() - begun) * 1000
        found.append(took)
    return found


def addresses_of(plan: Plan, node: str) -> list[Address]:
    """Return all addresses of a node."""
    found: list[IPv4Address | IPv6Address] = []
    for one in plan.nodes[node].interfaces:
        found += [address.ip for address in one.addresses]
    return found
