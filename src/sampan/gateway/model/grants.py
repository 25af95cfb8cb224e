"""Whether an object may refer to one of another namespace. Source: Gateway API v1 ReferenceGrant."""

from __future__ import annotations

from sampan.gateway.kinds.resources import GROUP
from sampan.gateway.model.indexes import GRANTS
from sampan.gateway.model.world import World


def granted(
    world: World, kind: str, namespace: str, target_kind: str, target_namespace: str, name: str, target_group: str = ""
) -> bool:
    """Whether an object of a Gateway API kind may refer to ``target_kind`` ``name`` of another namespace."""
    if namespace == target_namespace:
        return True
    for grant in world.find(GRANTS, target_namespace):
        spec = grant["spec"]
        comes = any(
            f.get("group") == GROUP and f.get("kind") == kind and f.get("namespace") == namespace for f in spec["from"]
        )
        leads = any(
            t.get("group", "") == target_group and t.get("kind") == target_kind and t.get("name") in (None, "", name)
            for t in spec["to"]
        )
        if comes and leads:
            return True
    return False
