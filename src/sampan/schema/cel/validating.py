"""Rules of a custom resource's schema at work: each object that is written is held against them.

``compile_rules`` makes a tree of the places that have rules, once for each version of a definition; ``RuleTree.validate``
walks an object along it. Transition rules find the old value by field and by the keys of map lists; what has not
changed and was refused before is a warning (ratcheting, KEP-4008). One budget is shared by all rules of an object.
Source: apiextensions-apiserver pkg/apiserver/schema/cel/validation.go; apiserver pkg/cel/common/equality.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from sampan.schema.causes import Cause, duplicate, forbidden, quoted, required
from sampan.schema.cel.convert import Convert, converter
from sampan.schema.cel.declared import EMBEDDED, Declared, escape, of_schema
from sampan.schema.cel.environment import minor_of
from sampan.schema.cel.errors import CostExceeded
from sampan.schema.cel.field_paths import field_path
from sampan.schema.cel.program import OBJECT_BUDGET, Result
from sampan.schema.cel.rules import RULES, CompiledRule, compile_rule, has_rules
from sampan.schema.cel.values import NONE, Optional
from sampan.schema.correlation import map_keys, old_item, same

LONGEST_MESSAGE = 5 * 1024
ROOT = "<nil>"
"""The path of the whole object."""

OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
UNCHECKED = Cause(
    ROOT,
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)
"""What stands instead of the rules where the schema itself has refused the object."""

BLOCKING = frozenset(
    ("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
)


class Rule(NamedTuple):
    compiled: CompiledRule
    shown: str
    """The rule as messages name it: its message, or its expression."""
    message: str
    reason: str
    place: str
    """Its ``fieldPath``, as causes show it."""
    optional_old: bool


class Run:
    """One validation: the causes and warnings found, and what is left of the budget."""

    __slots__ = ("causes", "ratchets", "remaining", "warnings")

    def __init__(self, ratchets: bool) -> None:
        self.causes: list[Cause] = []
        self.warnings: list[str] = []
        self.remaining = OBJECT_BUDGET
        self.ratchets = ratchets


class _OutOfBudget(Exception):
    """No further rule may be evaluated."""


class Old(NamedTuple):
    """What is known of a place's past. ``current``: the value there before, None where it cannot be found; ``parent``:
    the nearest place above whose past is known, as (tree, new, old)."""

    current: tuple[Any] | None = None
    parent: tuple[RuleTree, Any, Any] | None = None

    def under(self, tree: RuleTree, new: Any, name: str | int) -> Old:
        """Return the past of a field or an item."""
        if self.current is None:
            return self
        if self.parent is None and name in ("apiVersion", "kind"):
            return Old()
        return Old(tree.before(new, self.current[0], name), (tree, new, self.current[0]))

    def unchanged(self, tree: RuleTree, new: Any) -> bool:
        if self.current is not None:
            return same(tree.schema, new, self.current[0])
        return self.parent is not None and same(self.parent[0].schema, *self.parent[1:])


class RuleTree:
    """The rules of one place of a schema and of all below it; also what correlates new and old values there."""

    __slots__ = ("additional", "convert", "items", "keys", "kind", "properties", "rules", "schema", "uses_old")

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.kind: str = schema.get("type") or ""
        self.rules: list[Rule] = []
        self.uses_old = False
        self.convert: Convert | None = None
        self.properties: dict[str, RuleTree] = {}
        self.items: RuleTree | None = None
        self.additional: RuleTree | None = None
        self.keys = map_keys(schema)
        self.schema = schema

    # the past

    def before(self, new: Any, old: Any, name: str | int) -> tuple[Any] | None:
        if isinstance(name, int):
            found = old_item(self.keys, new[name], old)
            return None if found is None else (found,)
        if isinstance(new, dict) and isinstance(old, dict) and name in new and name in old:
            return (old[name],)
        return None

    # validation

    def validate(self, obj: Any, old: Any, ratchets: bool) -> Run:
        """Hold a whole object against the rules; ``old`` is None on create."""
        run = Run(ratchets)
        past = Old((old,)) if ratchets and old is not None else Old()
        with suppress(_OutOfBudget):
            self.visit(run, "", obj, old, past)
        return run

    def visit(self, run: Run, path: str, obj: Any, old: Any, past: Old) -> None:
        if obj is None:
            return
        if self.rules:
            self.evaluate(run, path, obj, old, past)
        if isinstance(obj, dict):
            before = old if isinstance(old, dict) else {}
            for key, value in obj.items():
                below, place = self.properties.get(key), f"{path}.{key}" if path else key
                if below is None and self.additional is not None:
                    below, place = self.additional, f"{path}[{key}]"
                if below is not None:
                    below.visit(run, place, value, before.get(key), past.under(self, obj, key))
        elif isinstance(obj, list) and self.items is not None:
            for index, item in enumerate(obj):
                before_item = old_item(self.keys, item, old)
                self.items.visit(run, f"{path}[{index}]", item, before_item, past.under(self, obj, index))

    def evaluate(self, run: Run, path: str, obj: Any, old: Any, past: Old) -> None:
        if run.remaining <= 0:
            self.refuse(run, path, OUT_OF_BUDGET)
            raise _OutOfBudget
        value = obj if self.convert is None else self.convert(obj)
        before = None if old is None or not self.uses_old else old if self.convert is None else self.convert(old)
        plain = {"self": value} if old is None else {"self": value, "oldSelf": before}
        for rule in self.rules:
            uses_old = rule.compiled.uses_old_self
            if uses_old and old is None and not (rule.optional_old and run.ratchets):
                continue
            shown_old = before
            if rule.optional_old:
                shown_old = NONE if old is None else Optional(before)
            self.apply(run, rule, path, obj, ({"self": value, "oldSelf": shown_old}, plain), past)

    def apply(
        self, run: Run, rule: Rule, path: str, obj: Any, variables: tuple[dict[str, Any], dict[str, Any]], past: Old
    ) -> None:
        """Evaluate one rule. ``variables``: the rule's, and its message's, where ``oldSelf`` is never an optional."""
        if rule.compiled.program is None:
            self.refuse(run, path, f"rule compile error: {rule.compiled.error}")
            return
        result = rule.compiled.program.result(variables[0])
        self.spend(run, path, result)
        if result.error is not None:
            self.failed(run, rule, path, result)
        elif result.value is not True:
            place = rule.place and (f"{path}.{rule.place}" if path else rule.place)
            detail = self.detail(run, rule, place or path, variables[1])
            cause = self.cause(rule, place or path or ROOT, obj, detail)
            if not rule.compiled.uses_old_self and run.ratchets and past.unchanged(self, obj):
                run.warnings.append(f"{cause.field}: {cause.message}")
            else:
                run.causes.append(cause)

    def spend(self, run: Run, path: str, result: Result) -> None:
        if result.cost > run.remaining:
            self.refuse(run, path, OUT_OF_BUDGET)
            raise _OutOfBudget
        run.remaining -= result.cost

    def refuse(self, run: Run, path: str, why: str) -> None:
        message = f"Invalid value: {quoted(self.kind)}: {why}"
        run.causes.append(Cause(path or ROOT, "FieldValueInvalid", message))

    def failed(self, run: Run, rule: Rule, path: str, result: Result) -> None:
        text = str(result.error)
        if isinstance(result.error, CostExceeded):
            why = f"'{text}': no further validation rules will be run due to call cost exceeds limit for rule: "
            self.refuse(run, path, why + rule.shown)
            raise _OutOfBudget
        if text.startswith("no such overload"):
            why = f"'{text}': call arguments did not match a supported operator, function or macro signature for rule: "
            self.refuse(run, path, why + rule.shown)
        else:
            self.refuse(run, path, f"{text} evaluating rule: {rule.shown}")

    def detail(self, run: Run, rule: Rule, path: str, variables: dict[str, Any]) -> str:
        """Return the message of a rule that is false: its messageExpression's where that gives a good one."""
        program = rule.compiled.message
        if program is None:
            return rule.message
        result = program.result(variables)
        why = ""
        if result.cost > run.remaining:
            why = f"messageExpression evaluation failed due to {OUT_OF_BUDGET.partition('due to ')[2]}"
        elif isinstance(result.error, CostExceeded):
            shown = quoted(program.expression)
            why = (
                f"no further validation rules will be run due to call cost exceeds limit for messageExpression: {shown}"
            )
        if why:
            self.refuse(run, path, why)
            raise _OutOfBudget
        run.remaining -= result.cost
        text = result.value.strip() if result.error is None and isinstance(result.value, str) else ""
        good = text and "\n" not in text and len(text.encode()) <= LONGEST_MESSAGE
        return text if good else rule.message

    def cause(self, rule: Rule, path: str, obj: Any, detail: str) -> Cause:
        if rule.reason == "FieldValueForbidden":
            return forbidden(path, detail)
        if rule.reason == "FieldValueRequired":
            return required(path, detail)
        if rule.reason == "FieldValueDuplicate":
            shown = self.kind not in ("object", "array")
            return duplicate(path, obj) if shown else Cause(path, "FieldValueDuplicate", "Duplicate value")
        return invalid_value(path, self.kind, obj, detail)


