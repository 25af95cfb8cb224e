"""Namespaces. Source: kubernetes pkg/apis/core/validation (ValidateNamespace…), pkg/registry/core/namespace."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.metadata import STANDARD_FINALIZERS
from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.reading import dig, items, text
from sampan.schema.causes import invalid
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object


def default_namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


def finalizers(new: Object, field: str) -> Iterator[Cause]:
    """Namespaces have finalizers in their spec too; a name without a domain is one of Kubernetes' own."""
    for index, name in enumerate(items(new, "spec", "finalizers")):
        path = field.format(index=index)
        for message in qualified_name(name):
            yield invalid(path, name, message)
        if "/" not in name and name not in STANDARD_FINALIZERS:
            yield invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified")


def validate_namespace(new: Object, old: Object | None) -> Iterator[Cause]:
    if old is None:
        yield from finalizers(new, "spec.finalizers")


def validate_namespace_status(new: Object, old: Object | None) -> Iterator[Cause]:
    phase = text(new, "status", "phase")
    if not dig(new, "metadata", "deletionTimestamp"):
        if phase != "Active":
            yield invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")
    elif phase != "Terminating":
        yield invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")


def prepare_namespace(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"phase": "Active"}
        finalizers = items(new, "spec", "finalizers")
        new["spec"] = {"finalizers": [*finalizers, *(() if "kubernetes" in finalizers else ("kubernetes",))]}
    else:
        new["spec"] = old.get("spec", {})


def terminate(namespace: Object) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"


NAMESPACE = Resource(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    status=True,
    generation=False,
    name_is="label",
    default=default_namespace,
    prepare=prepare_namespace,
    validate=collect(validate_namespace),
    validates={
        "status": collect(validate_namespace_status),
        "finalize": collect(lambda new, old: finalizers(new, "spec.finalizers[{index}]")),
    },
    trusts_definition=False,
    held=lambda namespace: bool(items(namespace, "spec", "finalizers")),
    mark_deleted=terminate,
    returns_deleted=True,
    columns=(NAME, Column("Status", ".status.phase"), AGE),
    field_selectors={"status.phase": lambda namespace: text(namespace, "status", "phase")},
)
