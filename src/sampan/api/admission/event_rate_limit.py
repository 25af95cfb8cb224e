"""EventRateLimit: how many Events a server, a namespace, a user or a source may write. Off unless asked for.

Configuration: ``limits`` with ``type`` (Server, Namespace, User, SourceAndObject), ``qps``, ``burst`` and ``cacheSize``.
Source: kubernetes plugin/pkg/admission/eventratelimit.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sampan.api.errors import StatusError
from sampan.api.flags import FlagError
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping, text

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup

CACHE_SIZE = 4096
SOURCE = ("component", "host")
TARGET = ("kind", "namespace", "name", "uid", "apiVersion")


def source_and_object(admission: Admission) -> str:
    event = admission.object
    parts = [text(event, "source", key) for key in SOURCE]
    about = mapping(event, "involvedObject") or mapping(event, "regarding")
    return "".join([*parts, *(text(about, key) for key in TARGET)])


KEYS: dict[str, Callable[[Admission], str]] = {
    "Server": lambda admission: "",
    "Namespace": lambda admission: admission.namespace,
    "User": lambda admission: admission.user.name,
    "SourceAndObject": source_and_object,
}


class Bucket:
    """A token bucket: ``burst`` at once, ``rate`` a second."""

    __slots__ = ("at", "burst", "rate", "tokens")

    def __init__(self, rate: float, burst: float, at: float) -> None:
        self.rate, self.burst, self.tokens, self.at = rate, burst, burst, at

    def take(self, at: float) -> bool:
        self.tokens = min(self.burst, self.tokens + (at - self.at) * self.rate)
        self.at = at
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Limit:
    """One limit with a bucket for each key; those not used longest are forgotten."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.kind = str(given.get("type") or "")
        if self.kind not in KEYS:
            raise FlagError(f'EventRateLimit: limits.type: Unsupported value: "{self.kind}"')
        self.rate, self.burst = (float(given.get(key) or 0) for key in ("qps", "burst"))
        if self.rate <= 0 or self.burst < self.rate:
            raise FlagError("EventRateLimit: limits.qps must be positive, and limits.burst not below it")
        self.size = int(given.get("cacheSize") or CACHE_SIZE)
        self.buckets: OrderedDict[str, Bucket] = OrderedDict()

    def refuses(self, admission: Admission, at: float) -> str:
        """Return why an Event is one too many, "" where it is not."""
        key = KEYS[self.kind](admission)
        bucket = self.buckets.get(key)
        if bucket is None:
            bucket = self.buckets[key] = Bucket(self.rate, self.burst, at)
            if len(self.buckets) > self.size:
                self.buckets.popitem(last=False)
        self.buckets.move_to_end(key)
        return "" if bucket.take(at) else f"limit reached on type {self.kind} for key {key}"


class EventRateLimit:
    def __init__(self, configuration: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = [Limit(given) for given in items(configuration, "limits")]
        if not self.limits:
            raise FlagError("EventRateLimit: limits: Required value")
        self.clock = clock

    @classmethod
    def made(cls, setup: Setup) -> EventRateLimit:
        return cls(setup.configuration)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "Event" and operation in ("CREATE", "UPDATE") and not subresource

    async def validate(self, admission: Admission) -> None:
        if admission.dry_run:
            return
        at = self.clock()
        problems = [problem for limit in self.limits if (problem := limit.refuses(admission, at))]
        if problems:
            message = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
            raise StatusError(429, "TooManyRequests", message)
