"""``headers.allowedHosts``: requests for other hosts get 403."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.gateway.filters import headers
from sampan.gateway.filters.seam import Draft
from sampan.gateway.middlewares import access

Principal = dict[str, Any]


def only(names: Sequence[str], forwarded: Sequence[str], draft: Draft) -> None:
    """``forwarded``: headers in which a proxy tells the host; the first that is there counts, before ``Host``."""
    allowed: list[Principal] = []
    unsaid: list[Principal] = []
    for header in forwarded:
        headers.check(header)
    for header in (*forwarded, ":authority"):
        for name in names:
            is_it = said(header, {"exact": name, "ignore_case": True})
            allowed.append({"and_ids": {"ids": [*unsaid, is_it]}} if unsaid else is_it)
        unsaid = [*unsaid, {"not_id": said(header, {"safe_regex": {"regex": ".+"}})}]
    access.allow(draft, "hosts", allowed)


def said(header: str, match: dict[str, Any]) -> Principal:
    return {"header": {"string_match": match, "name": header}}
