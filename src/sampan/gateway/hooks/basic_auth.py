"""Basic authentication (RFC 7617) against htpasswd's users."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from sampan.gateway.hooks.authenticated import dress
from sampan.gateway.hooks.passwords import Checked
from sampan.gateway.plugins.host import Function
from sampan.gateway.plugins.request import Request


def make(settings: dict[str, Any]) -> Function:
    """``settings``: ``users`` (name → kept password), ``realm``, ``headerField``, ``removeHeader``."""
    checked, realm = Checked(settings["users"]), settings["realm"].replace('"', "'")

    def request(request: Request) -> Any:
        user, password = credentials(request.headers.get("authorization", ""))
        if not user or not checked.accepts(user, password):
            challenge = {"www-authenticate": f'Basic realm="{realm}"'}
            return request.respond(401, "401 Unauthorized\n", challenge)
        dress(request, user, settings)
        return None

    return request


def credentials(header: str) -> tuple[str, str]:
    """Return user and password of a header, two empty texts where it has none."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, separator, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (user, password) if separator else ("", "")
