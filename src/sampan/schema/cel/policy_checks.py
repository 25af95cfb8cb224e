"""What does not compile of an admission policy that is written, in kube-apiserver's words.

Source: kubernetes pkg/apis/admissionregistration/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sampan.schema.causes import Cause, invalid
from sampan.schema.cel import types
from sampan.schema.cel.admission import Compiled, admission_environment, compiled
from sampan.schema.cel.environment import Environment
from sampan.schema.cel.policies import Composition, composition, mutation

Policy = Mapping[str, Any]


def policy_causes(policy: Policy, old: Policy | None, version: str) -> list[Cause]:
    """Return why the expressions of a validating or mutating policy are refused. Those that ``old`` has may use what
    the newest libraries have."""
    spec = policy.get("spec") or {}
    known = frozenset(expressions(old or {}))
    mutating = policy.get("kind") == "MutatingAdmissionPolicy"
    new, stored = (composition(policy, version, stored=flag, patches=mutating) for flag in (False, True))
    checker = _Checker(known, new, stored)
    found = list(_conditions(spec, "spec.matchConditions", version, known))
    for index, variable in enumerate(spec.get("variables") or ()):
        name, expression = str(variable.get("name") or ""), str(variable.get("expression") or "")
        made = (stored if expression in known else new).variables.get(name)
        if made is not None and expression.strip():
            found += checker.cause(f"spec.variables[{index}].expression", made)
    if mutating:
        for index, one in enumerate(spec.get("mutations") or ()):
            key = "jsonPatch" if one.get("patchType") == "JSONPatch" else "applyConfiguration"
            expression = str((one.get(key) or {}).get("expression") or "")
            trimmed = {**one, key: {"expression": expression.strip()}}
            made = mutation(trimmed, checker.env(expression)).expression
            found += checker.cause(f"spec.mutations[{index}].{key}.expression", made)
        return found
    for index, validation in enumerate(spec.get("validations") or ()):
        found += checker.validation(f"spec.validations[{index}]", validation)
    for index, annotation in enumerate(spec.get("auditAnnotations") or ()):
        expression = str(annotation.get("valueExpression") or "")
        made = compiled(expression.strip(), checker.env(expression), (types.STRING, types.NULL))
        found += checker.cause(f"spec.auditAnnotations[{index}].valueExpression", made)
    return found


class _Checker:
    def __init__(self, known: Collection[str], new: Composition, stored: Composition) -> None:
        self.known = known
        self.new = new
        self.stored = stored

    def env(self, expression: str) -> Environment:
        return self.stored.env if expression in self.known else self.new.env

    def cause(self, path: str, made: Compiled) -> list[Cause]:
        if made.program is not None or not made.expression.strip():
            return []
        return [invalid(path, made.expression, made.error)]

    def validation(self, path: str, validation: Mapping[str, Any]) -> Iterator[Cause]:
        expression, message = str(validation.get("expression") or ""), str(validation.get("messageExpression") or "")
        yield from self.cause(f"{path}.expression", compiled(expression, self.env(expression), (types.BOOL,)))
        bare = (self.stored if message in self.known else self.new).without_authorizer
        if message.strip():
            yield from self.cause(f"{path}.messageExpression", compiled(message, bare, (types.STRING,)))


def _conditions(holder: Mapping[str, Any], path: str, version: str, known: Collection[str]) -> Iterator[Cause]:
    params = holder.get("paramKind") is not None
    for index, condition in enumerate(holder.get("matchConditions") or ()):
        expression = str(condition.get("expression") or "").strip()
        env = admission_environment(version, params=params, stored=expression in known)
        made = compiled(expression, env, (types.BOOL,))
        if expression and made.program is None:
            yield invalid(f"{path}[{index}].expression", expression, made.error)


def expressions(policy: Policy) -> Iterator[str]:
    """Yield every expression of a policy."""
    spec = policy.get("spec") or {}
    for part in ("matchConditions", "variables", "validations", "auditAnnotations", "mutations"):
        for one in spec.get(part) or ():
            for key in ("expression", "messageExpression", "valueExpression"):
                if one.get(key):
                    yield str(one[key])
            for key in ("jsonPatch", "applyConfiguration"):
                if one.get(key):
                    yield str(one[key].get("expression") or "")
