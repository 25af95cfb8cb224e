"""``chain``: other Middlewares of the namespace, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.gateway.filters.seam import Site
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.schema.objects import Object

OPTIONS = ("middlewares",)
DEEPEST = 8


def members(settings: Object, kind: str, site: Site, deep: int) -> Iterator[Object]:
    """Yield the specs of a chain's Middlewares, which are of its own ``kind``. Raises ``Unsupported``, ``Unresolved``."""
    if deep >= DEEPEST:
        raise Unsupported("middlewares: the chain leads to itself, or is more than eight deep")
    for number, reference in enumerate(settings.get("middlewares") or ()):
        if (reference.get("namespace") or site.namespace) != site.namespace:
            raise Unsupported(f"middlewares[{number}].namespace: a Middleware is of the route's namespace")
        key = f"{site.namespace}/{reference['name']}"
        found = site.world.get(kind, key)
        if found is None:
            raise Unresolved("InvalidMiddleware", f"Middleware {key} does not exist")
        yield {**(found.get("spec") or {}), "key": key, "kind": kind}