def invalid_value(path: str, kind: str, obj: Any, detail: str) -> Cause:
    """An object or a list is not shown."""
    if kind in ("object", "array"):
        return Cause(path, "FieldValueInvalid", f"Invalid value: {detail}")
    return Cause(path, "FieldValueInvalid", f"Invalid value: {quoted(obj)}: {detail}")


def compile_rules(schema: Mapping[str, Any], version: str) -> RuleTree | None:
    """Return the rules of a structural schema, None where it has none. Nothing is refused here: a rule that does not
    compile refuses objects."""
    if not has_rules(schema):
        return None
    return _tree(schema, of_schema(schema, "selfType", root=True), version, root=True)


def ratchets(version: str) -> bool:
    """Whether a Kubernetes version forgives what was refused before (since 1.30)."""
    return minor_of(version) >= 30


def _tree(schema: Mapping[str, Any], declared: Declared | None, version: str, root: bool) -> RuleTree:
    tree = RuleTree(schema)
    if declared is None and schema.get(RULES):
        declared = of_schema(schema, "selfType", root=root)
    if declared is not None:
        tree.rules = [_rule(rule, schema, declared, version) for rule in schema.get(RULES) or ()]
        tree.uses_old = any(rule.compiled.uses_old_self for rule in tree.rules)
        tree.convert = converter(schema, root=root) if tree.rules else None
    for name, child in (schema.get("properties") or {}).items():
        if not has_rules(child):
            continue
        identifier = escape(name)
        field = declared.fields.get(identifier) if declared is not None and declared.fields and identifier else None
        below = field.declared if field is not None else None
        tree.properties[name] = _tree(child, below, version, bool(child.get(EMBEDDED)))
    element = declared.element if declared is not None else None
    items, more = schema.get("items"), schema.get("additionalProperties")
    if isinstance(items, dict) and has_rules(items):
        tree.items = _tree(items, element, version, bool(items.get(EMBEDDED)))
    if isinstance(more, dict) and has_rules(more):
        tree.additional = _tree(more, element, version, bool(more.get(EMBEDDED)))
    return tree


def _rule(rule: Mapping[str, Any], schema: Mapping[str, Any], declared: Declared, version: str) -> Rule:
    expression, message = str(rule.get("rule") or "").strip(), str(rule.get("message") or "").strip()
    place = rule.get("fieldPath")
    return Rule(
        compile_rule(rule, declared, version, None),
        message or expression,
        message or f"failed rule: {expression}",
        str(rule.get("reason") or ""),
        (field_path(place, schema) or "") if place else "",
        bool(rule.get("optionalOldSelf")),
    )
