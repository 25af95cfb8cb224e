"""``status.conditions`` as newer kinds have them (metav1.Condition). Source: apimachinery apis/meta/v1/validation."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.api.resource import Cause
from sampan.api.resources.checking import label_key
from sampan.schema.causes import duplicate, invalid, not_supported, required, too_long
from sampan.schema.objects import Object

STATUSES = ("False", "True", "Unknown")
REASON = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
REASON_MESSAGE = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters "
    "or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or "
    "'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
)
LONGEST_REASON, LONGEST_MESSAGE = 1024, 32 * 1024


def check_conditions(path: str, conditions: list[Object]) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        kind = condition.get("type") or ""
        if kind in seen:
            yield duplicate(f"{path}[{index}]", kind)
        seen.add(kind)
        yield from check_condition(f"{path}[{index}]", condition)


def check_condition(path: str, condition: Object) -> Iterator[Cause]:
    kind, status, reason = (condition.get(key) or "" for key in ("type", "status", "reason"))
    if not kind:
        yield required(f"{path}.type", "is required")
    else:
        yield from label_key(f"{path}.type", kind)
    if not status:
        yield required(f"{path}.status")
    elif status not in STATUSES:
        yield not_supported(f"{path}.status", status, STATUSES)
    generation = condition.get("observedGeneration") or 0
    if generation < 0:
        yield invalid(f"{path}.observedGeneration", generation, "must be greater than or equal to zero")
    if not condition.get("lastTransitionTime"):
        yield required(f"{path}.lastTransitionTime")
    if not reason:
        yield required(f"{path}.reason")
    elif not REASON.fullmatch(reason):
        yield invalid(f"{path}.reason", reason, REASON_MESSAGE)
    if len(reason.encode()) > LONGEST_REASON:
        yield too_long(f"{path}.reason", LONGEST_REASON)
    if len((condition.get("message") or "").encode()) > LONGEST_MESSAGE:
        yield too_long(f"{path}.message", LONGEST_MESSAGE)
