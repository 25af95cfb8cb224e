"""Middlewares that a Python function of ours decides (``hooks/``): what it is told, and how a route asks it.

Each such Middleware is a hook of its own, with a socket in Envoy, as a Plugin is; its settings are computed here from the
spec and the Secrets it names, and a change of either swaps the function and nothing else.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from sampan.gateway.filters.hook import ask
from sampan.gateway.filters.seam import Draft
from sampan.gateway.hooks.app import app_name
from sampan.gateway.middlewares import basic_auth, digest_auth, forward_auth, pass_tls_client_cert, redirect_regex
from sampan.gateway.model.verdicts import MALFORMED, Unresolved, Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

HOOKED: dict[str, ModuleType] = {
    "basicAuth": basic_auth,
    "digestAuth": digest_auth,
    "forwardAuth": forward_auth,
    "passTLSClientCert": pass_tls_client_cert,
    "redirectRegex": redirect_regex,
}
"""Each has ``HOOK`` and ``settings_of(settings, namespace, world)``, which returns None where Envoy does it by itself."""
ORDER = 20


def hook_key(kind: str, key: str) -> str:
    """Return the name of a Middleware's hook."""
    return f"{kind} {key}"


def hook_app(world: World, kind: str, key: str) -> str | None:
    """Return what pyvoy runs for a Middleware, None where it needs nothing, or is not well (its routes tell that)."""
    spec = (world.get(kind, key) or {}).get("spec") or {}
    names = [name for name in spec if name in HOOKED]
    if len(spec) != 1 or not names:
        return None
    module = HOOKED[names[0]]
    try:
        found: dict[str, Any] | None = module.settings_of(spec[names[0]] or {}, key.partition("/")[0], world)
        return None if found is None else app_name(module.HOOK, found)
    except (Unsupported, Unresolved, *MALFORMED):
        return None


def apply(module: ModuleType, settings: Object, spec: Object, draft: Draft, world: World) -> bool:
    """Let a route ask a Middleware's hook; return False where Envoy needs none. Raises ``Unsupported``, ``Unresolved``."""
    kind, key = spec["kind"], spec["key"]
    if module.settings_of(settings, key.partition("/")[0], world) is None:
        return False
    body_bytes = forward_auth.body_bytes(settings) if module is forward_auth else 0
    certificate = getattr(module, "WANTS_CERTIFICATE", False)
    ask(draft, hook_key(kind, key), ORDER, certificate=certificate, body_bytes=body_bytes)
    return True
