"""A checked tree as Python closures, each ``frame -> value``; the frame holds the cost so far, variables and locals.

What is constant is computed here: literals, lists and maps of them, conversions of them; ``in`` a constant list is a
look-up. Errors are exceptions: ``&&`` and ``||`` forget them where the other side decides. Costs are counted as
cel-go counts them (``runtime_costs.py``), and looked at in loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.schema.cel import attributes, comprehensions, runtime_costs
from sampan.schema.cel.arithmetic import DYNAMIC
from sampan.schema.cel.attributes import Frame, Run, Step
from sampan.schema.cel.conversions import CONVERTERS
from sampan.schema.cel.errors import EvaluationError, no_overload
from sampan.schema.cel.invocations import invocation
from sampan.schema.cel.matching import dispatcher, plain_arguments
from sampan.schema.cel.nodes import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select, Struct
from sampan.schema.cel.runtime_costs import LIST, MAP, OBJECT
from sampan.schema.cel.standard import pattern
from sampan.schema.cel.values import NONE, ObjectValue, Optional, Uint, type_name

LOCALS = 2
"""Frame places before the variables: cost and limit."""

PRIMITIVE = frozenset((bool, int, Uint, float, str))


class Code(NamedTuple):
    """A compiled node; ``constant``: it costs nothing and is always ``value``."""

    run: Run
    constant: bool = False
    value: Any = None


def constant(value: Any) -> Code:
    return Code(lambda frame: value, True, value)


class Compiler:
    """Compiles one expression. ``slots``: variable → place in the frame, filled as variables are met."""

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self.size = LOCALS
        self.scopes: list[dict[str, int]] = []
        self.bound: dict[int, Run] = {}

    def place(self) -> int:
        self.size += 1
        return self.size - 1

    def code(self, node: Node) -> Code:
        return METHODS[node.__class__](self, node)

    def run(self, node: Node) -> Run:
        return self.code(node).run

    # names and selections

    def slot(self, name: str) -> int:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        if name not in self.slots:
            self.slots[name] = self.place()
        return self.slots[name]

    def literal(self, node: Literal) -> Code:
        return constant(node.value)

    def ident(self, node: Ident, cost: int = 1) -> Code:
        if node.constant is not None and not any(node.name in scope for scope in self.scopes):
            return constant(node.constant)
        slot = self.slot(node.name)
        if slot in self.bound:
            return Code(comprehensions.bound_variable(slot, self.bound[slot]))
        return Code(attributes.variable(slot, cost))

    def select(self, node: Select) -> Code:
        if node.test:
            return Code(attributes.presence(self.branch(node.operand), node.field))
        if node.resolved is not None:
            return self.ident(node.resolved)
        return Code(self.chain(node, 1))

    def chain(self, node: Node, cost: int) -> Run:
        """Return the closure of a chain of selections; ``cost`` is what the chain itself costs."""
        steps: list[Step] = []
        while True:
            if isinstance(node, Select) and not node.test and node.resolved is None:
                steps.append(Step(node.field, None, False))
                node = node.operand
            elif isinstance(node, Call) and node.function in SELECTIONS:
                key = self.code(node.args[1])
                optional = node.function != "_[_]"
                steps.append(Step(key.value, None if key.constant else self.branch(node.args[1]), optional))
                node = node.args[0]
            else:
                break
        steps.reverse()
        if isinstance(node, Select) and node.resolved is not None:
            node = node.resolved
        if isinstance(node, Ident) and (node.constant is None or any(node.name in scope for scope in self.scopes)):
            slot = self.slot(node.name)
            if slot in self.bound:
                return attributes.walk(self.run(node), 0, steps, cost - 1)
            return attributes.walk(None, slot, steps, cost) if steps else attributes.variable(slot, cost)
        if isinstance(node, Call) and node.function == "_?_:_":
            return attributes.walk(self.run(node), 0, steps, 0)
        return attributes.walk(self.run(node), 0, steps, cost)

    def branch(self, node: Node) -> Run:
        """Return the closure of what a conditional chooses: there a chain costs only its steps."""
        if isinstance(node, Ident) and node.constant is None:
            slot = self.slot(node.name)
            return attributes.variable(slot, 0) if slot not in self.bound else self.run(node)
        if _selects(node):
            return self.chain(node, 0)
        return self.run(node)

    # calls

    def call(self, node: Call) -> Code:
        special = SPECIAL.get(node.function)
        if special is not None:
            return special(self, node)
        nodes = [node.target, *node.args] if node.target is not None else node.args
        args = [self.code(arg) for arg in nodes]
        if node.function in CONVERTERS and len(args) == 1 and args[0].constant:
            return constant(self.function(node, [arg.type.kind for arg in nodes])(args[0].value))
        kinds = [arg.type.kind for arg in nodes]
        if node.function == "@in" and args[1].constant and [one.id for one in node.overloads] == ["in_list"]:
            found = _membership(args[0], args[1].value)
            if found is not None:
                return found
        if node.function in PATTERNED and len(args) > 1 and args[1].constant and isinstance(args[1].value, str):
            pattern(args[1].value)  # a constant that is no pattern is found when the program is made
        scalars = runtime_costs.all_scalar(kinds)
        cost = runtime_costs.call_cost(node.function, node.overloads, scalars)
        return Code(invocation(self.function(node, kinds), [arg.run for arg in args], cost, node.function))

    def function(self, node: Call, kinds: list[str]) -> Callable[..., Any]:
        if len(node.overloads) == 1 and plain_arguments(node.overloads[0], kinds):
            run: Callable[..., Any] = node.overloads[0].run
            return run
        return DYNAMIC.get(node.function) or dispatcher(node)

    def logical(self, node: Call) -> Code:
        decides = node.function == "_||_"
        return Code(_logical(self.run(node.args[0]), self.run(node.args[1]), decides))

    def conditional(self, node: Call) -> Code:
        test, then, other = self.run(node.args[0]), self.branch(node.args[1]), self.branch(node.args[2])

        def run(frame: Frame) -> Any:
            value = test(frame)
            if value is True:
                return then(frame)
            if value is False:
                return other(frame)
            raise no_overload()

        return Code(run)

    def selection(self, node: Call) -> Code:
        return Code(self.chain(node, 1))

    def optional_or(self, node: Call) -> Code:
        if node.target is None:
            return self.call(node)
        left, right = self.run(node.target), self.run(node.args[0])
        unwrap = node.function == "orValue"

        def run(frame: Frame) -> Any:
            value = left(frame)
            if not isinstance(value, Optional):
                raise no_overload()
            if value.present:
                return value.value if unwrap else value
            return right(frame)

        return Code(run)

    # aggregates

    def list_literal(self, node: ListNode) -> Code:
        codes = [self.code(element) for element in node.elements]
        if not node.optional and all(code.constant for code in codes):
            return constant([code.value for code in codes])
        runs = [code.run for code in codes]
        optional = node.optional

        def run(frame: Frame) -> list[Any]:
            values = [run(frame) for run in runs]
            frame[0] += LIST
            return _without_missing(values, optional) if optional else values

        return Code(run)

    def map_literal(self, node: MapNode) -> Code:
        keys = [self.code(entry.key) for entry in node.entries]
        values = [self.code(entry.value) for entry in node.entries]
        pairs = [
            (key.run, value.run, entry.optional) for key, value, entry in zip(keys, values, node.entries, strict=True)
        ]

        def run(frame: Frame) -> dict[Any, Any]:
            found: dict[Any, Any] = {}
            for key_run, value_run, optional in pairs:
                key, value = key_run(frame), value_run(frame)
                if type(key) not in (str, int, bool, Uint):
                    raise EvaluationError(f"unsupported key type: {type_name(key)}")
                if optional:
                    if not isinstance(value, Optional):
                        raise EvaluationError(f"cannot initialize optional entry '{attributes.shown(key)}'")
                    if not value.present:
                        continue
                    value = value.value
                found[key] = value
            frame[0] += MAP
            return found

        if all(code.constant for code in (*keys, *values)) and not any(entry.optional for entry in node.entries):
            return constant(run([0, 0]))
        return Code(run)

    def struct(self, node: Struct) -> Code:
        pairs = [(field.key, self.run(field.value), field.optional) for field in node.fields]
        name = node.name

        def run(frame: Frame) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for key, value_run, optional in pairs:
                value = value_run(frame)
                if optional:
                    if not isinstance(value, Optional) or not value.present:
                        continue
                    value = value.value
                found[key] = value
            frame[0] += OBJECT
            return ObjectValue(name, found)

        return Code(run)

    # loops

    def comprehension(self, node: Comprehension) -> Code:
        if node.macro == "bind":
            return self.binding(node)
        range = self.run(node.range)
        slots = (self.place(), self.place() if node.var2 else 0)
        scope = {node.var: slots[0], **({node.var2: slots[1]} if node.var2 else {})}
        if node.macro in ("all", "exists"):
            predicate = self.within(scope, node.step.args[1])  # type: ignore[attr-defined]
            return Code(comprehensions.quantifier(range, predicate.run, slots, node.macro == "all"))
        if node.macro == "exists_one":
            predicate = self.within(scope, node.step.args[0])  # type: ignore[attr-defined]
            return Code(comprehensions.exists_one(range, predicate.run, slots))
        if node.macro == "map":
            return self.mapping(node, range, slots, scope)
        accu = self.place()
        init = self.run(node.init)
        inner = {**scope, node.accu: accu}
        parts = [self.within(inner, part).run for part in (node.condition, node.step, node.result)]
        return Code(comprehensions.fold(range, slots, accu, init, *parts))

    def mapping(self, node: Comprehension, range: Run, slots: tuple[int, int], scope: dict[str, int]) -> Code:
        step = node.step
        assert isinstance(step, Call)
        predicate = None
        if step.function == "_?_:_":
            predicate = self.within(scope, step.args[0]).run
            step = step.args[1]
            assert isinstance(step, Call)
        element = step.args[1].elements[0]  # type: ignore[attr-defined]
        transform = self.within(scope, element)
        per_item = 2 + (0 if transform.constant else LIST)
        return Code(comprehensions.mapping(range, predicate, transform.run, slots, per_item))

    def within(self, scope: dict[str, int], node: Node) -> Code:
        self.scopes.append(scope)
        try:
            return self.code(node)
        finally:
            self.scopes.pop()

    def binding(self, node: Comprehension) -> Code:
        slot = self.place()
        self.bound[slot] = self.run(node.init)
        return Code(comprehensions.binding(slot, self.within({node.accu: slot}, node.result).run))


def _selects(node: Node) -> bool:
    if isinstance(node, Select):
        return not node.test
    return isinstance(node, Call) and node.function in SELECTIONS


PATTERNED = frozenset(("matches", "find", "findAll"))
SELECTIONS = frozenset(("_[_]", "_[?_]", "_?._"))
METHODS: dict[type, Callable[[Compiler, Any], Code]] = {
    Literal: Compiler.literal,
    Ident: Compiler.ident,
    Select: Compiler.select,
    Call: Compiler.call,
    ListNode: Compiler.list_literal,
    MapNode: Compiler.map_literal,
    Struct: Compiler.struct,
    Comprehension: Compiler.comprehension,
}
SPECIAL: dict[str, Callable[[Compiler, Call], Code]] = {
    "_&&_": Compiler.logical,
    "_||_": Compiler.logical,
    "_?_:_": Compiler.conditional,
    "or": Compiler.optional_or,
    "orValue": Compiler.optional_or,
    **dict.fromkeys(SELECTIONS, Compiler.selection),
}


def _logical(left: Run, right: Run, decides: bool) -> Run:
    """``||`` (``decides`` True) and ``&&`` (False)."""

    def run(frame: Frame) -> Any:
        try:
            value = left(frame)
        except EvaluationError as error:
            if right(frame) is decides:
                return decides
            raise error from None
        if value is decides:
            return decides
        other = right(frame)
        if other is decides:
            return decides
        if value is not (not decides) or other is not (not decides):
            raise no_overload()
        return not decides

    return run


def _membership(wanted: Code, items: list[Any]) -> Code | None:
    """``x in [constants]`` as a look-up, which costs nothing; None where the items cannot be looked up."""
    if not items:
        return constant(False)
    if not all(type(item) in PRIMITIVE for item in items):
        return None
    numbers = frozenset(item for item in items if type(item) not in (bool, str))
    others = frozenset(item for item in items if type(item) is str)
    booleans = frozenset(item for item in items if type(item) is bool)
    sets = {str: others, bool: booleans, int: numbers, Uint: numbers, float: numbers}

    def among(value: Any) -> bool:
        return value in sets.get(type(value), ())

    if wanted.constant:
        return constant(among(wanted.value))
    run = wanted.run
    return Code(lambda frame: among(run(frame)))


def _without_missing(values: list[Any], optional: frozenset[int]) -> list[Any]:
    found: list[Any] = []
    for index, value in enumerate(values):
        if index not in optional:
            found.append(value)
        elif not isinstance(value, Optional):
            raise EvaluationError(
                f"cannot initialize optional list element from non-optional value {attributes.shown(value)}"
            )
        elif value is not NONE and value.present:
            found.append(value.value)
    return found
