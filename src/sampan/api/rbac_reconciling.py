"""Bootstrap roles and bindings of an older cluster, brought up to date at start: what is missing is added, nothing is taken.

An object whose annotation ``rbac.authorization.kubernetes.io/autoupdate`` is ``false`` stays as it is. Pure. Source:
Kubernetes' "Auto-reconciliation"; pkg/registry/rbac/reconciliation.
"""

from __future__ import annotations

from sampan.api.authz.coverage import Held
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
ROLES, BINDINGS = ("ClusterRole", "Role"), ("ClusterRoleBinding", "RoleBinding")


def reconciled(stored: Object, wanted: Object) -> Object | None:
    """Return a stored bootstrap object with what it lacks of the wanted one; None where it lacks nothing, or is its
    owner's own."""
    if mapping(stored, "metadata", "annotations").get(AUTO_UPDATE) == "false":
        return None
    fields = role_fields(stored, wanted) if wanted["kind"] in ROLES else binding_fields(stored, wanted)
    metadata = {key: value for key, value in stored["metadata"].items() if key != "resourceVersion"}
    for key in ("labels", "annotations"):
        metadata[key] = {**mapping(wanted, "metadata", key), **mapping(stored, "metadata", key)}
    same = all(metadata[key] == mapping(stored, "metadata", key) for key in ("labels", "annotations"))
    if same and not fields:
        return None
    return {**stored, "metadata": metadata, **fields}


def role_fields(stored: Object, wanted: Object) -> Object:
    """Return the changed fields of a role."""
    if wanted.get("aggregationRule"):  # its rules come from the roles it selects
        have = items(stored, "aggregationRule", "clusterRoleSelectors")
        asked = items(wanted, "aggregationRule", "clusterRoleSelectors")
        lacking = [selector for selector in asked if selector not in have]
        return {"aggregationRule": {"clusterRoleSelectors": [*have, *lacking]}} if lacking else {}
    rules = items(stored, "rules")
    held = Held(rules)
    lacking = [rule for rule in items(wanted, "rules") if not held.cover(rule)]
    return {"rules": [*rules, *lacking]} if lacking else {}


def binding_fields(stored: Object, wanted: Object) -> Object:
    """Return the changed fields of a binding; one to another role begins anew."""
    if mapping(stored, "roleRef") != mapping(wanted, "roleRef"):
        return {"roleRef": wanted["roleRef"], "subjects": wanted["subjects"]}
    have = items(stored, "subjects")
    lacking = [subject for subject in items(wanted, "subjects") if subject not in have]
    return {"subjects": [*have, *lacking]} if lacking else {}
