"""What does not compile of an admission policy or a match condition that is written, in kube-apiserver's words.

Source: kubernetes pkg/apis/admissionregistration/validation/validation.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from sampan.schema.causes import Cause, invalid
from sampan.schema.cel import types
from sampan.schema.cel.admission import Compiled, admission_environment, compiled
from sampan.schema.cel.environment import Environment
from sampan.schema.cel.policies import Composition, composition, mutation

Policy = Mapping[str, Any]


class PolicyExpressions:
    """Compiles the expressions of one policy, one after the other; ``old`` is what it replaces, whose expressions may use
    what the newest libraries have. Every method yields why an expression (never an empty one) is refused."""

    def __init__(self, policy: Policy, old: Policy | None, version: str) -> None:
        self.policy = policy
        self.version = version
        spec = policy.get("spec") or {}
        self.mutating = policy.get("kind") == "MutatingAdmissionPolicy"
        self.params = spec.get("paramKind") is not None
        self.composed = self.mutating or bool(spec.get("variables"))
        self.known = frozenset(expressions(old or {}))

    @cached_property
    def _compositions(self) -> tuple[Composition, Composition]:
        """For new expressions and for those that are stored; the variables are compiled in both."""
        new, stored = (
            composition(self.policy, self.version, stored=flag, patches=self.mutating) for flag in (False, True)
        )
        return new, stored

    def _composition(self, expression: str) -> Composition:
        return self._compositions[expression in self.known]

    def _environment(self, expression: str, *, authorizer: bool = True) -> Environment:
        if not self.composed:
            return admission_environment(
                self.version, params=self.params, authorizer=authorizer, stored=expression in self.known
            )
        made = self._composition(expression)
        return made.env if authorizer else made.without_authorizer

    def match_condition(self, path: str, expression: str) -> Iterator[Cause]:
        """Those of match conditions see no variables."""
        known = expression in self.known
        yield from match_condition(path, expression, self.version, params=self.params, stored=known)

    def variable(self, path: str, name: str, expression: str) -> Iterator[Cause]:
        made = self._composition(expression).variables.get(name)
        if made is not None and made.expression == expression:
            yield from refused(path, expression, made)

    def validation(self, path: str, expression: str) -> Iterator[Cause]:
        yield from refused(path, expression, compiled(expression, self._environment(expression), (types.BOOL,)))

    def message(self, path: str, expression: str) -> Iterator[Cause]:
        env = self._environment(expression, authorizer=False)
        yield from refused(path, expression, compiled(expression, env, (types.STRING,)))

    def audit_annotation(self, path: str, expression: str) -> Iterator[Cause]:
        made = compiled(expression.strip(), self._environment(expression), (types.STRING, types.NULL))
        yield from refused(path, expression, made)

    def mutation(self, path: str, key: str, one: Mapping[str, Any]) -> Iterator[Cause]:
        """``key``: where its expression is, ``jsonPatch`` or ``applyConfiguration``."""
        expression = str(one[key]["expression"])
        text = expression.strip()
        made = mutation({**one, key: {"expression": text}}, self._environment(expression)).expression
        yield from refused(path, text, made)


def match_condition(
    path: str, expression: str, version: str, *, params: bool = False, stored: bool = False
) -> Iterator[Cause]:
    """Yield why a match condition of a policy or a webhook is refused."""
    text = expression.strip()
    env = admission_environment(version, params=params, stored=stored)
    yield from refused(path, text, compiled(text, env, (types.BOOL,)))


def refused(path: str, expression: str, made: Compiled) -> Iterator[Cause]:
    if made.program is None:
        yield invalid(path, expression, made.error)


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
