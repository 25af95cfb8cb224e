"""The words that bootstrap roles are written in: rules, roles and bindings from a few names."""

from __future__ import annotations

from typing import Any

from sampan.schema.objects import Object

GROUP = "rbac.authorization.k8s.io"
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
ALL = ("*",)
EVENTS: dict[str, Any] = {
    "apiGroups": ["", "events.k8s.io"],
    "resources": ["events"],
    "verbs": ["create", "patch", "update"],
}


def rule(groups: str, resources: str, verbs: tuple[str, ...] | str, names: str = "") -> dict[str, Any]:
    """A PolicyRule of words: ``rule("apps batch", "deployments jobs", READ)``; ``core`` is the core group."""
    listed = list(verbs.split() if isinstance(verbs, str) else verbs)
    api_groups = ["" if group == "core" else group for group in groups.split()]
    made: dict[str, Any] = {"apiGroups": api_groups, "resources": resources.split(), "verbs": listed}
    if names:
        made["resourceNames"] = names.split()
    return made


def urls(paths: str, verbs: str = "get") -> dict[str, Any]:
    return {"nonResourceURLs": paths.split(), "verbs": verbs.split()}


def cluster_role(name: str, rules: list[dict[str, Any]], **extra: Any) -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults", **extra.pop("labels", {})}
    metadata = {"name": name, "labels": labels, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}}
    return {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": metadata, **extra, "rules": rules}


def binding(
    name: str, role: str, *subjects: tuple[str, str], kind: str = "ClusterRoleBinding", namespace: str = ""
) -> Object:
    """A binding to a ClusterRole. Subjects are (kind, name); a ServiceAccount's name is ``namespace/name``."""
    listed: list[Object] = []
    for subject_kind, subject in subjects:
        if subject_kind == "ServiceAccount":
            home, _, account = subject.partition("/")
            listed.append({"kind": subject_kind, "name": account, "namespace": home})
        else:
            listed.append({"kind": subject_kind, "apiGroup": GROUP, "name": subject})
    metadata: Object = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "subjects": listed, "roleRef": reference}


def aggregate(*names: str) -> dict[str, Any]:
    selectors = [{"matchLabels": {f"{GROUP}/aggregate-to-{name}": "true"}} for name in names]
    return {"aggregationRule": {"clusterRoleSelectors": selectors}}


def label(name: str) -> dict[str, str]:
    return {f"{GROUP}/aggregate-to-{name}": "true"}
