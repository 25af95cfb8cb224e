"""Taints and tolerations: the one rule that says whether a pod bears a node's taint (core/v1 Toleration)."""

from __future__ import annotations

from sampan.schema.objects import Object


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether a toleration matches a taint; an empty key with ``Exists`` matches all."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if not toleration.get("key"):
        return bool(toleration.get("operator") == "Exists")
    if toleration["key"] != taint["key"]:
        return False
    exists = toleration.get("operator", "Equal") == "Exists"
    return exists or bool(toleration.get("value", "") == taint.get("value", ""))
