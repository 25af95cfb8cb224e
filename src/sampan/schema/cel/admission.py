"""CEL of admission: the variables that webhooks' match conditions and admission policies share, and match conditions.

    conditions = MatchConditions(webhook["matchConditions"], version)     # compiled once, when the configuration is read
    match = conditions.match(activation(object=new, old=old, request=request, authorizer=Authorizer(decide)))
    match.matches; match.error                                            # error: failurePolicy decides

Objects are as in JSON: without types, a missing field is an error. Source: apiserver pkg/admission/plugin/cel and
webhook/matchconditions; KEP-3716.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sampan.schema.causes import Cause, invalid
from sampan.schema.cel import types
from sampan.schema.cel.declarations import NAMED
from sampan.schema.cel.declared import Declared, list_type, map_type, object_of, scalar
from sampan.schema.cel.environment import Environment, environment
from sampan.schema.cel.errors import BudgetExceeded, CelError
from sampan.schema.cel.program import MATCH_CONDITIONS_BUDGET, Budget, Program, ProgramError, compile
from sampan.schema.cel.types import Type

STRING, BOOL, INT = scalar(types.STRING, 2), scalar(types.BOOL, 4), scalar(types.INT, 1)
TIME, ANY = scalar(types.TIMESTAMP, 12), scalar(types.DYN, 1)
UNBOUNDED = -1


def described(type_name: str, /, **fields: Declared) -> Declared:
    return object_of(type_name, {key: (key, type) for key, type in fields.items()})


STRINGS = list_type(STRING, UNBOUNDED)
KIND = described("kubernetes.GroupVersionKind", group=STRING, version=STRING, kind=STRING)
RESOURCE = described("kubernetes.GroupVersionResource", group=STRING, version=STRING, resource=STRING)
USER = described("kubernetes.UserInfo", username=STRING, uid=STRING, groups=STRINGS, extra=map_type(STRINGS, UNBOUNDED))
REQUEST = described(
    "kubernetes.AdmissionRequest",
    kind=KIND,
    resource=RESOURCE,
    subResource=STRING,
    requestKind=KIND,
    requestResource=RESOURCE,
    requestSubResource=STRING,
    name=STRING,
    namespace=STRING,
    operation=STRING,
    userInfo=USER,
    dryRun=BOOL,
    options=ANY,
)
"""``request``: the AdmissionRequest of a webhook, without the objects."""

CONDITION = described(
    "kubernetes.NamespaceCondition", status=STRING, type=STRING, lastTransitionTime=TIME, message=STRING, reason=STRING
)
NAMESPACE = described(
    "kubernetes.Namespace",
    metadata=described(
        "kubernetes.NamespaceMetadata",
        name=STRING,
        generateName=STRING,
        namespace=STRING,
        labels=map_type(STRING, UNBOUNDED),
        annotations=map_type(STRING, UNBOUNDED),
        UID=STRING,
        creationTimestamp=TIME,
        deletionGracePeriodSeconds=INT,
        deletionTimestamp=TIME,
        generation=INT,
        resourceVersion=STRING,
        finalizers=STRINGS,
    ),
    spec=described("kubernetes.NamespaceSpec", finalizers=STRINGS),
    status=described("kubernetes.NamespaceStatus", conditions=list_type(CONDITION, UNBOUNDED), phase=STRING),
)
"""``namespaceObject``."""

NAMESPACE_METADATA = (
    "name", "generateName", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
    "deletionGracePeriodSeconds", "labels", "annotations", "finalizers",
)  # fmt: skip


@lru_cache(maxsize=32)
def admission_environment(
    version: str, *, params: bool = False, authorizer: bool = True, stored: bool = False, patches: bool = False
) -> Environment:
    """Return the environment of an admission expression: object, oldObject, namespaceObject and request; params and
    authorizer where there are any; ``patches``: the types and functions of mutations."""
    variables: dict[str, Type | Declared] = {
        "object": types.DYN,
        "oldObject": types.DYN,
        "namespaceObject": NAMESPACE,
        "request": REQUEST,
    }
    if params:
        variables["params"] = types.DYN
    if authorizer:
        variables |= {"authorizer": NAMED["Authorizer"], "authorizer.requestResource": NAMED["ResourceCheck"]}
    found = environment(version, variables, stored=stored, extra=("jsonpatch",) if patches else ())
    found.roots = {}  # nothing is known of sizes: costs are not estimated here
    return found


def activation(
    *,
    object: Any,
    old: Any,
    request: Mapping[str, Any],
    namespace: Mapping[str, Any] | None = None,
    params: Any = None,
    authorizer: Any = None,
    request_resource: Any = None,
) -> dict[str, Any]:
    """Return the values of the variables; ``namespace`` is the whole Namespace, None for objects outside of any."""
    return {
        "object": object,
        "oldObject": old,
        "request": request,
        "namespaceObject": _exposed(namespace),
        "params": params,
        "authorizer": authorizer,
        "authorizer.requestResource": request_resource,
    }


def _exposed(namespace: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if namespace is None:
        return None
    metadata = namespace.get("metadata") or {}
    shown = {key: metadata[key] for key in NAMESPACE_METADATA if key in metadata}
    return {"metadata": shown, "spec": namespace.get("spec") or {}, "status": namespace.get("status") or {}}


class Compiled(NamedTuple):
    """An expression of a configuration: its program, or why there is none (worded as Kubernetes does)."""

    expression: str
    program: Program | None
    error: str

    def evaluate(self, variables: Mapping[str, Any], budget: Budget) -> tuple[Any, str]:
        """Return the value and the error (""); raises ``BudgetExceeded``, after which nothing more is evaluated."""
        if self.program is None:
            return None, f"compilation error: {self.error}"
        try:
            return self.program.evaluate(variables, budget), ""
        except BudgetExceeded:
            raise
        except CelError as error:
            return None, f"expression '{self.expression}' resulted in error: {error}"


def compiled(expression: str, env: Environment, wanted: Sequence[Type]) -> Compiled:
    """Compile an expression that must give one of the ``wanted`` types (any, where there are none)."""
    try:
        program = compile(expression, env)
    except ProgramError as error:
        return Compiled(expression, None, f"program instantiation failed: {error}")
    except CelError as error:
        return Compiled(expression, None, f"compilation failed: {error}")
    found = program.result_type
    if wanted and found not in wanted:
        if len(wanted) == 1:
            return Compiled(expression, None, f"must evaluate to {plain(wanted[0])} but got {plain(found)}")
        names = " ".join(plain(type) for type in wanted)
        return Compiled(expression, None, f"must evaluate to one of [{names}] but got {plain(found)}")
    return Compiled(expression, program, "")


def plain(type: Type) -> str:
    """Return a type as cel-go's ``Type.String`` writes it."""
    if not type.params:
        return type.name
    return f"{type.name}({', '.join(plain(item) for item in type.params)})"


