"""StatefulSets. Source: kubernetes pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation, pkg/registry/apps/statefulset.

Kubernetes judged nothing but labels and annotations of their pod template until 1.33; since then a new set's template is
judged with the volumes that its claim templates will make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, label, label_selector, non_negative
from sampan.api.resources.claims import claim_spec, default_claim_spec
from sampan.api.resources.columns import AGE, NAME, template_columns
from sampan.api.resources.difference import same
from sampan.api.resources.pod_annotations import noted_meanings
from sampan.api.resources.pod_spec import default_template, fill
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.pod_warnings import claim_warnings
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.workloads import (
    GROUP,
    SCALE,
    TEMPLATE,
    fits,
    int_or_percent,
    is_zero,
    ready_of,
    replica_counts,
    replica_status,
    shown_selector,
    workload_warnings,
)
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.names import validate_annotations, validate_labels
from sampan.schema.objects import Object

JUDGED_SINCE = 33
MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip
UPDATE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
EARLY_UPDATE = UPDATE.replace("'revisionHistoryLimit', ", "")
RETENTIONS = ("Retain", "Delete")


def default_stateful_set(stateful_set: Object) -> None:
    default_early_stateful_set(stateful_set)
    retention = stateful_set["spec"].setdefault("persistentVolumeClaimRetentionPolicy", {})
    fill(retention, "whenDeleted", "Retain")
    fill(retention, "whenScaled", "Retain")


def default_rolling_stateful_set(stateful_set: Object) -> None:
    """Fill a StatefulSet of 1.35 and later, whose maxUnavailable is on (KEP-961)."""
    default_stateful_set(stateful_set)
    strategy = stateful_set["spec"]["updateStrategy"]
    rolling = strategy.get("rollingUpdate")
    if rolling is not None and strategy["type"] == "RollingUpdate":
        rolling.setdefault("maxUnavailable", 1)


def default_early_stateful_set(stateful_set: Object) -> None:
    """Fill a StatefulSet of before 1.27, which kept every claim (KEP-1847)."""
    spec = stateful_set.setdefault("spec", {})
    fill(spec, "podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    default_template(spec.setdefault("template", {}))
    for claim in items(spec, "volumeClaimTemplates"):
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        default_claim_spec(claim.setdefault("spec", {}))
        claim.setdefault("status", {}).setdefault("phase", "Pending")


def validator(judged: bool) -> Callable[[Object, Object | None], Iterator[Cause]]:
    """``judged``: whether pod and claim templates of new sets are."""

    def validate(new: Object, old: Object | None) -> Iterator[Cause]:
        spec = mapping(new, "spec")
        yield from strategies(spec)
        yield from selector_and_labels(spec)
        yield from numbers(spec)
        template = mapping(spec, "template")
        if judged and (old is None or not list(templates(mapping(old, "spec")))):
            yield from templates(spec)
        if dig(template, "spec", "restartPolicy") != "Always":
            found = dig(template, "spec", "restartPolicy") or ""
            yield not_supported("spec.template.spec.restartPolicy", found, ("Always",))
        seconds = dig(template, "spec", "activeDeadlineSeconds")
        if seconds is not None:
            why = "activeDeadlineSeconds in StatefulSet is not Supported"
            yield forbidden("spec.template.spec.activeDeadlineSeconds", why)
        if old is not None and not same(fixed(old), fixed(new)):
            yield forbidden("spec", UPDATE if judged else EARLY_UPDATE)

    return validate


def fixed(stateful_set: Object) -> Object:
    """Return what of a spec never changes."""
    return {key: value for key, value in mapping(stateful_set, "spec").items() if key not in MUTABLE}


def strategies(spec: Object) -> Iterator[Cause]:
    policy = spec.get("podManagementPolicy")
    if not policy:
        yield required("spec.podManagementPolicy")
    elif policy not in ("OrderedReady", "Parallel"):
        yield invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")
    strategy = mapping(spec, "updateStrategy")
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    path = "spec.updateStrategy.rollingUpdate"
    if not kind:
        yield required("spec.updateStrategy")
    elif kind == "OnDelete":
        if rolling is not None:
            yield invalid(path, rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif kind != "RollingUpdate":
        shown = {"Type": kind, "RollingUpdate": None if rolling is None else shown_rolling(rolling)}
        yield invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'")
    elif rolling is not None:
        yield from non_negative(f"{path}.partition", rolling.get("partition"))
        unavailable = rolling.get("maxUnavailable")
        if unavailable is not None:
            yield from int_or_percent(f"{path}.maxUnavailable", unavailable, at_most_100=True)
            if is_zero(unavailable):
                yield invalid(f"{path}.maxUnavailable", unavailable, "cannot be 0")
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    for key in ("whenDeleted", "whenScaled") if retention is not None else ():
        found = mapping(retention).get(key)
        if not found:
            yield required(f"spec.persistentVolumeClaimRetentionPolicy.{key}")
        elif found not in RETENTIONS:
            yield not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{key}", found, RETENTIONS)


def shown_rolling(rolling: Object) -> Object:
    return {"Partition": rolling.get("partition") or 0, "MaxUnavailable": rolling.get("maxUnavailable")}


def selector_and_labels(spec: Object) -> Iterator[Cause]:
    selector, template = spec.get("selector"), spec.get("template")
    wrong: list[Cause] = []
    if selector is None:
        yield required("spec.selector")
    else:
        wrong = list(label_selector("spec.selector", selector))
        yield from wrong
        if not mapping(selector, "matchLabels") and not selector.get("matchExpressions"):
            yield invalid("spec.selector", selector, "empty selector is invalid for statefulset")
    metadata = mapping(template, "metadata")
    labels, noted = mapping(metadata, "labels"), mapping(metadata, "annotations")
    if selector is not None and wrong:
        yield invalid("spec.selector", shown_selector(selector), "")
        return
    yield from fits(selector, template)
    yield from (Cause(*cause) for cause in validate_labels(labels, "spec.template.labels"))
    yield from (Cause(*cause) for cause in validate_annotations(noted, "spec.template.annotations"))
    yield from noted_meanings(noted, mapping(template, "spec"), "spec.template.annotations")


def numbers(spec: Object) -> Iterator[Cause]:
    for key in ("replicas", "minReadySeconds"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    yield from non_negative("spec.ordinals.start", dig(spec, "ordinals", "start"))


def templates(spec: Object) -> Iterator[Cause]:
    """Yield why pods or claims could not be made."""
    claims = items(spec, "volumeClaimTemplates")
    names = [text(claim, "metadata", "name") for claim in claims]
    yield from label("spec.serviceName", spec.get("serviceName"), needed=False)
    if not list(label_selector("spec.selector", spec.get("selector"))):
        template = mapping(spec, "template") | {"spec": with_claims(mapping(spec, "template", "spec"), names)}
        yield from pod_template(template, "spec.template")
    for index, claim in enumerate(claims):
        yield from claim_spec(mapping(claim, "spec"), f"spec.volumeClaimTemplates[{index}].spec")


def with_claims(spec: Object, names: list[str]) -> Object:
    """The spec that pods will have: volumes of the claims, which take the place of others of their names; hostname and
    subdomain are the controller's own."""
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in dict.fromkeys(names)]
    volumes += [volume for volume in items(spec, "volumes") if volume.get("name") not in names]
    rest = {key: value for key, value in spec.items() if key not in ("hostname", "subdomain", "volumes")}
    return rest | ({"volumes": volumes} if volumes else {})


