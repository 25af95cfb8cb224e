"""An encoded Envoy route with its place in the order."""

from __future__ import annotations

from typing import Any, NamedTuple


class Ranked(NamedTuple):
    """The rank begins with 0 for routes of the clients' own namespace (mesh), 1 for others, 2 for what comes after all."""

    rank: tuple[Any, ...]
    route: bytes
