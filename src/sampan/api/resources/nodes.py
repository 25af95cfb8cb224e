"""Nodes. Source: kubernetes pkg/apis/core/validation (ValidateNode), pkg/registry/core/node, pkg/printers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import STRICT_SINCE, cidr, one_of_each_family, strict_cidr
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, WIDE, field
from sampan.api.resources.quantities import quantity, rounded_up
from sampan.api.resources.reading import dig, items, joined, mapping
from sampan.api.resources.scheduling_validation import taints
from sampan.schema.causes import duplicate, forbidden, invalid, quoted
from sampan.schema.objects import Object

ROLE_PREFIX = "node-role.kubernetes.io/"


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


def default_node(node: Object) -> None:
    """What a node can give is what it has, until its kubelet knows better."""
    status = node.get("status")
    if not isinstance(status, dict):
        return
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])
    for key in ("capacity", "allocatable"):
        rounded_up(mapping(status, key))


def prepare_node(new: Object, old: Object | None) -> None:
    """podCIDR and podCIDRs are two names of one thing; the first leads (conversion of v1)."""
    spec = mapping(new, "spec")
    first, listed = spec.get("podCIDR"), items(spec, "podCIDRs")
    if first and (not listed or listed[0] != first):
        spec["podCIDRs"] = [first]
    elif listed and not first:
        spec["podCIDR"] = listed[0]


FEATURE = re.compile(r"[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*", re.ASCII)
FEATURE_MESSAGE = (
    "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or "
    "MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
)


def node_by_version(minor: int) -> dict[str, Any]:
    validate = collect(partial(validate_node, check=strict_cidr if minor >= STRICT_SINCE else cidr))
    return {"validate": validate, "validates": {"status": validate}}


def validate_node(new: Object, old: Object | None, *, check: Callable[[str, str], Iterator[Cause]]) -> Iterator[Cause]:
    """``check`` judges CIDRs."""
    if old is not None:
        yield from node_changes(new, old)
        return
    yield from taints(items(new, "spec", "taints"), "metadata.taints")
    yield from node_amounts(new)
    swap = mapping(new, "status", "nodeInfo", "swap").get("capacity")
    if swap is not None and swap <= 0:
        yield invalid("metadata.nodeSwapStatus.capacity", swap, "must be greater than zero")
    yield from declared_features(items(new, "status", "declaredFeatures"), "status.declaredFeatures")
    listed = items(new, "spec", "podCIDRs")
    for index, value in enumerate(listed):
        yield from check(f"spec.podCIDRs[{index}]", value)
    yield from one_of_each_family("spec.podCIDRs", listed, "CIDR")
    for index, value in enumerate(listed):
        if value in listed[:index]:
            yield duplicate(f"spec.podCIDRs[{index}]", value)


def declared_features(listed: list[str], path: str) -> Iterator[Cause]:
    """Names of features, sorted (KEP-5328)."""
    for index, name in enumerate(listed):
        at = f"{path}[{index}]"
        if len(name) > 253:
            yield invalid(at, name, f"invalid feature name {quoted(name)}: must be no more than 253 characters")
        elif not FEATURE.fullmatch(name):
            yield invalid(at, name, f"invalid feature name {quoted(name)}: {FEATURE_MESSAGE}")
        if index and listed[index - 1] == name:
            yield duplicate(at, name)
        elif index and listed[index - 1] > name:
            yield invalid(at, name, "list must be sorted alphabetically")


def node_amounts(node: Object) -> Iterator[Cause]:
    for key in ("capacity", "allocatable"):
        for name, value in mapping(node, "status", key).items():
            yield from quantity(f"status.{key}.{name}", name, value)


def node_changes(new: Object, old: Object) -> Iterator[Cause]:
    """``ValidateNodeUpdate``, of the node and of its status alike. Taints are said to be in metadata there."""
    yield from node_amounts(new)
    seen: list[Object] = []
    for index, address in enumerate(items(new, "status", "addresses")):
        if address in seen:
            yield duplicate(f"status.addresses[{index}]", address)
        seen.append(address)
    ranges, spec, before = items(old, "spec", "podCIDRs"), mapping(new, "spec"), mapping(old, "spec")
    if ranges and ranges != items(spec, "podCIDRs"):
        yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
    yield from taints(items(spec, "taints"), "metadata.taints")
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        yield forbidden("spec.externalID", "may not be updated")


def node_warnings(new: Object, old: Object | None) -> Iterator[str]:
    """``fieldIsDeprecatedWarnings``."""
    if dig(new, "spec", "configSource") is not None:
        yield "spec.configSource: the feature is removed"
    if dig(new, "spec", "externalID"):
        yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"


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
    default=default_node,
    prepare=prepare_node,
    by_version=node_by_version,
    warn=node_warnings,
    trusts_definition=False,
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
