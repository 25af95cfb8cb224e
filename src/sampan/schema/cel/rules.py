"""``x-kubernetes-validations``: the rules of a custom resource's schema, judged when the definition is written.

``check_rules`` walks a structural schema and says which rules are malformed, do not compile or may cost too much, in
the words and at the paths of kube-apiserver. A rule's own estimate is multiplied by how often its place may occur.
Source: KEP-2876; apiextensions-apiserver pkg/apis/apiextensions/validation (validation.go, cel_validation.go),
pkg/apiserver/schema/cel.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

from sampan.schema.causes import Cause, forbidden, invalid, not_supported, required
from sampan.schema.cel import types
from sampan.schema.cel.declared import EMBEDDED, MAX_REQUEST_BYTES, Declared, escape, of_schema
from sampan.schema.cel.environment import Environment, environment
from sampan.schema.cel.errors import CelError
from sampan.schema.cel.field_paths import field_path
from sampan.schema.cel.program import Program, ProgramError, compile
from sampan.schema.cel.types import Type, optional_of

Schema = Mapping[str, Any]
RULES = "x-kubernetes-validations"
EXPRESSION_LIMIT = 10_000_000
"""What one rule may be estimated to cost."""

SCHEMA_LIMIT = 100_000_000
"""What all rules of a schema may be estimated to cost."""

CAP = 2**64 - 1
REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def has_rules(schema: Any) -> bool:
    """Whether there are rules anywhere in a schema."""
    if not isinstance(schema, dict):
        return False
    if schema.get(RULES):
        return True
    if any(has_rules(child) for child in (schema.get("properties") or {}).values()):
        return True
    return has_rules(schema.get("items")) or has_rules(schema.get("additionalProperties"))


def rule_environment(version: str, declared: Declared, rule: Schema, stored: bool) -> Environment:
    """Return what a rule may use: ``self`` and ``oldSelf``, an optional where it says ``optionalOldSelf``."""
    old: Type | Declared = optional_of(declared.type) if rule.get("optionalOldSelf") else declared
    return environment(version, {"self": declared, "oldSelf": old}, stored=stored)


class CompiledRule(NamedTuple):
    """A rule's programs, or why there are none."""

    program: Program | None
    error: str
    message: Program | None
    message_error: str

    @property
    def uses_old_self(self) -> bool:
        return self.program is not None and "oldSelf" in self.program.variables


def _compile(text: str, env: Environment, wanted: Type, prefix: str, refusal: str) -> tuple[Program | None, str]:
    try:
        program = compile(text, env)
    except ProgramError as error:
        return None, f"{prefix.rstrip() or 'program'} instantiation failed: {error}"
    except CelError as error:
        return None, f"{prefix}compilation failed: {error}"
    return (program, "") if program.result_type == wanted else (None, refusal)


def compile_rule(rule: Schema, declared: Declared, version: str, known: Collection[str] | None) -> CompiledRule:
    """Compile one rule. ``known``: expressions that are stored already and may use more; None: all are."""
    expression, message = str(rule.get("rule") or ""), str(rule.get("messageExpression") or "")
    stored = known is None or expression in known
    env = rule_environment(version, declared, rule, stored)
    program, error = _compile(expression, env, types.BOOL, "", "cel expression must evaluate to a bool")
    if program is None or not message:
        return CompiledRule(program, error, None, "")
    env = rule_environment(version, declared, rule, known is None or message in known)
    refusal = "messageExpression must evaluate to a string"
    return CompiledRule(program, "", *_compile(message, env, types.STRING, "messageExpression ", refusal))


class _Place(NamedTuple):
    """Where the walk is. ``times``: how often the place may occur at most, None where nothing bounds it;
    ``uncorrelatable``: the path of the outermost list whose old items cannot be found."""

    path: str
    times: int | None
    uncorrelatable: str
    declared: Declared | None
    root: bool = False


