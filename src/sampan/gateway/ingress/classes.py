"""Which Ingresses and IngressRoutes are ours. Source: Kubernetes networking.k8s.io/v1, IngressClass; Traefik 3's CRDs."""

from __future__ import annotations

from sampan.gateway.convert.ingress import CLASS_ANNOTATION
from sampan.gateway.kinds.resources import CLASS, ingress_controller_of
from sampan.gateway.model.indexes import INGRESS_CLASSES
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"


def class_of(world: World, obj: Object) -> str:
    """Return the name of the IngressClass of ours that serves an object, ``""`` where it is not ours.

    An Ingress that names none is for the class that is marked as default, the newest of several; an IngressRoute that names
    none is for the class ``sampan``."""
    annotations = obj["metadata"].get("annotations") or {}
    name = annotations.get(CLASS_ANNOTATION) or (obj.get("spec") or {}).get("ingressClassName")
    if not name:
        name = default_class(world) if obj["kind"] == "Ingress" else CLASS
    found = world.get("IngressClass", name) if name else None
    return str(name) if found is not None and is_ours(world, found) else ""


def is_ours(world: World, ingress_class: Object) -> bool:
    ours = ingress_controller_of(world.surroundings.gateway_class)
    return bool((ingress_class.get("spec") or {}).get("controller") == ours)


def default_class(world: World) -> str:
    marked = [
        (str(metadata.get("creationTimestamp", "")), str(metadata["name"]))
        for metadata in (found["metadata"] for found in world.find(INGRESS_CLASSES, ""))
        if (metadata.get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true"
    ]
    # of equally new ones the first by name, as DefaultIngressClass chooses
    return min(marked, key=lambda entry: ([-ord(c) for c in entry[0]], entry[1]))[1] if marked else ""
