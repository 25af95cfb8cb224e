"""What Envoy asks us, as a descriptor: the limit, who is counted, and what is counted.

    bucket = <limit>   source = <who>                       may one more of a time pass?
    shared = <limit>   source = <who>                       the same, counted by all replicas together
    flight = <limit>   source = <who>   identity = <which>   may one more at once pass?
    ended = <any>      identity = <which>                   it is not under way any more

A limit is ``<name>|<amount>`` of what is at once, ``<name>|<nanoseconds between two tokens>|<burst>`` of a time. The name is
the Middleware's: its routes count together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

DOMAIN = "sampan"
BUCKET, SHARED, FLIGHT, ENDED, SOURCE, IDENTITY = "bucket", "shared", "flight", "ended", "source", "identity"


class Malformed(Exception):
    """A descriptor that is none of ours; the text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    kind: str
    name: str = ""
    """Of who is counted where: the Middleware and the source."""
    amount: int = 0
    """At once, or the burst."""
    interval_nanoseconds: int = 0
    identity: str = ""


def bucket_limit(name: str, interval_nanoseconds: int, burst: int) -> str:
    return f"{name}|{interval_nanoseconds}|{burst}"


def flight_limit(name: str, amount: int) -> str:
    return f"{name}|{amount}"


def read(descriptor: dict[str, Any]) -> Asked:
    """Return what a decoded ``RateLimitDescriptor`` asks. Raises ``Malformed``."""
    entries = {entry.get("key", ""): entry.get("value", "") for entry in descriptor.get("entries") or ()}
    kind = next((kind for kind in (BUCKET, SHARED, FLIGHT, ENDED) if kind in entries), "")
    try:
        if kind == ENDED:
            return Asked(kind, identity=entries[IDENTITY])
        limit, source = entries[kind], entries[SOURCE]
        if kind == FLIGHT:
            name, amount = limit.rsplit("|", 1)
            return Asked(kind, f"{name} {source}", int(amount), identity=entries[IDENTITY])
        name, interval, burst = limit.rsplit("|", 2)
        return Asked(kind, f"{name} {source}", int(burst), int(interval))
    except (KeyError, ValueError) as error:
        raise Malformed(f"no descriptor of ours: {entries}") from error