class _Checker:
    def __init__(self, version: str, known: Collection[str], limited: bool) -> None:
        self.version = version
        self.known = known
        self.limited = limited
        self.schema_causes: list[Cause] = []
        self.rule_causes: list[Cause] = []
        self.total = 0
        self.dear: list[tuple[int, str]] = []

    def walk(self, schema: Schema, place: _Place) -> bool:
        """Check a node and all below it; returns whether the rules' own fields are right there."""
        if not has_rules(schema):
            return True
        declared = place.declared
        if declared is None:
            declared = of_schema(schema, "selfType", root=place.root)
            place = place._replace(declared=declared)
        fine = True
        for child, below in self.below(schema, place):
            fine = self.walk(child, below) and fine
        before = len(self.schema_causes)
        for index, rule in enumerate(schema.get(RULES) or ()):
            self.schema_causes += form(rule, schema, f"{place.path}.{RULES}[{index}]")
        fine = fine and len(self.schema_causes) == before
        if fine and schema.get(RULES):
            self.rules(schema, place)
        return fine

    def below(self, schema: Schema, place: _Place) -> Iterator[tuple[Schema, _Place]]:
        declared, times = place.declared, _multiplied(place.times, _occurrences(schema))
        for name, child in (schema.get("properties") or {}).items():
            identifier = escape(name)
            field = declared.fields.get(identifier) if declared is not None and declared.fields and identifier else None
            yield (
                child,
                _Place(
                    f"{place.path}.properties[{name}]",
                    times,
                    place.uncorrelatable,
                    field.declared if field is not None else None,
                    bool(child.get(EMBEDDED)),
                ),
            )
        element = declared.element if declared is not None else None
        items, more = schema.get("items"), schema.get("additionalProperties")
        if isinstance(items, dict):
            by_keys = schema.get("x-kubernetes-list-type") == "map"
            lost = place.uncorrelatable or ("" if by_keys else place.path)
            yield items, _Place(f"{place.path}.items", times, lost, element, bool(items.get(EMBEDDED)))
        if isinstance(more, dict):
            path = f"{place.path}.additionalProperties"
            yield more, _Place(path, times, place.uncorrelatable, element, bool(more.get(EMBEDDED)))

    def rules(self, schema: Schema, place: _Place) -> None:
        if place.declared is None:
            text = (
                f"internal error: failed to construct type information for {RULES} rules: unable to convert structural"
            )
            message = f"Internal error: {text} schema to CEL declarations"
            self.rule_causes.append(Cause(f"{place.path}.{RULES}", "InternalError", message))
            return
        times = place.times if place.times is not None else MAX_REQUEST_BYTES // (place.declared.smallest + 1)
        for index, rule in enumerate(schema[RULES]):
            self.rule(rule, place, place.declared, times, f"{place.path}.{RULES}[{index}]")

    def rule(self, rule: Schema, place: _Place, declared: Declared, times: int, path: str) -> None:
        compiled = compile_rule(rule, declared, self.version, self.known)
        cost = compiled.program.estimated_cost.most if compiled.program is not None else 0
        self.cost(min(cost * times, CAP), "estimated rule cost", f"{path}.rule")
        if compiled.error:
            self.rule_causes.append(_refused(f"{path}.rule", rule, compiled.error))
        if compiled.message_error:
            self.rule_causes.append(_refused(f"{path}.messageExpression", rule, compiled.message_error))
        elif compiled.message is not None:
            most = compiled.message.estimated_cost.most
            self.cost(most, "estimated messageExpression cost", f"{path}.messageExpression")
        if compiled.uses_old_self:
            if place.uncorrelatable:
                text = (
                    f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place.uncorrelatable}"
                )
                self.rule_causes.append(invalid(f"{path}.rule", rule["rule"], text))
        elif rule.get("optionalOldSelf") is not None:
            text = "may not be set if oldSelf is not used in rule"
            self.rule_causes.append(invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], text))

    def cost(self, cost: int, name: str, path: str) -> None:
        if self.limited and cost > EXPRESSION_LIMIT:
            self.rule_causes.append(forbidden(path, too_dear(name, cost, EXPRESSION_LIMIT)))
        self.total = min(self.total + cost, CAP)
        if cost >= SCHEMA_LIMIT // 100:
            self.dear = sorted([*self.dear, (cost, path)], key=lambda item: -item[0])[:4]

    def totals(self, path: str) -> list[Cause]:
        if self.total <= SCHEMA_LIMIT:
            return []
        text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        name = f"{RULES} estimated rule cost total for entire OpenAPIv3 schema"
        return [
            *(forbidden(place, text) for _, place in self.dear),
            forbidden(path, too_dear(name, self.total, SCHEMA_LIMIT)),
        ]


