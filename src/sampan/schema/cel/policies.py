"""Admission policies compiled: variables that are computed when used, validations, audit annotations, mutations.

``ValidatingPolicy`` and ``MutatingPolicy`` are made once for each policy object and hold no state; what a request is
like comes as the variables of ``cel.admission``. Costs of one evaluation of a policy share a budget, variables included.
Source: KEP-3488, KEP-3962; apiserver pkg/admission/plugin/policy/{validating,mutating}, plugin/cel/composition.go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sampan.schema.cel import types
from sampan.schema.cel.admission import Compiled, Match, MatchConditions, admission_environment, compiled
from sampan.schema.cel.declared import Field, object_of, scalar
from sampan.schema.cel.environment import Environment
from sampan.schema.cel.errors import BudgetExceeded, EvaluationError
from sampan.schema.cel.mutations import OBJECT_TYPE, PATCHES_TYPE, resolve
from sampan.schema.cel.program import Budget
from sampan.schema.cel.types import Type

LONGEST_MESSAGE = 5 * 1024
Values = Mapping[str, Any]
Policy = Mapping[str, Any]


class LazyVariables(dict[str, Any]):
    """``variables``: each is evaluated when it is first used, with those before it; ``cost`` is what that came to."""

    __slots__ = ("compiled", "cost", "values_")

    def __init__(self, compiled: Mapping[str, Compiled], values: dict[str, Any]) -> None:
        super().__init__()
        self.compiled = compiled
        self.values_ = values
        self.cost = 0

    def __contains__(self, name: object) -> bool:
        return name in self.compiled

    def __missing__(self, name: str) -> Any:
        variable = self.compiled[name]
        if variable.program is None:
            raise EvaluationError(f'composited variable "{name}" fails to compile: {variable.error}')
        value, error, cost = variable.program.result(self.values_)
        self.cost += cost
        if error is not None:
            raise EvaluationError(f'composited variable "{name}" fails to evaluate: {error}')
        self[name] = value
        return value

    def take_cost(self) -> int:
        cost, self.cost = self.cost, 0
        return cost


class Composition:
    """The environment of one policy: as its variables are declared, one after the other may use those before."""

    def __init__(self, spec: Mapping[str, Any], env: Environment, bare: Environment) -> None:
        self.variables: dict[str, Compiled] = {}
        self._fields: dict[str, Field] = {}
        declared = object_of("kubernetes.variables", {})
        declared.fields = self._fields
        self.env = env.extended({"variables": declared})
        self.without_authorizer = bare.extended({"variables": declared})
        for variable in spec.get("variables") or ():
            self.add(str(variable.get("name") or ""), str(variable.get("expression") or ""))

    def add(self, name: str, expression: str) -> Compiled:
        found = compiled(expression, self.env, ())
        type = found.program.result_type if found.program is not None else types.DYN
        self.variables[name] = found
        self._fields[name] = Field(name, scalar(type, 1))
        return found

    def values(self, values: Values) -> tuple[dict[str, Any], LazyVariables]:
        """Return the variables of a request with ``variables`` among them."""
        found = dict(values)
        lazy = found["variables"] = LazyVariables(self.variables, found)
        return found, lazy

    def match(self, conditions: MatchConditions, values: Values) -> Match:
        """Return whether the match conditions hold. As in Kubernetes they do not see the namespace."""
        return conditions.match(self.values({**values, "namespaceObject": None})[0])

    def evaluate(self, expressions: Sequence[Compiled | None], values: Values, budget: Budget) -> list[tuple[Any, str]]:
        """Return value and error of each expression, None of none. Raises ``BudgetExceeded``."""
        found, lazy = self.values(values)
        results: list[tuple[Any, str]] = []
        for expression in expressions:
            if expression is None:
                results.append((None, ""))
                continue
            try:
                results.append(expression.evaluate(found, budget))
            finally:
                budget.spend(lazy.take_cost())
        return results


def composition(policy: Policy, version: str, *, stored: bool = True, patches: bool = False) -> Composition:
    spec = policy.get("spec") or {}
    params = spec.get("paramKind") is not None
    env = admission_environment(version, params=params, stored=stored, patches=patches)
    if patches:
        env = env.extended({})
        env.dynamic = resolve
    return Composition(spec, env, admission_environment(version, params=params, authorizer=False, stored=stored))


class Decision(NamedTuple):
    """Why a validation does not hold. ``reason`` is a Status reason; ``place`` the validation's index."""

    place: int
    message: str
    reason: str


class Annotation(NamedTuple):
    """An audit annotation: its value, "" for none, or what its evaluation ended in."""

    key: str
    value: str
    error: str


class Verdict(NamedTuple):
    """What a policy makes of a request."""

    decisions: list[Decision]
    annotations: Sequence[Annotation] = ()


def _of_type(result: Any) -> str:
    return result if isinstance(result, str) else ""


