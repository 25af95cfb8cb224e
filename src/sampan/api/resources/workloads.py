"""Defaults, checks and cells that Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import immutable, label_selector, needed_one_of, non_negative, selects
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.reading import dig, mapping
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.objects import Object

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
    empty: str = "invalid label selector",
) -> Iterator[Cause]:
    """The selector is there, valid, immutable and matches the labels of the valid template."""
    spec = mapping(new, "spec")
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    else:
        yield from label_selector("spec.selector", selector)
        if not mapping(selector, "matchLabels") and not selector.get("matchExpressions"):
            yield invalid("spec.selector", selector, f"empty selector is invalid for {kind.lower()}")
    template = spec.get("template")
    if template is None:
        yield required("spec.template")
    else:
        labels = mapping(template, "metadata", "labels")
        if selector and not selects(selector, labels):
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        yield from pod_template(template, "spec.template", claims)
        yield from needed_one_of(
            "spec.template.spec.restartPolicy", dig(template, "spec", "restartPolicy"), ("Always",)
        )
        if dig(template, "spec", "activeDeadlineSeconds") is not None:
            yield forbidden(
                "spec.template.spec.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported"
            )
    if old is not None:
        yield from immutable("spec.selector", selector, dig(old, "spec", "selector"))


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
