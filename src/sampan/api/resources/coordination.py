"""coordination.k8s.io: Lease and LeaseCandidate. Source: kubernetes pkg/apis/coordination (validation), KEP-4355."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object

GROUP = "coordination.k8s.io"
STRATEGIES = ("OldestEmulationVersion",)
SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


def strategy_name(path: str, strategy: str) -> Iterator[Cause]:
    """A strategy of Kubernetes' own, or the qualified name of another one."""
    parts = strategy.split("/")
    if strategy in STRATEGIES:
        return
    if len(parts) == 1 or parts[0].endswith(("k8s.io", "kubernetes.io")):
        yield invalid(path, strategy, "must be a known coordinated leader election strategy or a qualified name")
    for message in qualified_name(strategy):
        yield invalid(path, strategy, message)


def validate_lease(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    duration, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if duration is not None and duration <= 0:
        yield invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")
    strategy = spec.get("strategy")
    if strategy:
        yield from strategy_name("spec.strategy", strategy)
    if spec.get("preferredHolder") and not strategy:
        yield forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined")


def prepare_lease(new: Object, old: Object | None) -> None:
    """Coordinated election is off (KEP-4355): what belongs to it is dropped from who did not have it."""
    for key in ("strategy", "preferredHolder"):
        if dig(old, "spec", key) is None:
            mapping(new, "spec").pop(key, None)


LEASE = Resource(
    group=GROUP,
    version="v1",
    kind="Lease",
    plural="leases",
    generation=False,
    prepare=prepare_lease,
    validate=collect(validate_lease),
    columns=(NAME, Column("Holder", field("spec", "holderIdentity", missing="")), AGE),
)


def validate_candidate(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    if not spec.get("leaseName"):
        yield required("spec.leaseName")
    elif old is not None and spec["leaseName"] != dig(old, "spec", "leaseName"):
        yield invalid("spec.leaseName", spec["leaseName"], "field is immutable")
    versions = {key: text(spec, key) for key in ("binaryVersion", "emulationVersion")}
    for key, value in versions.items():
        if value and not SEMANTIC_VERSION.fullmatch(value):
            yield invalid(f"spec.{key}", value, "No Major.Minor.Patch elements found")
    strategies = items(spec, "preferredStrategies")
    strategy = spec.get("strategy") or (strategies[0] if strategies else "")
    if "preferredStrategies" not in spec and not strategy:
        yield required("spec.strategy")
    if strategy == STRATEGIES[0] and not versions["emulationVersion"]:
        yield required("spec.emulationVersion", f"must be specified when `strategy` is '{strategy}'")
    if not versions["binaryVersion"]:
        if "strategy" in spec:
            yield required("spec.binaryVersion")
    elif versions["emulationVersion"] and older(versions["binaryVersion"], versions["emulationVersion"]):
        yield invalid(
            "spec.binaryVersion", versions["binaryVersion"], "must be greater than or equal to `emulationVersion`"
        )
    if strategy and "strategy" in spec:
        yield from strategy_name("spec.strategy", strategy)


def older(one: str, other: str) -> bool:
    """Whether a semantic version is older than another, prerelease and build aside."""
    if not (SEMANTIC_VERSION.fullmatch(one) and SEMANTIC_VERSION.fullmatch(other)):
        return False
    first, second = (tuple(int(part) for part in re.split(r"[-+]", text)[0].split(".")) for text in (one, other))
    return first < second


def candidate(version: str) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind="LeaseCandidate",
        plural="leasecandidates",
        generation=False,
        validate=collect(validate_candidate),
        columns=(
            NAME,
            Column("LeaseName", field("spec", "leaseName", missing="")),
            Column("BinaryVersion", field("spec", "binaryVersion", missing="")),
            Column("EmulationVersion", field("spec", "emulationVersion", missing="")),
            Column("PingTime", field("spec", "pingTime", missing="<unknown>")),
            Column("RenewTime", field("spec", "renewTime", missing="<unknown>")),
            Column("Strategy", field("spec", "strategy", missing="")),
            AGE,
        ),
    )


RESOURCES = (LEASE, *(candidate(version) for version in ("v1beta1", "v1alpha2", "v1alpha1")))
