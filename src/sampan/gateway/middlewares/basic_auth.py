"""``basicAuth``: a name and a password, as htpasswd keeps them (bcrypt, MD5, SHA).

``secret`` names a Secret with the lines under ``users``; one of the type ``kubernetes.io/basic-auth`` has one user.
``users`` may stand in the Middleware itself.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from sampan.gateway.hooks.passwords import users_of
from sampan.gateway.model.certificates import field
from sampan.gateway.model.secrets import text_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = ("secret", "users", "realm", "headerField", "removeHeader")
HOOK = "basic_auth"
REALM = "traefik"
BASIC_AUTH_TYPE = "kubernetes.io/basic-auth"


def settings_of(settings: Object, namespace: str, world: World) -> dict[str, Any]:
    """Return what the hook is told. Raises ``Unsupported``, ``Unresolved``."""
    return {"users": users(settings, namespace, world), **common(settings)}


def common(settings: Object) -> dict[str, Any]:
    return {
        "realm": settings.get("realm") or REALM,
        "headerField": settings.get("headerField") or "",
        "removeHeader": bool(settings.get("removeHeader")),
    }


def users(settings: Object, namespace: str, world: World) -> dict[str, str]:
    name = settings.get("secret")
    secret = world.get("Secret", f"{namespace}/{name}") if name else None
    if secret is not None and secret.get("type") == BASIC_AUTH_TYPE:
        password = base64.b64encode(hashlib.sha1(field(secret, "password")).digest()).decode()
        return {field(secret, "username").decode(errors="replace"): f"{{SHA}}{password}"}
    lines = lines_of(settings, namespace, world)
    try:
        found = users_of(lines)
    except ValueError as error:
        raise Unsupported(f"users: {error}") from error
    if not found:
        raise Unsupported("users: there are none: nobody could pass")
    return found


def lines_of(settings: Object, namespace: str, world: World) -> list[str]:
    lines = list(settings.get("users") or ())
    if settings.get("secret"):
        lines += text_of(world, namespace, settings["secret"], ("users", "auth")).splitlines()
    elif not lines:
        raise Unsupported("secret: Required value")
    return lines
