"""Where the kinds that make pods have the pod. Source: k8s.io/pod-security-admission (DefaultPodSpecExtractor)."""

from __future__ import annotations

from sampan.schema.objects import Object

TEMPLATES = {
    ("", "Pod"): (),
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}
"""Where the kinds that make pods have the pod: ``(group, kind)`` → path."""


def pod_of(group: str, kind: str, obj: Object) -> tuple[Object, Object] | None:
    """Return metadata and spec of the pod that an object is or would make, None where it makes none."""
    path = TEMPLATES.get((group, kind))
    if path is None:
        return None
    for key in path:
        obj = obj.get(key) or {}
    spec = obj.get("spec")
    return (obj.get("metadata") or {}, spec) if isinstance(spec, dict) else None


def with_pod(group: str, kind: str, obj: Object, metadata: Object, spec: Object) -> Object:
    """Return an object that makes pods with another pod; what is not on the way to it is shared."""
    made = {**obj}
    at = made
    for key in TEMPLATES[group, kind]:
        at[key] = {**(at.get(key) or {})}
        at = at[key]
    if metadata or "metadata" in at:
        at["metadata"] = metadata
    at["spec"] = spec
    return made
