"""Does everyone reach whom they must? ICMP echoes from every node, sent and counted in this process.

One raw socket a node and family, no process; the kernel answers while ``sendto`` runs, so that an answer is mostly there when
it is looked for. What did not answer is asked again, after a pause that grows. Neighbour entries that a check leaves behind
are counted against a limit of the whole machine (``gc_thresh3``, 1,024), so they are removed in between.
Source: RFC 792, RFC 4443, linux/icmp.h, linux/icmpv6.h, raw(7), arp(7).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from sampan.lab.namespaces import Place
from sampan.lab.plan import Plan, PlannedInterface
from sampan.lab.reachability import Pair
from sampan.network import links
from sampan.network.families import Address
from sampan.network.netlink import NetlinkError

ECHO = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
BURST = 32
"""Echoes sent before answers are taken out, so that no socket's buffer overflows."""
NEIGHBOURS_MAX = 200
"""Pairs of neighbours that speak before what they learnt of each other is removed: two entries each, more with IPv6."""
PAUSES = (0.02, 0.1, 0.4, 1.0, 1.5)
"""How long is waited for answers before those missing are asked again, in seconds."""
GRACE = (0.02, 0.05)
"""And for those that must not answer."""


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found: ``missing`` should have answered, ``unexpected`` should not."""

    checked: int
    missing: tuple[Pair, ...] = ()
    unexpected: tuple[Pair, ...] = ()

    @property
    def well(self) -> bool:
        return not self.missing and not self.unexpected

    def lines(self, limit: int = 20) -> list[str]:
        """Return the verdict for people."""
        found = [f"{pair.source} does not reach {pair.target} ({pair.address})" for pair in self.missing]
        found += [f"{pair.source} reaches {pair.target} ({pair.address}) and must not" for pair in self.unexpected]
        return [*found[:limit], *([f"… and {len(found) - limit} more"] if len(found) > limit else [])]


def check(places: dict[str, Place], plan: Plan, pairs: Iterable[Pair], *, patient: bool = True) -> Verdict:
    """Ask every pair. Returns what differs from what is expected; takes as long as the last answer does, and at most some 3 s
    where one is missing (0.1 s when not ``patient``). One thread: two pass Python's lock around more than they ask."""
    wanted = list(pairs)
    run = _Check(places, plan)
    try:
        run.all(wanted, PAUSES if patient else GRACE)
    finally:
        run.close()
    missing = tuple(pair for pair in wanted if pair.reachable and id(pair) not in run.found)
    unexpected = tuple(pair for pair in wanted if not pair.reachable and id(pair) in run.found)
    return Verdict(len(wanted), missing, unexpected)


class _Check:
    def __init__(self, places: dict[str, Place], plan: Plan) -> None:
        self.places = places
        self.plan = plan
        self.pingers: dict[tuple[str, int], Pinger] = {}
        self.found: set[int] = set()
        """Pairs that were answered, by ``id``: who asks keeps them."""
        self.asked: dict[Pinger, dict[int, Pair]] = {}
        self.neighbours: set[tuple[str, str]] = set()
        """Nodes that speak to each other directly, since it was forgotten last."""

    def close(self) -> None:
        for pinger in self.pingers.values():
            pinger.close()
        self.forget_neighbours()

    def all(self, pairs: Sequence[Pair], pauses: Sequence[float]) -> None:
        for part in self.parts(pairs):
            waiting = part
            for pause in pauses:
                waiting = self.ask(waiting, pause)
                if not waiting:
                    break
            self.forget_neighbours()
        silent = [pair for pair in pairs if not pair.reachable]
        for pause in GRACE if silent else ():
            silent = self.ask(silent, pause)

    def parts(self, pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
        """Yield the pairs that must answer, in parts that leave few enough neighbour entries behind."""
        part: list[Pair] = []
        for pair in pairs:
            if not pair.reachable:
                continue
            self.neighbours.update(itertools.pairwise(pair.path))
            if pair.back != pair.path[::-1]:
                self.neighbours.update(itertools.pairwise(pair.back))
            part.append(pair)
            if len(self.neighbours) >= NEIGHBOURS_MAX:
                yield part
                part = []
        if part:
            yield part

    def ask(self, pairs: Sequence[Pair], pause: float) -> list[Pair]:
        """Ask pairs once; return those that did not answer in time."""
        self.asked.clear()
        for number, pair in enumerate(pairs):
            pinger = self.pinger(pair.source, pair.address.version)
            asked = self.asked.setdefault(pinger, {})
            asked[number & 0xFFFF] = pair
            pinger.send(str(pair.address), number & 0xFFFF)
            if number % BURST == BURST - 1:
                self.take(self.asked)
        self.take(self.asked)
        self.wait(pairs, pause)
        return [pair for pair in pairs if id(pair) not in self.found]

    def pinger(self, node: str, version: int) -> Pinger:
        key = (node, version)
        if key not in self.pingers:
            self.pingers[key] = Pinger(self.places[node], version)
        return self.pingers[key]

    def take(self, pingers: Iterable[Pinger]) -> None:
        for pinger in pingers:
            asked = self.asked[pinger]
            for _, sequence in pinger.take():
                pair = asked.get(sequence)
                if pair is not None:
                    self.found.add(id(pair))

    def wait(self, pairs: Sequence[Pair], pause: float) -> None:
        deadline = time.monotonic() + pause
        while any(id(pair) not in self.found for pair in pairs):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            poll = select.poll()
            by_descriptor = {pinger.socket.fileno(): pinger for pinger in self.asked}
            for descriptor in by_descriptor:
                poll.register(descriptor, select.POLLIN)
            self.take([by_descriptor[descriptor] for descriptor, _ in poll.poll(left * 1000)])

    def forget_neighbours(self) -> None:
        """Remove what nodes learnt of each other; what never was there is no error."""
        asked: dict[str, list[bytes]] = {}
        for pair in self.neighbours:
            one, other = (self.plan.nodes[name] for name in pair)
            for mine in one.interfaces:
                for theirs in other.interfaces:
                    if mine.subnet == theirs.subnet:
                        asked.setdefault(one.name, []).extend(_forget(mine, theirs))
                        asked.setdefault(other.name, []).extend(_forget(theirs, mine))
        self.neighbours.clear()
        for node, requests in asked.items():
            with contextlib.suppress(NetlinkError):
                self.places[node].netlink.batch(requests)


def _forget(mine: PlannedInterface, theirs: PlannedInterface) -> list[bytes]:
    return [links.forget_neighbour(mine.number, address.ip) for address in theirs.addresses]


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
