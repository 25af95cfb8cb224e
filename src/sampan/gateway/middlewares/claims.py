"""Who may pass by what a token says: every claim that is named has one of its values, alone or in a list of its own.

``{groups: [admin, staff], email_verified: [true]}``; a dot in a name leads into an object: ``realm_access.roles``.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft
from sampan.gateway.middlewares import access
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

KEPT = "claims"
"""Under which name Envoy's ``jwt_authn`` keeps what a token says."""
FILTER = "envoy.filters.http.jwt_authn"


def require(draft: Draft, claims: Object, order: int) -> None:
    """Let only those pass whose token says so; others get 403. ``order``: after the filter that checks the token."""
    every = []
    for name, values in claims.items():
        given = values if isinstance(values, list) else [values]
        if not name or not given:
            raise Unsupported(f"claims.{name}: one value or more is expected")
        every.append({"or_ids": {"ids": [one for value in given for one in having(name, value)]}})
    if every:
        access.allow(draft, "claims", [{"and_ids": {"ids": every}}], order)


def having(name: str, value: Any) -> list[dict[str, Any]]:
    """Return the principals of a claim that is a value, or a list with it."""
    if isinstance(value, bool):
        matcher: dict[str, Any] = {"bool_match": value}
    elif isinstance(value, int | float):
        matcher = {"double_match": {"exact": float(value)}}
    elif isinstance(value, str):
        matcher = {"string_match": {"exact": value}}
    else:
        raise Unsupported(f"claims.{name}: texts, numbers and truths can be compared, not {value!r}")
    path = [{"key": part} for part in (KEPT, *name.split("."))]
    return [
        {"metadata": {"filter": FILTER, "path": path, "value": one}}
        for one in (matcher, {"list_match": {"one_of": matcher}})
    ]