class ValidatingPolicy:
    """A ValidatingAdmissionPolicy, compiled."""

    def __init__(self, policy: Policy, version: str) -> None:
        spec = policy.get("spec") or {}
        self.fails = (spec.get("failurePolicy") or "Fail") == "Fail"
        self.composition = composition(policy, version)
        env, bare = self.composition.env, self.composition.without_authorizer
        self.conditions = MatchConditions(spec.get("matchConditions") or (), version, env=env)
        self.validations: list[Mapping[str, Any]] = list(spec.get("validations") or ())
        self.rules = [compiled(str(one.get("expression") or ""), env, (types.BOOL,)) for one in self.validations]
        self.messages = [
            compiled(str(one["messageExpression"]), bare, (types.STRING,)) if one.get("messageExpression") else None
            for one in self.validations
        ]
        self.keys = [str(one.get("key") or "") for one in spec.get("auditAnnotations") or ()]
        self.annotations = [
            compiled(str(one.get("valueExpression") or ""), env, (types.STRING, types.NULL))
            for one in spec.get("auditAnnotations") or ()
        ]

    def judge(self, values: Values) -> Verdict:
        """Hold a request against the policy. ``values``: the variables of ``cel.admission.activation``."""
        if self.conditions:
            match = self.composition.match(self.conditions, values)
            if match.error:
                return self._failed(match.error)
            if not match.matches:
                return Verdict([])
        budget = Budget()
        try:
            results = self.composition.evaluate(self.rules, values, budget)
        except BudgetExceeded as error:
            return self._failed(str(error))
        decisions = self._decisions(results, values, budget)
        try:
            told = self.composition.evaluate(self.annotations, values, Budget())
        except BudgetExceeded as error:
            return self._failed(str(error))
        return Verdict(decisions, [self._annotation(key, *one) for key, one in zip(self.keys, told, strict=True)])

    def _failed(self, why: str) -> Verdict:
        return Verdict([Decision(0, why, "")] if self.fails else [])

    def _decisions(self, results: list[tuple[Any, str]], values: Values, budget: Budget) -> list[Decision]:
        wrong = [index for index, (value, error) in enumerate(results) if error or value is not True]
        if not wrong:
            return []
        exhausted = ""
        messages: list[tuple[Any, str]] = [(None, "")] * len(results)
        try:
            messages = self.composition.evaluate(self.messages, values, budget)
        except BudgetExceeded as error:
            exhausted = f"failed messageExpression: {error}"
        decisions = []
        for index in wrong:
            why = results[index][1] or exhausted
            if why:
                decisions += [Decision(index, why, "")] if self.fails else []
            else:
                decisions.append(self._denied(index, messages[index]))
        return decisions

    def _denied(self, index: int, told: tuple[Any, str]) -> Decision:
        validation = self.validations[index]
        message = _of_type(told[0]).strip() if not told[1] else ""
        if len(message.encode()) > LONGEST_MESSAGE or "\n" in message:
            message = ""
        message = message or str(validation.get("message") or "").strip()
        message = message or f"failed expression: {str(validation.get('expression') or '').strip()}"
        return Decision(index, message, str(validation.get("reason") or "Invalid"))

    def _annotation(self, key: str, value: Any, error: str) -> Annotation:
        if error:
            return Annotation(key, "", error if self.fails else "")
        return Annotation(key, _of_type(value).strip(), "")


class Mutation(NamedTuple):
    patch: bool
    """Whether it is a JSONPatch, not an ApplyConfiguration."""
    expression: Compiled


class MutatingPolicy:
    """A MutatingAdmissionPolicy, compiled."""

    def __init__(self, policy: Policy, version: str) -> None:
        spec = policy.get("spec") or {}
        self.fails = (spec.get("failurePolicy") or "Fail") == "Fail"
        self.reinvoked = spec.get("reinvocationPolicy") == "IfNeeded"
        self.composition = composition(policy, version, patches=True)
        env = self.composition.env
        self.conditions = MatchConditions(spec.get("matchConditions") or (), version, env=env)
        self.mutations = [mutation(one, env) for one in spec.get("mutations") or ()]

    def evaluate(self, one: Mutation, values: Values) -> tuple[Any, str]:
        """Return what a mutation's expression makes, and its error ("")."""
        if one.expression.program is None:
            return None, one.expression.error
        try:
            ((value, error),) = self.composition.evaluate([one.expression], values, Budget())
        except BudgetExceeded as exceeded:
            return None, str(exceeded)
        return value, error


def mutation(one: Mapping[str, Any], env: Environment) -> Mutation:
    """Compile a mutation of a policy."""
    patch = one.get("patchType") == "JSONPatch"
    wanted: Type = PATCHES_TYPE if patch else OBJECT_TYPE
    part = one.get("jsonPatch" if patch else "applyConfiguration") or {}
    return Mutation(patch, compiled(str(part.get("expression") or ""), env, (wanted,)))
