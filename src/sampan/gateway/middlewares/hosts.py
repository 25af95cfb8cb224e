"""``headers.allowedHosts``: requests for other hosts get 403."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.gateway.filters.seam import Draft
from sampan.gateway.middlewares import access


def only(names: Iterable[str], draft: Draft) -> None:
    matchers = [{"string_match": {"exact": name, "ignore_case": True}, "name": ":authority"} for name in names]
    access.allow(draft, "hosts", [{"header": matcher} for matcher in matchers])
