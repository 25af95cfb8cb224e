"""Which PersistentVolume suits a PersistentVolumeClaim: the one rule for the binder, the scheduler and the node. Pure.

Source: kubernetes component-helpers storage/volume (pv_helpers.go) and pkg/controller/volume/persistentvolume (index.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sampan.schema.node_selectors import term_matches
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, parse
from sampan.schema.selectors import label_selector

BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
STORAGE_PROVISIONERS = ("volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner")
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def annotations_of(obj: Object) -> Mapping[str, str]:
    return obj["metadata"].get("annotations") or {}


def class_of(obj: Object) -> str:
    """Return the StorageClass that a claim or volume names; ``""``: none."""
    return annotations_of(obj).get(BETA_CLASS) or obj["spec"].get("storageClassName") or ""


def mode_of(obj: Object) -> str:
    return str(obj["spec"].get("volumeMode") or "Filesystem")


def requested(claim: Object) -> Quantity:
    return parse(str(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "0")))


def capacity_of(volume: Object) -> Quantity:
    return parse(str((volume["spec"].get("capacity") or {}).get("storage", "0")))


def refers_to(volume: Object, claim: Object) -> bool:
    """Whether a volume is bound to a claim, or kept for it by its name (``IsVolumeBoundToClaim``)."""
    reference, metadata = volume["spec"].get("claimRef"), claim["metadata"]
    return (
        reference is not None
        and reference.get("name") == metadata["name"]
        and reference.get("namespace") == metadata["namespace"]
        and reference.get("uid") in (None, "", metadata["uid"])
    )


def delays_binding(storage_class: Object | None) -> bool:
    return storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer"


def reaches(volume: Object, node: Object) -> bool:
    """Whether a volume can be used on a node, by its node affinity."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if required is None:
        return True
    metadata = node["metadata"]
    labels = metadata.get("labels") or {}
    return any(term_matches(term, metadata["name"], labels) for term in required.get("nodeSelectorTerms") or ())


def unsatisfied(volume: Object, claim: Object) -> str:
    """Return why a claim that names this volume cannot have it; ``""``: it can."""
    if "deletionTimestamp" in volume["metadata"]:
        return f'the volume is marked for deletion "{volume["metadata"]["name"]}"'
    if capacity_of(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if attributes_class(volume) != attributes_class(claim):
        return "volumeAttributesClassName does not match"
    if mode_of(volume) != mode_of(claim):
        return "incompatible volumeMode"
    return "" if allows(volume, claim) else "incompatible accessMode"


def attributes_class(obj: Object) -> str:
    return obj["spec"].get("volumeAttributesClassName") or ""


def allows(volume: Object, claim: Object) -> bool:
    """Whether a volume has all access modes that a claim asks for."""
    return set(claim["spec"].get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ())


def best_match(
    claim: Object,
    volumes: Iterable[Object],
    *,
    node: Object | None = None,
    excluded: Iterable[str] = (),
    delayed: bool = False,
) -> Object | None:
    """Return the volume for a claim: that which is kept for it, or the one with the fewest modes and the smallest capacity
    that suits. With a ``node`` (the scheduler) it must be usable there; without, claims whose binding is ``delayed`` get only
    what is kept for them."""
    fitting: list[tuple[int, Quantity, str, Object]] = []
    left_out = set(excluded)
    selector = label_selector(claim["spec"].get("selector")) if claim["spec"].get("selector") is not None else None
    for volume in volumes:
        kept = refers_to(volume, claim)
        if volume["metadata"]["name"] in left_out or (volume["spec"].get("claimRef") and not kept):
            continue
        if not _has_room(volume, claim):
            continue
        here = node is None or reaches(volume, node)
        if kept:
            return volume if here else None
        if (node is None and delayed) or not here or (volume.get("status") or {}).get("phase") != "Available":
            continue
        if class_of(volume) == class_of(claim) and (
            selector is None or selector.matches(volume["metadata"].get("labels") or {})
        ):
            modes = len(volume["spec"].get("accessModes") or ())
            fitting.append((modes, capacity_of(volume), volume["metadata"]["name"], volume))
    return min(fitting, key=lambda entry: entry[:3])[3] if fitting else None


def _has_room(volume: Object, claim: Object) -> bool:
    return (
        allows(volume, claim)
        and not capacity_of(volume) < requested(claim)
        and mode_of(volume) == mode_of(claim)
        and attributes_class(volume) == attributes_class(claim)
        and "deletionTimestamp" not in volume["metadata"]
    )


def default_class(classes: Iterable[Object]) -> Object | None:
    """Return the StorageClass marked as default, the newest of several; of equals the first by name."""
    marked = [
        one
        for one in classes
        if "true"
        in (
            annotations_of(one).get("storageclass.kubernetes.io/is-default-class"),
            annotations_of(one).get("storageclass.beta.kubernetes.io/is-default-class"),
        )
    ]
    marked.sort(key=lambda one: str(one["metadata"]["name"]))
    return max(marked, key=lambda one: str(one["metadata"].get("creationTimestamp", "")), default=None)


# what a binding writes


def with_annotations(obj: Object, added: Mapping[str, str], removed: tuple[str, ...] = ()) -> Object:
    """Return an object with annotations added and removed."""
    kept = {key: value for key, value in annotations_of(obj).items() if key not in removed} | dict(added)
    metadata = {key: value for key, value in obj["metadata"].items() if key != "annotations"}
    return {**obj, "metadata": {**metadata, **({"annotations": kept} if kept else {})}}


def reference_of(claim: Object) -> Object:
    metadata = claim["metadata"]
    return {
        "kind": "PersistentVolumeClaim",
        "apiVersion": "v1",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }


def bound_volume(volume: Object, claim: Object) -> Object:
    """Return a volume that refers to a claim; itself where it does."""
    reference, made = volume["spec"].get("claimRef") or {}, volume
    if not refers_to(volume, claim):
        made = with_annotations(made, {BOUND_BY_CONTROLLER: "yes"})
    if not refers_to(volume, claim) or reference.get("uid") != claim["metadata"]["uid"]:
        made = {**made, "spec": {**volume["spec"], "claimRef": reference_of(claim)}}
    return made
