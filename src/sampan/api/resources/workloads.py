"""Defaults, checks and cells that Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import immutable, label_selector, non_negative, selects
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.pod_warnings import template_warnings
from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.causes import NO_MAP, forbidden, invalid, not_supported, required
from sampan.schema.names import dns1123_label
from sampan.schema.objects import Object

GROUP = "apps"
TEMPLATE = ("spec", "template", "spec")
NAME_WARNING = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
    "a DNS label is recommended"
)
PERCENT = re.compile(r"^[0-9]+%$")
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
PERCENT_MESSAGE = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"  # fmt: skip  # noqa: E501


def selector_and_template(
    new: Object,
    old: Object | None,
    *,
    claims: Iterable[str] = (),
    kind: str = "ReplicaSet",
    empty: str = "empty selector is invalid for deployment",
) -> Iterator[Cause]:
    """The selector is there, valid, immutable and matches the labels of the valid template. ``empty`` is how an empty
    selector is refused, which every kind says in its own way."""
    spec = mapping(new, "spec")
    selector, template = spec.get("selector"), spec.get("template")
    wrong: list[Cause] = []
    if selector is None:
        if kind != "DaemonSet":
            yield required("spec.selector")
    else:
        wrong = list(label_selector("spec.selector", selector))
        yield from wrong
        if not mapping(selector, "matchLabels") and not selector.get("matchExpressions"):
            yield invalid("spec.selector", selector, empty)
    if selector is not None and wrong and kind != "DaemonSet":
        yield invalid("spec.selector", shown_selector(selector), "invalid label selector")
    else:
        if not wrong:
            yield from fits(selector, template)
        yield from pod_template(template, "spec.template", claims)
        yield from only_always(mapping(template), "spec.template", kind)
    if old is not None:
        yield from immutable("spec.selector", selector, dig(old, "spec", "selector"))


def fits(selector: Any, template: Any) -> Iterator[Cause]:
    """The well-formed selector matches the labels of a template; a missing one matches nothing."""
    labels = dig(template, "metadata", "labels")
    if selector is None or not selects(selector, labels or {}):
        shown = NO_MAP if labels is None else labels
        yield invalid("spec.template.metadata.labels", shown, "`selector` does not match template `labels`")


def shown_selector(selector: Object) -> Object:
    """A selector as its Go struct is written: keys in order, what is empty left out, key and operator always there."""
    labels = mapping(selector, "matchLabels")
    expressions = [
        {"key": one.get("key") or "", "operator": one.get("operator") or ""}
        | ({"values": one["values"]} if one.get("values") else {})
        for one in items(selector, "matchExpressions")
    ]
    parts = {"matchLabels": dict(sorted(labels.items())), "matchExpressions": expressions}
    return {key: part for key, part in parts.items() if part}


def shown_strategy(strategy: Object, *counts: str) -> Object:
    """A strategy of updates as its internal Go struct is written."""
    rolling = strategy.get("rollingUpdate")
    shown = {f"{key[0].upper()}{key[1:]}": mapping(rolling).get(key, 0) for key in counts}
    return {"Type": strategy.get("type") or "", "RollingUpdate": None if rolling is None else shown}


def empty_status(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


def replica_status(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"replicas": 0}


def ready_of(obj: Object) -> str:
    return f"{dig(obj, 'status', 'readyReplicas') or 0}/{dig(obj, 'spec', 'replicas') or 0}"


def workload_warnings(new: Object, old: Object | None, *, named: bool = True) -> Iterator[str]:
    """What the pods of a workload will be warned of; on an update, only when its spec changed."""
    if old is None and named:
        yield from name_warnings(new)
    if old is None or new.get("spec") != old.get("spec"):
        yield from template_warnings(dig(new, "spec", "template"), "spec.template")


def name_warnings(new: Object) -> Iterator[str]:
    messages = dns1123_label(str(mapping(new, "metadata").get("name") or ""))
    if messages:
        yield f"{NAME_WARNING}: [{' '.join(messages)}]"


def only_always(template: Object, field: str, kind: str) -> Iterator[Cause]:
    """Pods that are kept running are always restarted, and have no deadline."""
    spec = mapping(template, "spec")
    if spec.get("restartPolicy") != "Always":
        yield not_supported(f"{field}.spec.restartPolicy", spec.get("restartPolicy") or "", ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        why = f"activeDeadlineSeconds in {kind} is not Supported"
        yield forbidden(f"{field}.spec.activeDeadlineSeconds", why)


def replica_counts(*names: str, fully_labeled: bool = False) -> Callable[[Object, Object | None], Iterator[Cause]]:
    """Return the check of a status that counts replicas: none negative, none of a part more than of the whole."""
    parts = (*names, "readyReplicas", "availableReplicas") + (("fullyLabeledReplicas",) if fully_labeled else ())

    def check(new: Object, old: Object | None) -> Iterator[Cause]:
        status = mapping(new, "status")
        whole = status.get("replicas") or 0
        for key in ("replicas", *parts, "unavailableReplicas", "terminatingReplicas", "observedGeneration"):
            yield from non_negative(f"status.{key}", status.get(key))
        for key in parts:
            if (status.get(key) or 0) > whole:
                yield invalid(f"status.{key}", status.get(key) or 0, "cannot be greater than status.replicas")
        if (status.get("availableReplicas") or 0) > (status.get("readyReplicas") or 0):
            available = status.get("availableReplicas") or 0
            yield invalid("status.availableReplicas", available, "cannot be greater than readyReplicas")
        yield from collisions(status, mapping(old, "status"))

    return check


def collisions(status: Object, before: Object) -> Iterator[Cause]:
    count, was = status.get("collisionCount"), before.get("collisionCount")
    if was is not None and (count is None or count < was):
        yield invalid("status.collisionCount", count or 0, "cannot be decremented")
    yield from non_negative("status.collisionCount", count)


def int_or_percent(field: str, value: Any, *, at_most_100: bool = False) -> Iterator[Cause]:
    if isinstance(value, str):
        if not PERCENT.fullmatch(value):
            yield invalid(field, value, PERCENT_MESSAGE)
        elif at_most_100 and int(value[:-1]) > 100:
            yield invalid(field, value, "must not be greater than 100%")
    else:
        yield from non_negative(field, value)


def is_zero(value: Any) -> bool:
    return value in (0, "0%")