class Match(NamedTuple):
    """Whether all conditions hold. ``failed`` names the one that does not; ``error``: one could not be evaluated, and
    no other was false (the failurePolicy says what that means)."""

    matches: bool
    failed: str = ""
    error: str = ""


class MatchConditions:
    """The match conditions of one webhook or policy, compiled. ``causes`` says which do not compile."""

    __slots__ = ("_conditions",)

    def __init__(
        self,
        conditions: Sequence[Mapping[str, Any]],
        version: str,
        *,
        params: bool = False,
        stored: bool = True,
        env: Environment | None = None,
    ) -> None:
        env = env or admission_environment(version, params=params, stored=stored)
        self._conditions = [
            (str(one.get("name") or ""), compiled(str(one.get("expression") or ""), env, (types.BOOL,)))
            for one in conditions
        ]

    def __bool__(self) -> bool:
        return bool(self._conditions)

    def causes(self, path: str) -> list[Cause]:
        """Return what is wrong with the expressions; ``path`` is of the list (``webhooks[0].matchConditions``)."""
        return [
            invalid(f"{path}[{index}].expression", condition.expression, condition.error)
            for index, (_, condition) in enumerate(self._conditions)
            if condition.program is None
        ]

    def match(self, variables: Mapping[str, Any], budget: Budget | None = None) -> Match:
        """Evaluate the conditions; one that is false decides, whatever others end in."""
        budget = budget or Budget(MATCH_CONDITIONS_BUDGET)
        errors: list[str] = []
        try:
            for name, condition in self._conditions:
                value, error = condition.evaluate(variables, budget)
                if error:
                    errors.append(error)
                elif value is False:
                    return Match(False, name)
        except BudgetExceeded as exceeded:
            return Match(False, error=str(exceeded))
        if errors:
            unique = list(dict.fromkeys(errors))
            return Match(False, error=unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]")
        return Match(True)
