"""policy/v1. Source: kubernetes pkg/apis/policy/validation, printers."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, label_selector, non_negative, one_of
from sampan.api.resources.columns import AGE, NAME, field, number
from sampan.api.resources.reading import dig
from sampan.api.resources.workloads import int_or_percent
from sampan.schema.causes import invalid
from sampan.schema.objects import Object

STRUCT = ("MinAvailable", "Selector", "MaxUnavailable", "UnhealthyPodEvictionPolicy")
"""The fields of a spec, as Kubernetes shows them in a message."""


def validate(new: Object, old: Object | None) -> Iterator[Cause]:
    least, most = dig(new, "spec", "minAvailable"), dig(new, "spec", "maxUnavailable")
    if least is not None and most is not None:
        shown = {name: new["spec"].get(name[0].lower() + name[1:]) for name in STRUCT}
        yield invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
    yield from int_or_percent("spec.minAvailable", least, at_most_100=True)
    yield from int_or_percent("spec.maxUnavailable", most, at_most_100=True)
    yield from label_selector("spec.selector", dig(new, "spec", "selector"))
    kinds = ("AlwaysAllow", "IfHealthyBudget")
    yield from one_of("spec.unhealthyPodEvictionPolicy", dig(new, "spec", "unhealthyPodEvictionPolicy"), kinds)


def validate_status(new: Object, old: Object | None) -> Iterator[Cause]:
    for key in ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"):
        yield from non_negative(f"status.{key}", dig(new, "status", key))


def prepare(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}


POD_DISRUPTION_BUDGET = Resource(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    short_names=("pdb",),
    status=True,
    prepare=prepare,
    validate=collect(validate),
    validates={"status": collect(validate_status)},
    trusts_definition=False,
    columns=(
        NAME,
        Column("Min Available", field("spec", "minAvailable", missing="N/A")),
        Column("Max Unavailable", field("spec", "maxUnavailable", missing="N/A")),
        Column("Allowed Disruptions", number("status", "disruptionsAllowed"), type="integer"),
        AGE,
    ),
)

RESOURCES = (POD_DISRUPTION_BUDGET,)
