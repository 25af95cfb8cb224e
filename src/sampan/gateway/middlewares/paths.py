"""Changes of a request's path. Envoy makes one of them by an expression; a prefix can be put before what another one made."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft
from sampan.gateway.model.verdicts import Unsupported

ORIGINAL = "%PATH(NQ:PATH)%"
"""The path without its query, as it came."""


def rewrite(draft: Draft, pattern: str, substitution: str, at: str, *, prefixed: tuple[str, str] | None = None) -> None:
    """Change the path by an expression. ``prefixed``: the same for one that a prefix is put before, which may leave nothing.
    Raises ``Unsupported`` where it is changed already."""
    if "regex_rewrite" in draft.forward:
        raise Unsupported(f"{at}: the path of a request is changed once: by another filter before")
    draft.forward["regex_rewrite"] = {"pattern": {"regex": pattern}, "substitution": substitution}
    draft.prefixed_rewrite = prefixed


def prepend(draft: Draft, prefix: str) -> None:
    """Put a prefix before the path, also before one that was changed."""
    literal = prefix.replace("\\", "\\\\")
    before: dict[str, Any] | None = draft.forward.get("regex_rewrite")
    if draft.prefixed_rewrite is not None:
        pattern, rest = draft.prefixed_rewrite
        draft.forward["regex_rewrite"] = {"pattern": {"regex": pattern}, "substitution": literal + rest}
        draft.prefixed_rewrite = None
    elif before is None:
        draft.forward["regex_rewrite"] = {"pattern": {"regex": "^/?(.*)$"}, "substitution": f"{literal}/\\1"}
    elif before["pattern"]["regex"].startswith("^") and before["pattern"]["regex"].endswith("$"):
        draft.forward["regex_rewrite"] = {**before, "substitution": literal + before["substitution"]}
    else:
        raise Unsupported("prefix: the filter before changes parts of paths: a prefix cannot be put before them")


def note_original(draft: Draft, header: str, value: str = ORIGINAL) -> None:
    """Tell the backend in a header what the path was."""
    option = {"header": {"key": header, "value": value}, "append_action": 2}
    draft.route.setdefault("request_headers_to_add", []).append(option)
