"""``encodedCharacters``: paths with some characters percent-encoded in them get 403, where they are not allowed."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.middlewares import access
from sampan.schema.objects import Object

CODES = {
    "allowEncodedSlash": "2[Ff]",
    "allowEncodedBackSlash": "5[Cc]",
    "allowEncodedNullCharacter": "00",
    "allowEncodedSemicolon": "3[Bb]",
    "allowEncodedPercent": "25",
    "allowEncodedQuestionMark": "3[Ff]",
    "allowEncodedHash": "23",
}
OPTIONS = tuple(CODES)
NAME = "rbac/encoded"


def apply(settings: Object, draft: Draft, site: Site) -> None:
    refused = [code for option, code in CODES.items() if not settings.get(option)]
    if not refused:
        return
    expression = rf"[^?]*%(?:{'|'.join(refused)}).*"
    matcher: dict[str, Any] = {"name": ":path", "string_match": {"safe_regex": {"regex": expression}}}
    policy = {"permissions": [{"any": True}], "principals": [{"header": matcher}]}
    rules = {"action": access.DENY, "policies": {"encoded": policy}}
    draft.need(HttpFilter.of(14, NAME, {"@type": access.FILTER}), {"@type": access.PER_ROUTE, "rbac": {"rules": rules}})
