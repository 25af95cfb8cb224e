"""What goes on to the backend of a request whose user is known."""

from __future__ import annotations

from typing import Any

from sampan.gateway.plugins.request import Request


def dress(request: Request, user: str, settings: dict[str, Any]) -> None:
    """Tell the backend the user in the header ``headerField``, and not what proved it where ``removeHeader`` says so."""
    if settings["headerField"]:
        request.headers[settings["headerField"]] = user
    if settings["removeHeader"]:
        del request.headers["authorization"]
