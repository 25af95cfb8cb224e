"""The applications of hooks for pyvoy, by names that say all: ``sampan.gateway.hooks.app:basic_auth__<settings>``.

The settings are JSON, packed and in base32, so that the name is an identifier. An application is made when it is first
asked for.
"""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from sampan.gateway.hooks import HOOKS
from sampan.gateway.plugins.host import Asgi, application


def app_name(hook: str, settings: dict[str, Any]) -> str:
    """Return the name under which pyvoy finds a hook with these settings."""
    packed = zlib.compress(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode())
    return f"{__name__}:{hook}__{base64.b32encode(packed).rstrip(b'=').decode().lower()}"


def __getattr__(name: str) -> Asgi:
    hook, separator, text = name.partition("__")
    if not separator or hook not in HOOKS:
        raise AttributeError(name)
    packed = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    return application(HOOKS[hook].make(json.loads(zlib.decompress(packed))))
