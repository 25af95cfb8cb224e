"""Node selectors and required node affinity: the one rule that says whether a pod may be on a node by its labels and name.

Source: core/v1 NodeSelectorTerm (terms are alternatives, the requirements of one must all hold, an empty term chooses none).
"""

from __future__ import annotations

from collections.abc import Mapping

from sampan.schema.objects import Object


def may_be_on(spec: Object, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a PodSpec's ``nodeSelector`` and required node affinity let it be on the node of that name and labels."""
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(term_matches(term, name, labels) for term in required.get("nodeSelectorTerms") or ())


def term_matches(term: Object, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a NodeSelectorTerm chooses a node; an empty term chooses none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(expression_matches(e, labels) for e in expressions) and all(
        expression_matches(e, {"metadata.name": name}) for e in fields
    )


def expression_matches(expression: Object, labels: Mapping[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator in ("Gt", "Lt"):
        try:
            have, limit = int(labels[key]), int(values[0])
        except (KeyError, ValueError, IndexError):
            return False
        return have > limit if operator == "Gt" else have < limit
    present = key in labels
    return {
        "Exists": present,
        "DoesNotExist": not present,
        "In": present and labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
    }.get(operator, False)
