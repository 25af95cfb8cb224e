"""What Middlewares read out of Secrets, as text."""

from __future__ import annotations

from sampan.gateway.model.certificates import field, no_secret
from sampan.gateway.model.verdicts import Unresolved
from sampan.gateway.model.world import World


def text_of(world: World, namespace: str, name: str, keys: tuple[str, ...]) -> str:
    """Return the text under the first of some keys that a Secret has. Raises ``Unresolved``."""
    secret = world.get("Secret", f"{namespace}/{name}")
    if secret is None:
        raise Unresolved("InvalidMiddleware", no_secret(world.surroundings, f"{namespace}/{name}"))
    for key in keys:
        found = field(secret, key)
        if found:
            return found.decode(errors="replace")
    raise Unresolved("InvalidMiddleware", f"Secret {namespace}/{name} has nothing under {' or '.join(keys)}")
