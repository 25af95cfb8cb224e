"""Which namespaces a Gateway or listener lets in. Source: Gateway API v1, RouteNamespaces and ListenerNamespaces."""

from __future__ import annotations

import json
from functools import lru_cache

from sampan.gateway.model.world import World
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector


def selector_text(selector: Object | None) -> str:
    return json.dumps(selector, sort_keys=True) if selector is not None else ""


@lru_cache(1024)
def parsed(text: str) -> LabelSelector:
    return label_selector(json.loads(text) if text else None)


def lets_in(world: World, source: str, selector: str, own_namespace: str, namespace: str) -> bool:
    """Whether ``from`` and ``selector`` (as ``selector_text``) of an object in ``own_namespace`` let a namespace in."""
    if source == "All":
        return True
    if source == "Same":
        return own_namespace == namespace
    if source == "Selector":
        obj = world.get("Namespace", namespace)
        return obj is not None and parsed(selector).matches(obj["metadata"].get("labels"))
    return False
