"""What of its filters a listener offers to the routes of its tables, told in its version.

A route that wakes a filter which its listener does not have is served by Envoy without it, silently. So what stands in a
table is sent only where the listener that an Envoy *has taken* has all of it. Envoy says the versions that it has when it
comes back, so the offers stand in them: ``fingerprint/table.filter.filter/table.filter``, each a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.gateway.filters.seam import HttpFilter

NOTHING: frozenset[str] = frozenset()
Offers = Mapping[str, frozenset[str]]
"""Table → filters, both as digests."""


@lru_cache(4096)
def digest_of_filter(entry: HttpFilter) -> str:
    """Return what tells a filter, with its configuration, from others."""
    parts = (
        f"{entry.order}{entry.awake}{entry.on_tries}".encode(),
        entry.name.encode(),
        *(url.encode() for url in entry.type_urls),
        entry.config,
    )
    return digest(b"\0".join(parts))


@lru_cache(4096)
def digest_of_table(name: str) -> str:
    """Return the digest of a table's name; of a part of a table, that of the whole."""
    return digest(table_of(name).encode())


def digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=6).hexdigest()


def label(tables: Mapping[str, Iterable[HttpFilter]]) -> str:
    """Return what a listener's version ends with: for each of its tables the filters that it has."""
    parts = (
        ".".join((digest_of_table(name), *sorted(map(digest_of_filter, filters))))
        for name, filters in sorted(tables.items())
    )
    return "".join(f"/{part}" for part in parts)


@lru_cache(4096)
def generation(filters: frozenset[str]) -> str:
    """Return what tells listeners with these filters (digests) from those with others."""
    return digest(".".join(sorted(filters)).encode())


def name_for(table: str, filters: Iterable[HttpFilter]) -> str:
    """Return the name under which a listener with these filters asks for a table: ``table@generation``. A connection that
    was there before its listener changed keeps its filters until it ends, and has the table that goes with them."""
    return f"{table}@{generation(frozenset(map(digest_of_filter, filters)))}"


def base_of(name: str) -> str:
    """Return the table, or the part of one, that a name of ``name_for`` is for."""
    return name.partition("@")[0]


def table_of(name: str) -> str:
    """Return the whole table that a table of ``name_for``, or a part of one, is of."""
    return base_of(name).partition("|")[0]


@lru_cache(1024)
def offers_of(version: str) -> Offers:
    """Return what a listener of a version offers; it uses no other tables than those."""
    found = {}
    for part in version.split("/")[1:]:
        table, *filters = part.split(".")
        found[table] = frozenset(filters)
    return found
