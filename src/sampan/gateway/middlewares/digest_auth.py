"""``digestAuth``: a name and a password that does not travel, as htdigest keeps them (``user:realm:hash``)."""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.middlewares.basic_auth import common, lines_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = ("secret", "users", "realm", "headerField", "removeHeader")
HOOK = "digest_auth"
LINE = re.compile(r"([^:]+):([^:]*):([0-9a-f]{32})")


def settings_of(settings: Object, namespace: str, world: World) -> dict[str, Any]:
    """Return what the hook is told. Raises ``Unsupported``, ``Unresolved``."""
    told = common(settings)
    found = {}
    for number, line in enumerate(lines_of(settings, namespace, world)):
        if not line.strip():
            continue
        parts = LINE.fullmatch(line.strip())
        if parts is None:
            raise Unsupported(f"users: line {number + 1} is no user:realm:hash")
        found[f"{parts[1]}:{parts[2]}"] = parts[3]
    if not any(name.endswith(f":{told['realm']}") for name in found):
        raise Unsupported(f"users: nobody is of the realm {told['realm']!r}: nobody could pass")
    if '"' in told["realm"] or "\\" in told["realm"]:
        raise Unsupported("realm: it has a quotation mark or a backslash in it")
    return {"users": found, **told}
