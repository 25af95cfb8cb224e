"""Answers of others, kept as long as they may be: never a name of the cluster, those are always looked up.

Two tables, answers and denials, as CoreDNS's ``cache`` has them and by its words: ``prefetch``, ``serve_stale``,
``servfail``, ``keepttl``. Whole seconds count: within one, an entry is given as the same bytes. Source: RFC 2308, RFC 8767.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sampan.dns import wire
from sampan.dns.forwarding.upstream_answer import Answered

CAPACITY = 9984


@dataclass(frozen=True, slots=True)
class TableSettings:
    capacity: int = CAPACITY
    longest_seconds: int = 3600
    shortest_seconds: int = 5
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class CacheSettings:
    success: TableSettings = TableSettings()
    denial: TableSettings = TableSettings(longest_seconds=1800, shortest_seconds=0)
    """Of denials the shortest is as they say, where CoreDNS takes 5 s: a name may come to be."""
    prefetch_amount: int = 0
    """How many questions make an entry popular; 0: nothing is fetched ahead."""
    prefetch_seconds: float = 60.0
    """A longer gap between questions, and it is popular no more."""
    prefetch_percentage: int = 10
    stale_seconds: float = 0.0
    """How long what has expired is still given; 0: not at all."""
    verify: bool = False
    verify_seconds: float = 0.0
    stale_ttl: int = 0
    servfail_seconds: float = 5.0
    keep_ttl: bool = False


@dataclass(slots=True)
class Entry:
    answered: Answered
    stored: float
    seconds: float
    """How long it is fresh."""
    questions: int = 0
    asked: float = 0.0
    refreshing: bool = False
    _second: int = -1
    _tail: bytes = b""
    _records_second: int = -1
    _records: tuple[list[bytes], list[bytes]] = ([], [])

    def age(self, now: float) -> int:
        return int(now - self.stored)

    def is_fresh(self, now: float) -> bool:
        return now - self.stored < self.seconds

    def records(self, now: float) -> tuple[list[bytes], list[bytes]]:
        """Return the records of the answer and the authority section, as they are at this second; not to be changed. Raises
        ``WireError``."""
        second = self.age(now)
        if second != self._records_second:
            self._records_second, self._records = second, self.answered.records(second)
        return self._records

    def tail(self, now: float, settings: CacheSettings) -> bytes:
        """Return what stands behind the question, as it is at this second."""
        if not self.is_fresh(now):
            return self.answered.aged(0, settings.stale_ttl)
        second = 0 if settings.keep_ttl else self.age(now)
        if second != self._second:
            self._second, self._tail = second, self.answered.aged(second)
        return self._tail


@dataclass(slots=True)
class Counts:
    hits: dict[str, int] = field(default_factory=lambda: {"success": 0, "denial": 0})
    evictions: dict[str, int] = field(default_factory=lambda: {"success": 0, "denial": 0})
    requests: int = 0
    prefetches: int = 0
    stale: int = 0


class Cache:
    """``key``: the question's bytes in lower case, and whether DNSSEC's records were asked for."""

    def __init__(self, settings: CacheSettings) -> None:
        self.settings = settings
        self.counts = Counts()
        self.tables: dict[Literal["success", "denial"], dict[bytes, Entry]] = {"success": {}, "denial": {}}

    def get(self, key: bytes, now: float) -> Entry | None:
        """Return what is kept for a question, fresh or still to be given though stale."""
        self.counts.requests += 1
        for name, table in self.tables.items():
            entry = table.get(key)
            if entry is None:
                continue
            if now - entry.stored >= entry.seconds + self.settings.stale_seconds:
                del table[key]
                continue
            self.counts.hits[name] += 1
            entry.questions = entry.questions + 1 if now - entry.asked < self.settings.prefetch_seconds else 1
            entry.asked = now
            if not entry.is_fresh(now):
                self.counts.stale += 1
            return entry
        return None

    def wants_refresh(self, entry: Entry, now: float) -> bool:
        """Whether an entry that was just given is to be asked for anew, behind its back."""
        if entry.refreshing:
            return False
        left = entry.seconds - (now - entry.stored)
        if left <= 0:
            return True
        amount = self.settings.prefetch_amount
        if not amount or entry.questions < amount:
            return False
        return left <= max(entry.seconds * self.settings.prefetch_percentage / 100, 1.0)

    def put(self, key: bytes, answered: Answered, now: float) -> Entry | None:
        """Keep an answer; return its entry, None where it is not to be kept."""
        seconds, name = self._life(answered)
        if seconds <= 0:
            return None
        table, capacity = self.tables[name], getattr(self.settings, name).capacity
        other = self.tables["denial" if name == "success" else "success"]
        if answered.code != wire.SERVER_FAILURE:
            other.pop(key, None)
        elif key in other or key in table:
            return None  # what is known of it is better than that it fails just now
        table.pop(key, None)
        while len(table) >= capacity:
            del table[next(iter(table))]
            self.counts.evictions[name] += 1
        entry = table[key] = Entry(answered, now, seconds)
        return entry

    def _life(self, answered: Answered) -> tuple[float, Literal["success", "denial"]]:
        name: Literal["success", "denial"] = "denial" if answered.is_denial else "success"
        settings: TableSettings = getattr(self.settings, name)
        if answered.is_truncated or not settings.enabled:
            return 0.0, name
        if answered.code == wire.SERVER_FAILURE:
            return self.settings.servfail_seconds, "denial"
        if answered.code not in (wire.NO_ERROR, wire.NAME_ERROR):
            return 0.0, name
        if answered.is_denial and not answered.counts[1]:
            return 0.0, name  # nothing says how long (RFC 2308 section 5)
        return float(max(min(answered.ttl, settings.longest_seconds), settings.shortest_seconds)), name
