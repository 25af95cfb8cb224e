"""Does everyone reach whom they must? Every pair is asked by an echo, those without an answer again after a growing pause.

Neighbour entries that a check leaves behind count against a limit of the whole machine (``gc_thresh3``, 1,024 a family), so
they are removed in between. Pairs are asked in an order in which those that pass the same nodes follow each other: finding
out a neighbour's address costs more than an echo.
Source: arp(7), net/core/neighbour.c.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import select
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sampan.lab.echo import Pinger
from sampan.lab.namespaces import Place
from sampan.lab.plan import Plan, PlannedInterface
from sampan.lab.reachability import Pair
from sampan.network import links
from sampan.network.netlink import NetlinkError

BURST = 32
"""Echoes sent before answers are taken out, so that no socket's buffer overflows."""
NEIGHBOURS_MAX = 400
"""Pairs of neighbours that speak before what they learnt of each other is removed: two entries each."""
PAUSES = (0.02, 0.1, 0.4, 1.0, 1.5)
"""How long is waited for answers before those missing are asked again, in seconds."""
GRACE = (0.02, 0.05)
"""And for those that must not answer."""
ENOUGH = 500
"""Pairs for which another process is worth its while."""

Neighbours = tuple[str, str, int]
"""Two nodes that speak to each other directly, and the version of IP they do it in."""


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


