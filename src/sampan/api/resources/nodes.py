"""Nodes and Namespaces. Source: kubernetes pkg/registry/core/node and namespace, pkg/printers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, one_of
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.reading import dig, items, joined, mapping, text
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object

ROLE_PREFIX = "node-role.kubernetes.io/"
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def status_cell(node: Object) -> str:
    ready = next((c for c in items(node, "status", "conditions") if c.get("type") == "Ready"), None)
    if ready is None:
        words = ["Unknown"]
    else:
        words = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if dig(node, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def roles_cell(node: Object) -> str:
    roles = set()
    for key, value in mapping(node, "metadata", "labels").items():
        if key.startswith(ROLE_PREFIX) and len(key) > len(ROLE_PREFIX):
            roles.add(key[len(ROLE_PREFIX) :])
        elif key == "kubernetes.io/role" and value:
            roles.add(value)
    return joined(sorted(roles))


def address_of(kind: str) -> Callable[[Object], str]:
    def cell(node: Object) -> str:
        for address in items(node, "status", "addresses"):
            if address.get("type") == kind:
                return str(address.get("address"))
        return "<none>"

    return cell


def validate_node(new: Object, old: Object | None) -> Iterator[Cause]:
    for index, taint in enumerate(items(new, "spec", "taints")):
        path = f"spec.taints[{index}]"
        for message in qualified_name(taint.get("key") or ""):
            yield invalid(f"{path}.key", taint.get("key") or "", message)
        if not taint.get("effect"):
            yield required(f"{path}.effect")
        else:
            yield from one_of(f"{path}.effect", taint["effect"], EFFECTS)
    if old is not None:
        for key in ("podCIDR", "providerID"):
            before = dig(old, "spec", key)
            if before and dig(new, "spec", key) != before:
                yield forbidden(f"spec.{key}", "node updates may not change " + key + ' except from "" to valid')


NODE = Resource(
    group="",
    version="v1",
    kind="Node",
    plural="nodes",
    namespaced=False,
    short_names=("no",),
    status=True,
    status_on_create=True,
    generation=False,
    validate=collect(validate_node),
    storage_group_resource="minions",
    columns=(
        NAME,
        Column("Status", status_cell),
        Column("Roles", roles_cell),
        AGE,
        Column("Version", ".status.nodeInfo.kubeletVersion"),
        Column("Internal-IP", address_of("InternalIP"), priority=WIDE),
        Column("External-IP", address_of("ExternalIP"), priority=WIDE),
        Column("OS-Image", field("status", "nodeInfo", "osImage", missing="<unknown>"), priority=WIDE),
        Column("Kernel-Version", field("status", "nodeInfo", "kernelVersion", missing="<unknown>"), priority=WIDE),
        Column(
            "Container-Runtime",
            field("status", "nodeInfo", "containerRuntimeVersion", missing="<unknown>"),
            priority=WIDE,
        ),
    ),
    field_selectors={"spec.unschedulable": lambda node: "true" if dig(node, "spec", "unschedulable") else "false"},
)


# namespaces


def default_namespace(namespace: Object) -> None:
    metadata = namespace["metadata"]
    if metadata.get("name"):
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]


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
    held=lambda namespace: bool(items(namespace, "spec", "finalizers")),
    mark_deleted=terminate,
    returns_deleted=True,
    columns=(NAME, Column("Status", ".status.phase"), AGE),
    field_selectors={"status.phase": lambda namespace: text(namespace, "status", "phase")},
)
