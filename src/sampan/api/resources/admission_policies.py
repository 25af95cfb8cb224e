"""ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings as objects: defaults, validation, columns.

How expressions compile is in ``schema/cel/policy_checks.py``; what policies do to writes in ``admission/``.
Source: kubernetes pkg/apis/admissionregistration (v1/defaults.go, validation/validation.go), KEP-3488, KEP-3962.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from sampan.api.resource import Cause, Column
from sampan.api.resources.checking import collect, label_selector, needed_one_of, one_of
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.webhooks import check_match_conditions, check_rule
from sampan.schema.causes import duplicate, forbidden, invalid, required
from sampan.schema.names import dns1035_label, dns1123_subdomain, path_segment, qualified_name
from sampan.schema.objects import Object, split_api_version

if TYPE_CHECKING:
    from sampan.schema.cel.policy_checks import PolicyExpressions

REASONS = ("Forbidden", "Invalid", "RequestEntityTooLarge")
ACTIONS = ("Audit", "Deny", "Warn")
FAILURE_POLICIES = ("Fail", "Ignore")
MATCH_POLICIES = ("Equivalent", "Exact")
REINVOCATION = ("IfNeeded", "Never")
PATCH_TYPES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}
MUTATED = ("*", "CONNECT", "CREATE", "UPDATE")
NOT_FOUND = ("Deny", "Allow")
MAX_ANNOTATIONS = 20
MAX_VALUE_EXPRESSION = 5 * 1024
RESERVED = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
        "let", "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_identifier = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)

# defaults


def default_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    default_match(spec.get("matchConstraints"))


def default_binding(binding: Object) -> None:
    default_match(dig(binding, "spec", "matchResources"))
    reference = dig(binding, "spec", "paramRef")
    if str(binding.get("apiVersion")).endswith("/v1alpha1") and isinstance(reference, dict):
        reference.setdefault("parameterNotFoundAction", "Deny")


def default_match(match: Any) -> None:
    if isinstance(match, dict):
        match.setdefault("matchPolicy", "Equivalent")
        match.setdefault("namespaceSelector", {})
        match.setdefault("objectSelector", {})
        for key in ("resourceRules", "excludeResourceRules"):
            for rule in items(match, key):
                rule.setdefault("scope", "*")


# validation


def policy_by_version(minor: int) -> dict[str, Any]:
    return {"validate": collect(partial(validate_policy, version=f"1.{minor}"))}


def validate_policy(new: Object, old: Object | None, *, version: str) -> Iterator[Cause]:
    from sampan.schema.cel.policy_checks import PolicyExpressions  # CEL is wanted where there are policies

    spec, compiler = mapping(new, "spec"), PolicyExpressions(new, old, version)
    yield from one_of("spec.failurePolicy", spec.get("failurePolicy"), FAILURE_POLICIES)
    if spec.get("paramKind") is not None:
        yield from check_kind("spec.paramKind", mapping(spec, "paramKind"))
    if spec.get("matchConstraints") is None:
        yield required("spec.matchConstraints")
    else:
        yield from check_match("spec.matchConstraints", mapping(spec, "matchConstraints"))
        if not items(spec, "matchConstraints", "resourceRules"):
            yield required("spec.matchConstraints.resourceRules")
        if compiler.mutating:
            yield from check_operations("spec.matchConstraints", mapping(spec, "matchConstraints"))
    if old is None or any(spec.get(key) != dig(old, "spec", key) for key in ("matchConditions", "paramKind")):
        conditions = items(spec, "matchConditions")
        yield from check_match_conditions("spec.matchConditions", conditions, compiler.match_condition)
    for index, variable in enumerate(items(spec, "variables")):
        yield from check_variable(f"spec.variables[{index}]", variable, compiler)
    if compiler.mutating:
        yield from check_mutations(spec, compiler)
    else:
        yield from check_validations(spec, text(new, "metadata", "name"), compiler)


def validate_policy_status(new: Object, old: Object | None) -> Iterator[Cause]:
    for index, warning in enumerate(items(new, "status", "typeChecking", "expressionWarnings")):
        path = f"status.typeChecking.expressionWarnings[{index}]"
        if not warning.get("warning"):
            yield required(f"{path}.warning")
        if not text(warning, "fieldRef").strip():
            yield required(f"{path}.fieldRef")


def check_kind(path: str, kind: Object) -> Iterator[Cause]:
    given = kind.get("apiVersion") or ""
    group, version = split_api_version(given)
    if not given:
        yield required(f"{path}.apiVersion")
    elif given.count("/") > 1:
        yield invalid(f"{path}.apiVersion", given, f"unexpected GroupVersion string: {given}")
    else:
        messages = dns1123_subdomain(group) if group else []
        if messages:
            yield invalid(f"{path}.apiVersion", group, ",".join(messages))
        messages = dns1035_label(version) if version else ["version must be specified"]
        if messages:
            yield invalid(f"{path}.apiVersion", version or given, ",".join(messages))
    name = kind.get("kind") or ""
    messages = dns1035_label(name.lower()) if name else []
    if not name:
        yield required(f"{path}.kind")
    elif messages:
        why = f"may have mixed case, but should otherwise match: {','.join(messages)}"
        yield invalid(f"{path}.kind", name, why)


def check_match(path: str, match: Object) -> Iterator[Cause]:
    yield from one_of(f"{path}.matchPolicy", match.get("matchPolicy"), MATCH_POLICIES)
    for key in ("namespaceSelector", "objectSelector"):
        yield from label_selector(f"{path}.{key}", match.get(key))
    for key in ("resourceRules", "excludeResourceRules"):
        for index, rule in enumerate(items(match, key)):
            yield from check_named_rule(f"{path}.{key}[{index}]", rule)


def check_named_rule(path: str, rule: Object) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, name in enumerate(items(rule, "resourceNames")):
        yield from (invalid(f"{path}.resourceNames[{index}]", name, message) for message in path_segment(name))
        if name in seen:
            yield duplicate(f"{path}.resourceNames[{index}]", name)
        seen.add(name)
    yield from check_rule(path, rule)


def check_variable(path: str, variable: Object, compiler: PolicyExpressions) -> Iterator[Cause]:
    name, expression = variable.get("name") or "", variable.get("expression") or ""
    if not name.strip():
        yield required(f"{path}.name", "name is not specified")
    elif not _identifier.fullmatch(name) or name in RESERVED:
        yield invalid(f"{path}.name", name, "must be a valid CEL identifier")
    if not expression.strip():
        yield required(f"{path}.expression", "expression is not specified")
    else:
        yield from compiler.variable(f"{path}.expression", name, expression)


def check_validations(spec: Object, name: str, compiler: PolicyExpressions) -> Iterator[Cause]:
    validations, annotations = items(spec, "validations"), items(spec, "auditAnnotations")
    if not validations and not annotations:
        why = "validations or auditAnnotations must contain at least one item"
        yield required("spec.validations", why)
        yield required("spec.auditAnnotations", why)
    for index, validation in enumerate(validations):
        yield from check_validation(f"spec.validations[{index}]", validation, compiler)
    if len(annotations) > MAX_ANNOTATIONS:
        why = f"must not have more than {MAX_ANNOTATIONS} auditAnnotations"
        yield invalid("spec.auditAnnotations", annotations, why)
    seen: set[str] = set()
    for index, annotation in enumerate(annotations):
        path, key = f"spec.auditAnnotations[{index}]", annotation.get("key") or ""
        yield from (invalid(f"{path}.key", f"{name}/{key}", why) for why in qualified_name(f"{name}/{key}"))
        expression = annotation.get("valueExpression") or ""
        if not expression.strip():
            yield required(f"{path}.valueExpression", "valueExpression is not specified")
        elif len(expression.strip().encode()) > MAX_VALUE_EXPRESSION:
            yield required(f"{path}.valueExpression", f"must not exceed {MAX_VALUE_EXPRESSION} bytes in length")
        else:
            yield from compiler.audit_annotation(f"{path}.valueExpression", expression)
        if key in seen:
            yield duplicate(f"{path}.key", key)
        seen.add(key)


def check_validation(path: str, validation: Object, compiler: PolicyExpressions) -> Iterator[Cause]:
    expression = validation.get("expression") or ""
    if not expression.strip():
        yield required(f"{path}.expression", "expression is not specified")
    else:
        yield from compiler.validation(f"{path}.expression", expression)
    told = validation.get("messageExpression") or ""
    if told.strip():
        yield from compiler.message(f"{path}.messageExpression", told)
    elif told:
        yield invalid(f"{path}.messageExpression", told, "must be non-empty if specified")
    message = validation.get("message") or ""
    if message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif "\n" in message.strip() or "\r" in message.strip():
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    yield from one_of(f"{path}.reason", validation.get("reason"), REASONS)


def check_mutations(spec: Object, compiler: PolicyExpressions) -> Iterator[Cause]:
    mutations = items(spec, "mutations")
    if not mutations:
        yield required("spec.mutations", "mutations must contain at least one item")
    for index, mutation in enumerate(mutations):
        yield from check_mutation(f"spec.mutations[{index}]", mutation, compiler)
    yield from needed_one_of("spec.reinvocationPolicy", spec.get("reinvocationPolicy"), REINVOCATION)


def check_operations(path: str, match: Object) -> Iterator[Cause]:
    for rule in items(match, "resourceRules"):
        for operation in items(rule, "operations"):
            yield from one_of(f"{path}.resourceRules.operations", operation, MUTATED)


def check_mutation(path: str, mutation: Object, compiler: PolicyExpressions) -> Iterator[Cause]:
    kind = mutation.get("patchType") or ""
    if not kind:
        yield required(f"{path}.patchType")
    elif kind not in PATCH_TYPES:
        yield from one_of(f"{path}.patchType", kind, PATCH_TYPES)
    else:
        wanted, other = PATCH_TYPES[kind], next(key for word, key in PATCH_TYPES.items() if word != kind)
        part = mutation.get(wanted)
        if part is None:
            yield required(f"{path}.{wanted}", f"must be specified when patchType is {kind}")
        elif not (part.get("expression") or "").strip():
            yield required(f"{path}.{wanted}.expression")
        else:
            yield from compiler.mutation(f"{path}.{wanted}.expression", wanted, mutation)
        if mutation.get(other) is not None:
            yield invalid(f"{path}.{other}", f"{{{other}}}", f"must not be specified when patchType is {kind}")


def binding_by_version(minor: int) -> dict[str, Any]:
    """Kubernetes 1.26, the first version with policies, has no validationActions: all of it denies."""
    needed = "" if minor >= 37 else "at least one validation action is required"
    return {"validate": collect(partial(validate_binding, needed=needed if minor > 26 else None))}


def validate_binding(new: Object, old: Object | None, *, needed: str | None) -> Iterator[Cause]:
    """``needed``: what is said of missing validationActions; None: none are needed."""
    spec = mapping(new, "spec")
    name = spec.get("policyName") or ""
    if not name:
        yield required("spec.policyName")
    else:
        yield from (invalid("spec.policyName", name, message) for message in dns1123_subdomain(name))
    if spec.get("paramRef") is not None:
        yield from check_reference("spec.paramRef", mapping(spec, "paramRef"))
    if spec.get("matchResources") is not None:
        yield from check_match("spec.matchResources", mapping(spec, "matchResources"))
    if new.get("kind") == "MutatingAdmissionPolicyBinding":
        yield from check_operations("spec.matchResources", mapping(spec, "matchResources"))
    else:
        actions = items(spec, "validationActions")
        yield from check_actions("spec.validationActions", actions)
        if needed is not None and not actions:
            yield required("spec.validationActions", needed)


def check_reference(path: str, reference: Object) -> Iterator[Cause]:
    name, selector = reference.get("name") or "", reference.get("selector")
    if name:
        yield from (invalid(f"{path}.name", name, message) for message in path_segment(name))
        if selector is not None:
            yield forbidden(f"{path}.name", "name and selector are mutually exclusive")
    if selector is not None:
        yield from label_selector(f"{path}.selector", selector)
        if name:
            yield forbidden(f"{path}.selector", "name and selector are mutually exclusive")
    if not name and selector is None:
        yield required(path, "one of name or selector must be specified")
    yield from needed_one_of(f"{path}.parameterNotFoundAction", reference.get("parameterNotFoundAction"), NOT_FOUND)


def check_actions(path: str, actions: list[str]) -> Iterator[Cause]:
    for index, action in enumerate(actions):
        yield from one_of(f"{path}[{index}]", action, ACTIONS)
        if action in actions[:index]:
            yield duplicate(f"{path}[{index}]", action)
    if "Deny" in actions and "Warn" in actions:
        why = (
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response"
        )
        yield invalid(path, actions, f"{why} and headers serves no purpose)")


# columns


def parameter_kind(policy: Object) -> str:
    reference = mapping(policy, "spec", "paramKind")
    return f"{reference.get('apiVersion')}/{reference.get('kind')}" if reference else "<unset>"


def policy_columns(count: str) -> tuple[Column, ...]:
    return (
        NAME,
        Column(count.capitalize(), lambda o: len(items(o, "spec", count)), type="integer"),
        Column("ParamKind", parameter_kind),
        AGE,
    )


BINDING_COLUMNS = (
    NAME,
    Column("PolicyName", ".spec.policyName"),
    Column("ParamRef", lambda o: text(o, "spec", "paramRef", "name") or "<unset>"),
    AGE,
)
