"""Keys as people write them: ``pods/web`` in a namespace, ``deployments.apps``, ``widgets.example.com/w``, or whole keys."""

from __future__ import annotations

from sampan.store.encryption import STORED_AS
from sampan.store.etcd_keys import BUILT_IN

GROUP_OF = {plural: group for group, plurals in BUILT_IN.items() for plural in plurals}
SEGMENTS = {plural: segment for segment, plural in STORED_AS.items()} | {
    "customresourcedefinitions": "apiextensions.k8s.io/customresourcedefinitions",
    "apiservices": "apiregistration.k8s.io/apiservices",
}


def prefix_of(resource: str) -> str:
    """Return the prefix of a resource's keys: ``deployments`` and ``deployments.apps`` are the same."""
    if resource.startswith("/"):
        return resource if resource.endswith("/") else f"{resource}/"
    plural, _, group = resource.partition(".")
    if not group:
        group = GROUP_OF.get(plural, "")
    segment = f"{group}/{plural}" if group else SEGMENTS.get(plural, plural)
    return f"/registry/{segment}/"


def keys_of(wanted: str, namespace: str) -> list[str]:
    """Return the keys that ``pods/web`` may have: in the namespace, or in none."""
    if wanted.startswith("/"):
        return [wanted]
    resource, _, name = wanted.partition("/")
    prefix = prefix_of(resource)
    return [f"{prefix}{namespace}/{name}", f"{prefix}{name}"]
