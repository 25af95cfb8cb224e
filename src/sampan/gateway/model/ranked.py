"""An encoded Envoy route with its place in the order."""

from __future__ import annotations

from typing import Any, NamedTuple

from sampan.gateway.xds.encode import decode, encode
from sampan.gateway.xds.offers import NOTHING

ROUTE = "envoy.config.route.v3.Route"
UNAVAILABLE = 503


class Ranked(NamedTuple):
    """The rank begins with 0 for routes of the clients' own namespace (mesh), 1 for others, 2 for what comes after all."""

    rank: tuple[Any, ...]
    route: bytes
    needs: frozenset[str] = NOTHING
    """The filters that it wakes, as digests (``xds/offers.py``): a listener without them would let requests through."""


def unavailable(entry: Ranked) -> Ranked:
    """Return the route that answers 503 to the same requests."""
    known = decode(ROUTE, entry.route)
    message = {"name": known["name"], "match": known["match"], "direct_response": {"status": UNAVAILABLE}}
    return Ranked(entry.rank, encode(ROUTE, message))
