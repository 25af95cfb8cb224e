"""coordination.k8s.io: Lease and LeaseCandidate. Source: kubernetes pkg/apis/coordination (validation), KEP-4355."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, immutable, one_of
from sampan.api.resources.columns import AGE, NAME, field
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.names import qualified_name
from sampan.schema.objects import Object

GROUP = "coordination.k8s.io"
STRATEGIES = ("OldestEmulationVersion",)
NO_VERSION = "must be a valid semantic version"
Order = tuple[tuple[int, int, int], bool, tuple[tuple[int, int, str], ...]]
SEMANTIC_VERSION = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


def strategy_name(path: str, strategy: str) -> Iterator[Cause]:
    """A strategy of Kubernetes' own, or the qualified name of another one (``ValidateCoordinatedLeaseStrategy``)."""
    if "/" not in strategy:
        yield from one_of(f"{path}.strategy", strategy, STRATEGIES)
        return
    for message in qualified_name(strategy):
        yield invalid(f"{path}.strategy", strategy, message)


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
    binary, emulation = text(spec, "binaryVersion"), text(spec, "emulationVersion")
    lease, strategies = text(spec, "leaseName"), items(spec, "preferredStrategies")
    listed = new.get("apiVersion") == f"{GROUP}/v1alpha1"  # several strategies, and less that is needed
    strategy = (strategies[0] if strategies else "") if listed else text(spec, "strategy")
    if not lease:
        yield required("spec.leaseName")
    if emulation and parsed(emulation) is None:
        yield invalid("spec.emulationVersion", emulation, NO_VERSION)
    if not binary and not listed:
        yield required("spec.binaryVersion")
    elif binary and parsed(binary) is None:
        yield invalid("spec.binaryVersion", binary, NO_VERSION)
    if binary and emulation and order(binary) < order(emulation):
        yield invalid("spec.binaryVersion", binary, "must be greater than or equal to `emulationVersion`")
    if not strategy and not listed:
        yield required("spec.strategy")
    if strategy == STRATEGIES[0] and order(emulation) == ZERO:
        yield required("spec.emulationVersion", f"must be specified when `strategy` is '{strategy}'")
    if strategy and not listed:
        yield from strategy_name("spec.strategy", strategy)
    if old is not None:
        yield from immutable("spec.leaseName", lease, text(old, "spec", "leaseName"))


def parsed(version: str) -> tuple[tuple[int, int, int], str] | None:
    """Return the numbers and the prerelease of a semantic version, None where it is none."""
    match = SEMANTIC_VERSION.fullmatch(version)
    if match is None:
        return None
    return (int(match[1]), int(match[2]), int(match[3])), (match[4] or "").removeprefix("-")


def order(version: str) -> Order:
    """Return the key that semantic versions are ordered by (semver 2.0, section 11); what is none is 0.0.0."""
    numbers, prerelease = parsed(version) or ((0, 0, 0), "")
    parts = tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in prerelease.split(".") if prerelease
    )
    return numbers, not prerelease, parts


ZERO = order("0.0.0")


def candidate(version: str) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind="LeaseCandidate",
        plural="leasecandidates",
        generation=False,
        name_is="key",
        validate=collect(validate_candidate),
        trusts_definition=False,
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
