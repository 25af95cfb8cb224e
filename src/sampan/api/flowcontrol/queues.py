"""The waiting requests of one priority level: queues that flows are dealt to, served in turn.

Shuffle sharding: a flow has a hand of few of the many queues and waits in the shortest of them, so that a flow that
floods its hand leaves other flows one that it has not. Between queues: start-time fair queuing, each served request costs
its seats, so that a queue with much to do gets no more than one with little. Source: KEP-1040; P. Goyal, H. Vin, H. Cheng,
"Start-time Fair Queuing" (1996).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass, field


class Waiting:
    """A request in a queue; ``future`` is done when it may go on."""

    __slots__ = ("future", "gone", "seats")

    def __init__(self, seats: int, future: asyncio.Future[None]) -> None:
        self.seats, self.future, self.gone = seats, future, False


@dataclass
class Queue:
    requests: deque[Waiting] = field(default_factory=deque)
    length: int = 0
    """Requests that still wait: those that gave up stay in ``requests`` until their turn."""
    seats: int = 0
    start: float = 0.0
    """The virtual time at which its next request starts."""


class Queues:
    """``count`` queues of at most ``limit`` requests each."""

    def __init__(self, count: int, hand_size: int, limit: int) -> None:
        self.count, self.hand_size, self.limit = count, min(hand_size, count), limit
        self._queues: dict[int, Queue] = {}
        """Those that requests have waited in: on a calm server none."""
        self._busy: set[int] = set()
        self._now = 0.0
        self.waiting = 0

    def hand(self, flow: str) -> tuple[int, ...]:
        """Return the queues of a flow, by its hash."""
        number = int.from_bytes(hashlib.sha256(flow.encode()).digest()[:8], "big")
        cards = list(range(self.count))
        dealt = []
        for _ in range(self.hand_size):
            number, card = divmod(number, len(cards))
            dealt.append(cards.pop(card))
        return tuple(dealt)

    def put(self, hand: tuple[int, ...], waiting: Waiting) -> Queue | None:
        """Have a request wait in the shortest queue of a hand; None where all of them are full."""
        index = min(hand, key=self._seats_before)
        queue = self._queues.get(index)
        if queue is None:
            queue = self._queues[index] = Queue()
        if queue.length >= self.limit:
            return None
        if not queue.length:
            queue.requests.clear()
            queue.start = max(queue.start, self._now)
            self._busy.add(index)
        queue.requests.append(waiting)
        queue.length += 1
        queue.seats += waiting.seats
        self.waiting += 1
        return queue

    def _seats_before(self, index: int) -> tuple[int, int]:
        queue = self._queues.get(index)
        return queue.seats if queue is not None else 0, index

    def leave(self, queue: Queue, waiting: Waiting) -> None:
        """A request gives up."""
        waiting.gone = True
        self._less(queue, waiting)

    def _less(self, queue: Queue, waiting: Waiting) -> None:
        queue.length -= 1
        queue.seats -= waiting.seats
        self.waiting -= 1

    def next(self) -> Queue | None:
        """Return the queue whose turn it is."""
        best: Queue | None = None
        for index in tuple(self._busy):
            queue = self._queues[index]
            if not queue.length:
                self._busy.discard(index)
            elif best is None or queue.start < best.start:
                best = queue
        while best is not None and best.requests[0].gone:
            best.requests.popleft()
        return best

    def take(self, queue: Queue) -> Waiting:
        """Take the first request of the queue whose turn it is."""
        waiting = queue.requests.popleft()
        self._less(queue, waiting)
        self._now = queue.start
        queue.start += waiting.seats
        return waiting
