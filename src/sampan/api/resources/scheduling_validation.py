"""Validation of where a pod may run: affinity, tolerations, spreading, gates.

Source: kubernetes pkg/apis/core/validation (validateAffinity, ValidateTolerations, validateTopologySpreadConstraints).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import good_label, label, label_key, label_selector, qualified, subdomain
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported, required
from sampan.schema.names import label_value
from sampan.schema.objects import Object

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ALL_TAINTS = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
UNSET_SELECTOR = "must not be specified when labelSelector is not set"
BOTH = "exists in both matchLabelKeys and labelSelector"


def tolerations(listed: Sequence[Object], field: str, ordered: bool = True) -> Iterator[Cause]:
    """``ordered``: whether Gt and Lt are known; they are off (``TaintTolerationComparisonOperators``)."""
    for index, toleration in enumerate(listed):
        key, operator = toleration.get("key"), toleration.get("operator") or "Equal"
        if key:
            yield from label_key(f"{field}[{index}].key", key)
        elif operator != "Exists":
            yield invalid(f"{field}[{index}].operator", toleration.get("operator") or "", ALL_TAINTS)
        effect = toleration.get("effect")
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(f"{field}[{index}].effect", effect or "", why)
        yield from toleration_value(operator, toleration.get("value") or "", f"{field}[{index}].operator", ordered)
        if effect and effect not in EFFECTS:
            yield not_supported(f"{field}[{index}].effect", effect, EFFECTS)


def toleration_value(operator: str, value: str, field: str, ordered: bool) -> Iterator[Cause]:
    if operator == "Exists":
        if value:
            yield invalid(field, value, "value must be empty when `operator` is 'Exists'")
    elif operator == "Equal":
        messages = label_value(value)
        if messages:
            yield invalid(field, value, ";".join(messages))
    else:
        compared = ordered and operator in ("Gt", "Lt")
        yield not_supported(field, operator, ("Equal", "Exists", "Lt", "Gt") if compared else ("Equal", "Exists"))


def affinity(given: Object, field: str) -> Iterator[Cause]:
    node = given.get("nodeAffinity")
    if node is not None:
        if node.get(REQUIRED) is not None:
            yield from node_selector(node[REQUIRED], f"{field}.nodeAffinity.{REQUIRED}")
        for index, choice in enumerate(items(node, PREFERRED)):
            path = f"{field}.nodeAffinity.{PREFERRED}[{index}]"
            yield from weight(choice, path)
            yield from node_term(mapping(choice, "preference"), f"{path}.preference", values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        for index, term in enumerate(items(given, kind, REQUIRED)):
            yield from pod_term(term, f"{field}.{kind}.{REQUIRED}[{index}]")
        for index, choice in enumerate(items(given, kind, PREFERRED)):
            path = f"{field}.{kind}.{PREFERRED}[{index}]"
            yield from weight(choice, path)
            yield from pod_term(mapping(choice, "podAffinityTerm"), f"{path}.podAffinityTerm")


def weight(choice: Object, field: str) -> Iterator[Cause]:
    if not 1 <= (choice.get("weight") or 0) <= 100:
        yield invalid(f"{field}.weight", choice.get("weight") or 0, "must be in the range 1-100")


def node_selector(selector: Object, field: str) -> Iterator[Cause]:
    """``ValidateNodeSelector``: of node affinity, and of volumes."""
    terms = items(selector, "nodeSelectorTerms")
    if not terms:
        yield required(f"{field}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from node_term(term, f"{field}.nodeSelectorTerms[{index}]")


def node_term(term: Object, field: str, *, values: bool = True) -> Iterator[Cause]:
    """``values``: whether the values must be valid label values (not those of preferences)."""
    for index, expression in enumerate(items(term, "matchExpressions")):
        yield from node_requirement(expression, f"{field}.matchExpressions[{index}]", values)
    for index, expression in enumerate(items(term, "matchFields")):
        yield from field_requirement(expression, f"{field}.matchFields[{index}]")


def node_requirement(expression: Object, field: str, check_values: bool) -> Iterator[Cause]:
    operator, values = expression.get("operator") or "", items(expression, "values")
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{field}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield forbidden(f"{field}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            yield required(f"{field}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        yield invalid(f"{field}.operator", operator, "not a valid selector operator")
    yield from label_key(f"{field}.key", expression.get("key"))
    if check_values:
        for place, value in enumerate(values):
            for message in label_value(value):
                yield invalid(f"{field}.values[{place}]", value, message)


def field_requirement(expression: Object, field: str) -> Iterator[Cause]:
    operator, values, key = expression.get("operator") or "", items(expression, "values"), expression.get("key") or ""
    if operator not in ("In", "NotIn"):
        yield invalid(f"{field}.operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{field}.values", why)
    if key != "metadata.name":
        yield invalid(f"{field}.key", key, "not a valid field selector key")
        return
    for place, value in enumerate(values):
        yield from subdomain(f"{field}.values[{place}]", value)


def pod_term(term: Object, field: str) -> Iterator[Cause]:
    selector = term.get("labelSelector")
    yield from label_selector(f"{field}.labelSelector", selector)
    yield from label_selector(f"{field}.namespaceSelector", term.get("namespaceSelector"))
    for name in items(term, "namespaces"):
        yield from label(f"{field}.namespace", name)
    matching, differing = items(term, "matchLabelKeys"), items(term, "mismatchLabelKeys")
    for key, listed in (("matchLabelKeys", matching), ("mismatchLabelKeys", differing)):
        if listed and selector is None:
            yield forbidden(f"{field}.{key}", UNSET_SELECTOR)
            continue
        for index, name in enumerate(listed):
            yield from label_key(f"{field}.{key}[{index}]", name)
    for index, name in enumerate(matching):
        if name in differing:
            yield invalid(
                f"{field}.matchLabelKeys[{index}]", name, "exists in both matchLabelKeys and mismatchLabelKeys"
            )
    yield from repeated_keys(selector, matching, field)
    topology = term.get("topologyKey")
    if not topology:
        yield required(f"{field}.topologyKey", "can not be empty")
    yield from label_key(f"{field}.topologyKey", topology)


def repeated_keys(selector: Any, matching: list[str], field: str) -> Iterator[Cause]:
    """matchLabelKeys have become expressions by now: a key that is there already was named twice."""
    seen = set(mapping(selector, "matchLabels"))
    for expression in items(selector, "matchExpressions") if matching else ():
        key = expression.get("key")
        if key in matching and key in seen:
            yield invalid(f"{field}[{matching.index(key)}]", key, BOTH)
        seen.add(key)


def spread_constraints(listed: Sequence[Object], field: str) -> Iterator[Cause]:
    for index, constraint in enumerate(listed):
        path = f"{field}[{index}]"
        skew, topology = constraint.get("maxSkew") or 0, constraint.get("topologyKey") or ""
        action = constraint.get("whenUnsatisfiable") or ""
        if skew <= 0:
            yield invalid(f"{path}.maxSkew", skew, "must be greater than zero")
        if not topology:
            yield required(f"{path}.topologyKey", "can not be empty")
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            yield not_supported(f"{path}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
        for other in listed[index + 1 :]:
            if (other.get("topologyKey") or "") == topology and (other.get("whenUnsatisfiable") or "") == action:
                yield duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{topology}, {action}}}")
                break
        yield from spread_options(constraint, action, path)
        yield from label_selector(f"{path}.labelSelector", constraint.get("labelSelector"))


def spread_options(constraint: Object, action: str, path: str) -> Iterator[Cause]:
    domains, selector = constraint.get("minDomains"), constraint.get("labelSelector")
    if domains is not None and domains <= 0:
        yield invalid(f"{path}.minDomains", domains, "must be greater than zero")
    if domains is not None and action != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield invalid(f"{path}.minDomains", domains, why)
    for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        policy = constraint.get(key)
        if policy is not None and policy not in ("Honor", "Ignore"):
            yield not_supported(f"{path}.{key}", policy, ("Honor", "Ignore"))
    keys = items(constraint, "matchLabelKeys")
    if keys and selector is None:
        yield forbidden(f"{path}.matchLabelKeys", UNSET_SELECTOR)
        return
    for index, name in enumerate(keys):
        yield from label_key(f"{path}.matchLabelKeys[{index}]", name)
    yield from repeated_keys(selector, keys, f"{path}.matchLabelKeys")


def gates(listed: Sequence[Object], field: str) -> Iterator[Cause]:
    """``validateSchedulingGates``."""
    seen: set[str] = set()
    for index, gate in enumerate(listed):
        name = gate.get("name") or ""
        if not good_label(name):
            yield from qualified(f"{field}[{index}]", name)
        if name in seen:
            yield duplicate(f"{field}[{index}]", name)
        seen.add(name)


def taints(listed: Sequence[Object], field: str) -> Iterator[Cause]:
    """``validateNodeTaints``."""
    seen: set[tuple[Any, Any]] = set()
    for index, taint in enumerate(listed):
        path, key, effect, value = f"{field}[{index}]", taint.get("key"), taint.get("effect"), taint.get("value") or ""
        yield from label_key(f"{path}.key", key)
        messages = label_value(value)
        if messages:
            yield invalid(f"{path}.value", value, ";".join(messages))
        if not effect:
            yield required(f"{path}.effect")
        elif effect not in EFFECTS:
            yield not_supported(f"{path}.effect", effect, EFFECTS)
        if (key, effect) in seen:
            message = duplicate(path, taint).message + ": taints must be unique by key and effect pair"
            yield Cause(path, "FieldValueDuplicate", message)
        seen.add((key, effect))