def check(
    places: dict[str, Place], plan: Plan, pairs: Iterable[Pair], *, patient: bool = True, processes: int = 1
) -> Verdict:
    """Ask every pair. Returns what differs from what is expected; takes as long as the last answer does, and at most some 3 s
    where one is missing (0.1 s when not ``patient``). ``processes`` share many pairs; all but this one are forks of it, so
    it must have one thread then. (Threads would pass Python's lock around more than they ask.)"""
    wanted = list(pairs)
    pauses = PAUSES if patient else GRACE

    def in_order(reachable: bool) -> list[int]:
        return sorted(
            (number for number, pair in enumerate(wanted) if pair.reachable is reachable),
            key=lambda number: _way(wanted[number]),
        )

    numbers = in_order(True)
    count = max(1, min(processes, len(numbers) // ENOUGH))
    shares = [numbers[len(numbers) * i // count : len(numbers) * (i + 1) // count] for i in range(count)]

    def in_fork(share: Sequence[int]) -> list[int]:
        for place in places.values():
            place.reconnect()  # who shares a conversation may read the other's answers
        return unanswered(share)

    def unanswered(share: Sequence[int]) -> list[int]:
        with contextlib.closing(_Check(places, plan, wanted, NEIGHBOURS_MAX // count)) as run:
            return run.unanswered(share, pauses)

    forks = [_Fork(functools.partial(in_fork, share)) for share in shares[1:]]
    missing = {*unanswered(shares[0]), *itertools.chain.from_iterable(fork.result() for fork in forks)}
    with contextlib.closing(_Check(places, plan, wanted, NEIGHBOURS_MAX)) as run:
        unexpected = run.answered(in_order(False))
    return Verdict(
        len(wanted),
        tuple(pair for number, pair in enumerate(wanted) if number in missing),
        tuple(pair for number, pair in enumerate(wanted) if number in unexpected),
    )


def _way(pair: Pair) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return pair.path[1:-1], pair.path


class _Fork:
    """A function's numbers, found out by a process of its own."""

    def __init__(self, find: Callable[[], list[int]]) -> None:
        self.reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                with open(writing, "w") as file:
                    json.dump(find(), file)
            finally:
                os._exit(0)
        os.close(writing)

    def result(self) -> list[int]:
        """Return what the function returned. Raises ``ChildProcessError`` when it did not."""
        with open(self.reading) as file:
            said = file.read()
        os.waitpid(self.pid, 0)
        if not said:
            raise ChildProcessError("a process that checks a part of the laboratory has ended")
        return list(json.loads(said))


class _Check:
    def __init__(self, places: dict[str, Place], plan: Plan, pairs: Sequence[Pair], neighbours_max: int) -> None:
        self.places = places
        self.plan = plan
        self.pairs = pairs
        self.neighbours_max = neighbours_max
        self.pingers: dict[tuple[str, int], Pinger] = {}
        self.found: set[int] = set()
        """The numbers of pairs that were answered."""
        self.asked: dict[Pinger, dict[int, int]] = {}
        """Sequence number → number of the pair."""
        self.neighbours: set[Neighbours] = set()
        """Who may know each other now."""

    def close(self) -> None:
        for pinger in self.pingers.values():
            pinger.close()
        self.forget(self.neighbours)

    def unanswered(self, numbers: Sequence[int], pauses: Sequence[float]) -> list[int]:
        """Return which of the pairs, all of which should answer, did not."""
        for part, done in self.parts(numbers):
            waiting = part
            for pause in pauses:
                waiting = self.ask(waiting, pause)
                if not waiting:
                    break
            self.forget(done)
        return [number for number in numbers if number not in self.found]

    def answered(self, numbers: Sequence[int]) -> set[int]:
        """Return which of the pairs, none of which should answer, did."""
        for part, done in self.parts(numbers):
            waiting = part
            for pause in GRACE:
                waiting = self.ask(waiting, pause)
            self.forget(done)
        return self.found

    def parts(self, numbers: Sequence[int]) -> Iterator[tuple[list[int], set[Neighbours]]]:
        """Yield the pairs in parts that leave few enough neighbour entries behind, each with those to forget after it: what
        no later pair needs, or, where that is little, all."""
        speaking = {number: _neighbours(self.pairs[number]) for number in numbers}
        last = {one: number for number in numbers for one in speaking[number]}
        part: list[int] = []
        done: set[Neighbours] = set()
        for number in numbers:
            part.append(number)
            self.neighbours |= speaking[number]
            done.update(one for one in speaking[number] if last[one] == number)
            if len(self.neighbours) >= self.neighbours_max:
                yield part, set(done if len(done) * 8 >= self.neighbours_max else self.neighbours)
                part, done = [], set()
        if part:
            yield part, set(self.neighbours)

    def ask(self, numbers: Sequence[int], pause: float) -> list[int]:
        """Ask pairs once; return those that did not answer in time."""
        self.asked.clear()
        burst: set[Pinger] = set()
        for sequence, number in enumerate(numbers):
            pair = self.pairs[number]
            pinger = self.pinger(pair.source, pair.address.version)
            self.asked.setdefault(pinger, {})[sequence & 0xFFFF] = number
            pinger.send(str(pair.address), sequence & 0xFFFF)
            burst.add(pinger)
            if sequence % BURST == BURST - 1:
                self.take(burst)
                burst.clear()
        self.take(burst)
        self.wait(numbers, pause)
        return [number for number in numbers if number not in self.found]

    def pinger(self, node: str, version: int) -> Pinger:
        key = (node, version)
        if key not in self.pingers:
            self.pingers[key] = Pinger(self.places[node], version)
        return self.pingers[key]

    def take(self, pingers: Iterable[Pinger]) -> None:
        for pinger in pingers:
            asked = self.asked[pinger]
            self.found.update(asked[sequence] for _, sequence in pinger.take() if sequence in asked)

    def wait(self, numbers: Sequence[int], pause: float) -> None:
        deadline = time.monotonic() + pause
        while not self.found.issuperset(numbers):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            poll = select.poll()
            by_descriptor = {pinger.socket.fileno(): pinger for pinger in self.asked}
            for descriptor in by_descriptor:
                poll.register(descriptor, select.POLLIN)
            self.take([by_descriptor[descriptor] for descriptor, _ in poll.poll(left * 1000)])

    def forget(self, neighbours: set[Neighbours]) -> None:
        """Remove what nodes learnt of each other; what never was there is no error."""
        asked: dict[str, list[bytes]] = {}
        for first, second, version in neighbours:
            one, other = self.plan.nodes[first], self.plan.nodes[second]
            for mine in one.interfaces:
                for theirs in other.interfaces:
                    if mine.subnet == theirs.subnet:
                        asked.setdefault(first, []).extend(_forget(mine, theirs, version))
                        asked.setdefault(second, []).extend(_forget(theirs, mine, version))
        self.neighbours -= neighbours
        for node, requests in asked.items():
            with contextlib.suppress(NetlinkError):
                self.places[node].netlink.batch(requests)


def _neighbours(pair: Pair) -> set[Neighbours]:
    version = pair.address.version
    met: set[Neighbours] = {(min(two), max(two), version) for two in itertools.pairwise(pair.path)}
    if pair.back != pair.path[::-1]:
        met.update((min(two), max(two), version) for two in itertools.pairwise(pair.back))
    return met


def _forget(mine: PlannedInterface, theirs: PlannedInterface, version: int) -> list[bytes]:
    addresses = [address.ip for address in theirs.addresses if address.version == version]
    return [links.forget_neighbour(mine.number, address) for address in addresses]