def warnings(new: Object, old: Object | None) -> Iterator[str]:
    yield from workload_warnings(new, old)
    spec = mapping(new, "spec")
    for index, claim in enumerate(items(spec, "volumeClaimTemplates")):
        yield from claim_warnings(mapping(claim, "spec"), f"spec.volumeClaimTemplates[{index}].spec")
    if (spec.get("revisionHistoryLimit") or 0) < 0:
        why = "a negative value retains all historical revisions; a value >= 0 is recommended"
        yield f"spec.revisionHistoryLimit: {why}"


def by_version(minor: int) -> Mapping[str, Any]:
    return {
        "default": default_rolling_stateful_set
        if minor >= 35
        else default_stateful_set
        if minor >= 27
        else default_early_stateful_set,
        "validate": collect(validator(minor >= JUDGED_SINCE)),
    }


STATEFUL_SET = Resource(
    group=GROUP,
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    status=True,
    scale=SCALE | {"labelSelectorPath": ".spec.selector"},
    default=default_stateful_set,
    prepare=replica_status,
    validates={"status": collect(replica_counts("currentReplicas", "updatedReplicas"))},
    warn=warnings,
    by_version=by_version,
    trusts_definition=False,
    validate=collect(validator(True)),
    columns=(NAME, Column("Ready", ready_of), AGE, *template_columns(*TEMPLATE)),
)
