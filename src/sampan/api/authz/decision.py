"""What an authorizer says of a request: yes, no, or nothing, and why."""

from __future__ import annotations

from typing import NamedTuple

from sampan.api.request import User

MASTERS = "system:masters"


class Decision(NamedTuple):
    """``allowed`` None: no opinion. ``error``: why no opinion could be had, or what a refusal comes from."""

    allowed: bool | None
    reason: str = ""
    error: str = ""


NO_OPINION = Decision(None)


def node_name(user: User) -> str | None:
    """Return the node that a user is: "" for a node that does not say which, None for others."""
    if "system:nodes" not in user.groups or not user.name.startswith("system:node:"):
        return None
    return user.name.removeprefix("system:node:")