def check_rules(
    schema: Schema, path: str, version: str, known: Collection[str] = frozenset(), limited: bool = True
) -> list[Cause]:
    """Return what is wrong with the rules of a structural schema. ``known``: the expressions of the definition as it is
    stored; ``limited=False``: no rule is refused for its own cost (the schema has not changed)."""
    if not has_rules(schema):
        return []
    checker = _Checker(version, known, limited)
    checker.walk(schema, _Place(path, 1, "", None, root=True))
    return [*checker.schema_causes, *checker.rule_causes, *checker.totals(path)]


def expressions(schema: Any) -> Iterator[str]:
    """Yield every expression of a schema's rules."""
    if not isinstance(schema, dict):
        return
    for rule in schema.get(RULES) or ():
        yield from (str(rule[key]) for key in ("rule", "messageExpression") if rule.get(key))
    for child in (schema.get("properties") or {}).values():
        yield from expressions(child)
    yield from expressions(schema.get("items"))
    yield from expressions(schema.get("additionalProperties"))


def _occurrences(schema: Schema) -> int | None:
    """Return how often what is below a schema may occur in one occurrence of it."""
    if schema.get("type") == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    elif schema.get("type") == "array":
        most = schema.get("maxItems")
    else:
        return 1
    return None if most is None else max(most, 0)


def _multiplied(times: int | None, more: int | None) -> int | None:
    return None if times is None or more is None else min(times * more, CAP)


def too_dear(name: str, cost: int, limit: int) -> str:
    exceeds = cost / limit
    factor = "more than 100x" if exceeds > 100 else f"{exceeds:.6f}x" if exceeds < 1.5 else f"{exceeds:.1f}x"
    advice = (
        "try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings"
    )
    return f"{name} exceeds budget by factor of {factor} ({advice} are declared)"


def _refused(path: str, rule: Schema, why: str) -> Cause:
    """The bad value shown is the whole rule, as Go marshals its internal type."""
    shown = {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    text = json.dumps(shown, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Cause(path, "FieldValueInvalid", f"Invalid value: {text}: {why}")


def _lines(text: str) -> bool:
    return "\n" in text or "\r" in text


def form(rule: Schema, schema: Schema, path: str) -> Iterator[Cause]:
    """Yield what is wrong with the fields of one rule, its expressions aside."""
    expression, message = str(rule.get("rule") or "").strip(), str(rule.get("message") or "")
    if not expression:
        yield required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _lines(message.strip()):
        yield invalid(f"{path}.message", message, "must not contain line breaks")
    elif _lines(expression) and not message.strip():
        yield required(f"{path}.message", "message must be specified if rule contains line breaks")
    if rule.get("messageExpression") and not str(rule["messageExpression"]).strip():
        yield required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    if rule.get("reason") is not None and rule["reason"] not in REASONS:
        yield not_supported(f"{path}.reason", rule["reason"], REASONS)
    place = rule.get("fieldPath") or ""
    if place and not place.strip():
        yield invalid(f"{path}.fieldPath", place, "must be non-empty if specified")
    if _lines(place):
        yield invalid(f"{path}.fieldPath", place, "must not contain line breaks")
    if place and field_path(place, schema) is None:
        yield invalid(f"{path}.fieldPath", place, "must be a valid path")
