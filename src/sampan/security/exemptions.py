"""PodSecurityExemption: an object that says which checks some pods of its namespace need not meet, why, and until when.

A custom resource (``CRD``), so who may make one is RBAC's business, and each is there to be read. It names checks by their
ids, pods by labels, and the reason; after ``expires`` it is as if it were not there. Kubernetes itself exempts whole
namespaces, users and runtime classes only (k/k #108802).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sampan.schema.objects import Object
from sampan.schema.selectors import SelectorError, label_selector
from sampan.security import baseline, restricted
from sampan.security.levels import Standard
from sampan.security.standards import Evaluator, Verdict

GROUP, VERSION, PLURAL, KIND = "security.sampan.dev", "v1", "podsecurityexemptions", "PodSecurityExemption"
CHECKS = sorted(check.id for check in (*baseline.CHECKS, *restricted.CHECKS))


def exempted(
    evaluator: Evaluator,
    standard: Standard,
    pod: tuple[Object, Object],
    exemptions: Iterable[Object],
    annotations: dict[str, str],
    now: datetime.datetime | None = None,
) -> Verdict:
    """Return the verdict on a pod less what its exemptions cover; which these were goes into the annotations."""
    violations = evaluator.violations(standard, *pod)
    covering = list(in_force(exemptions, pod[0].get("labels") or {}, now or datetime.datetime.now(datetime.UTC)))
    left, used = [], []
    for check, violation in violations.items():
        one = next((name for name, checks in covering if check in checks), None)
        if one is None:
            left.append(violation)
        else:
            used.append(f"{check} by {one}")
    if used:
        annotations["exempt-checks"] = ", ".join(used)
    return Verdict(tuple(left))


def in_force(
    exemptions: Iterable[Object], labels: dict[str, str], now: datetime.datetime
) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield name and checks of the exemptions that hold for a pod with these labels."""
    for one in exemptions:
        spec: Any = one.get("spec") or {}
        if not is_over(spec.get("expires"), now) and chooses(spec.get("selector") or {}, labels):
            yield one["metadata"]["name"], spec.get("checks") or ()


def chooses(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a selector chooses these labels; one that cannot be read chooses nobody."""
    try:
        return label_selector(selector).matches(labels)
    except SelectorError:
        return False


def is_over(expires: str | None, now: datetime.datetime) -> bool:
    """Whether a time has passed. One that cannot be read has: what nobody understands exempts nobody."""
    if not expires:
        return False
    try:
        return datetime.datetime.fromisoformat(expires.replace("Z", "+00:00")) <= now
    except (ValueError, TypeError):
        return True


SCHEMA: Object = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["checks", "reason"],
            "properties": {
                "selector": {
                    "type": "object",
                    "description": "Pods by their labels; none is all pods of the namespace.",
                    "properties": {
                        "matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
                        "matchExpressions": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["key", "operator"],
                                "properties": {
                                    "key": {"type": "string"},
                                    "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"], "type": "string"},
                                    "values": {"type": "array", "items": {"type": "string"}},
                                },
                            },
                        },
                    },
                },
                "checks": {
                    "type": "array",
                    "minItems": 1,
                    "description": "Ids of the checks that need not be met.",
                    "items": {"type": "string", "enum": CHECKS},
                },
                "reason": {"type": "string", "minLength": 1, "description": "Why they cannot be met."},
                "expires": {"type": "string", "format": "date-time", "description": "When it ends; none is never."},
            },
        }
    },
}

CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{PLURAL}.{GROUP}"},
    "spec": {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {
            "plural": PLURAL,
            "singular": KIND.lower(),
            "kind": KIND,
            "listKind": f"{KIND}List",
            "shortNames": ["psx"],
        },
        "versions": [
            {
                "name": VERSION,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": SCHEMA},
                "additionalPrinterColumns": [
                    {"name": "Checks", "type": "string", "jsonPath": ".spec.checks"},
                    {"name": "Reason", "type": "string", "jsonPath": ".spec.reason"},
                    {"name": "Expires", "type": "date", "jsonPath": ".spec.expires"},
                ],
            }
        ],
    },
}
