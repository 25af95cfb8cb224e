"""Warnings of a ValidatingAdmissionPolicy whose expressions do not fit the kinds it is for (``status.typeChecking``).

Policies are evaluated without types; this only tells their author of ``object.spec.replica``. Source: apiserver
pkg/admission/plugin/policy/validating/typechecking.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sampan.schema.cel import types
from sampan.schema.cel.admission import admission_environment, compiled
from sampan.schema.cel.declared import Declared, of_schema
from sampan.schema.cel.policies import Composition

MAX_TYPES = 10
REF = "#/$defs/"
SCALARS: dict[str, dict[str, Any]] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"x-kubernetes-int-or-string": True},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": {"type": "string", "format": "date-time"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object"},
}
"""Definitions whose schema says less than Kubernetes' own."""


class Kind(NamedTuple):
    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.group}/{self.version}, Kind={self.kind}"


SchemaOf = Callable[[Kind], Mapping[str, Any] | None]


def warnings(policy: Mapping[str, Any], kinds: list[Kind], schema_of: SchemaOf, version: str) -> list[dict[str, str]]:
    """Return the ``expressionWarnings`` of a policy for the kinds its rules name. ``schema_of``: a kind's schema without
    references, None where it is not known."""
    spec = policy.get("spec") or {}
    declared = [(kind, _declared(kind, schema_of)) for kind in kinds[:MAX_TYPES]]
    params = _declared(_params_kind(spec), schema_of)
    checks = [(kind, _composition(spec, type, params, version)) for kind, type in declared if type is not None]
    found = []
    for field, expression in _expressions(spec):
        texts = [f"{kind}: {problem}\n" for kind, check in checks if (problem := _problem(check, expression))]
        if texts:
            found.append({"fieldRef": field, "warning": "\n".join(texts)})
    return found


def _problem(check: Composition, expression: str) -> str:
    return compiled(expression, check.env, ()).error


def _expressions(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for index, validation in enumerate(spec.get("validations") or ()):
        for key in ("expression", "messageExpression"):
            if key == "expression" or validation.get(key):
                yield f"spec.validations[{index}].{key}", str(validation.get(key) or "")


def _params_kind(spec: Mapping[str, Any]) -> Kind | None:
    reference = spec.get("paramKind")
    if not reference:
        return None
    group, slash, version = str(reference.get("apiVersion") or "").rpartition("/")
    return Kind(group if slash else "", version, str(reference.get("kind") or ""))


def _declared(kind: Kind | None, schema_of: SchemaOf) -> Declared | None:
    schema = schema_of(kind) if kind is not None else None
    return of_schema(schema, kind.kind, root=True) if schema is not None and kind is not None else None


def _composition(
    spec: Mapping[str, Any], object: Declared | None, params: Declared | None, version: str
) -> Composition:
    has_params = spec.get("paramKind") is not None
    env = admission_environment(version, params=has_params, stored=True)
    env = env.extended({"object": object or types.DYN, "oldObject": object or types.DYN})
    if has_params:
        env = env.extended({"params": params or types.DYN})
    return Composition(spec, env, env)


def without_references(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI definition with what it refers to put in; what refers to itself is left untyped there."""
    return _resolved(schema, definitions, ())


def _resolved(schema: Mapping[str, Any], definitions: Mapping[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is not None:
        name = str(reference).removeprefix(REF)
        if name in within:
            return {}
        if name in SCALARS:
            return dict(SCALARS[name])
        return _resolved(definitions.get(name) or {}, definitions, (*within, name))
    kind = schema.get("type")
    found: dict[str, Any] = {key: schema[key] for key in ("format", "required") if key in schema}
    if isinstance(kind, list):
        kind = next((word for word in kind if word != "null"), "")
    found["type"] = kind or ""
    if "properties" in schema:
        found["type"] = "object"
        inner = {name: _resolved(child, definitions, within) for name, child in schema["properties"].items()}
        found["properties"] = inner
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found[key] = _resolved(schema[key], definitions, within)
    return found
