"""What an expression may cost at least and at most, before it is evaluated: from constants and declared sizes.

A rule whose highest estimate is over the limit is refused when it is written, so the estimates are exactly those of
cel-go checker/cost.go with apiserver's functions. Sizes are ranges; a path (``self.items.@items``) finds the declared
type behind a node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.schema.cel import call_estimates
from sampan.schema.cel.call_estimates import UNKNOWN, Range, at_most, exactly
from sampan.schema.cel.environment import Environment
from sampan.schema.cel.nodes import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select, Struct
from sampan.schema.cel.runtime_costs import LIST, MAP, OBJECT
from sampan.schema.cel.types import SCALARS, Type, is_optional

Path = tuple[str, ...]


class Estimate(NamedTuple):
    """Costs of one evaluation in CEL's units, capped at 2^64-1."""

    least: int
    most: int


class Entry(NamedTuple):
    """Sizes of the keys and values of a list or map that the expression makes."""

    kind: str
    key: Range
    value: Range


class Local(NamedTuple):
    path: Path
    size: Range | None
    entry: Entry | None


def estimate(node: Node, environment: Environment) -> Estimate:
    """Return the estimate of a checked tree."""
    found = Estimator(environment).cost(node)
    return Estimate(found.low, found.high)


ONE = exactly(1)
NOTHING = exactly(0)


class Estimator:
    """Walks a tree once, keeping what it learns of its nodes by their identity."""

    def __init__(self, environment: Environment) -> None:
        self.root = next(iter(environment.roots.values()), None)
        self.paths: dict[int, Path] = {}
        self.sizes: dict[int, Range] = {}
        self.entries: dict[int, Entry] = {}
        self.locals: dict[str, list[Local]] = {}

    def cost(self, node: Node) -> Range:
        return METHODS[node.__class__](self, node)

    # what is known of a node

    def path(self, node: Node) -> Path:
        if isinstance(node, Ident) and self.locals.get(node.name):
            return self.locals[node.name][-1].path
        return self.paths.get(id(node), ())

    def declared_size(self, path: Path) -> Range | None:
        """Return how large the schema lets the value at a path be. Whatever a path begins with, Kubernetes looks from
        the root of the one declared type, and so gives every other name the root's size."""
        declared = self.root if path else None
        if declared is None:
            return None
        for name in path[1:]:
            if name in ("@items", "@values"):
                declared = declared.element
            elif name == "@keys":
                declared = declared.key
            else:
                field = (declared.fields or {}).get(name)
                declared = field.declared if field is not None else None
            if declared is None:
                return None
        return at_most(declared.largest)

    def size(self, node: Node) -> Range | None:
        known = self.sizes.get(id(node)) or _literal_size(node)
        if known is not None:
            return known
        found = self.declared_size(self.path(node))
        if found is not None:
            self.sizes[id(node)] = found
            return found
        if _is_scalar(node.type):
            return ONE
        if isinstance(node, Ident) and self.locals.get(node.name):
            return self.locals[node.name][-1].size
        return None

    def size_or_unknown(self, node: Node) -> Range:
        return self.size(node) or UNKNOWN

    def item_size(self, node: Node) -> Range:
        """Return the size of a list's items, from the schema."""
        path = self.path(node)
        if path and path[0].startswith("@result"):
            path = ()
        return (self.declared_size((*path, "@items")) if path else None) or UNKNOWN

    def entry(self, node: Node) -> Entry | None:
        found = self.entries.get(id(node))
        if found is None and isinstance(node, Ident) and self.locals.get(node.name):
            return self.locals[node.name][-1].entry
        return found

    # nodes

    def literal(self, node: Literal) -> Range:
        return NOTHING

    def ident(self, node: Ident) -> Range:
        known = self.locals.get(node.name)
        self.paths[id(node)] = known[-1].path if known else (node.name,)
        return ONE

    def select(self, node: Select) -> Range:
        if node.resolved is not None:
            self.paths[id(node)] = (node.resolved.name,)
            return ONE
        operand = self.cost(node.operand)
        if node.test:
            return operand
        self.paths[id(node)] = (*self.path(node.operand), node.key)
        return operand + ONE if node.operand.type.kind in ("map", "object", "param") else operand

    def call(self, node: Call) -> Range:
        if node.function == "_?._":
            return self.cost(node.args[0]) + ONE
        if node.function == "dyn":
            cost = self.cost(node.args[0]) + ONE
            self.copy(node, node.args[0])
            return cost
        costs = [self.cost(arg) for arg in node.args]
        total = self.cost(node.target) if node.target is not None else NOTHING
        low, high = Range(2**64 - 1, 2**64 - 1), NOTHING
        function, size = Range(low.low, high.high), None
        for overload in node.overloads:
            cost, result = self.overload(node, overload.id, costs)
            function = function.union(cost)
            size = result if size is None else size.union(result) if result is not None else size
            if overload.id in ("index_list", "index_map"):
                container = node.args[0]
                entry = self.entry(container)
                size = entry.value if entry is not None else None
                self.paths[id(node)] = (*self.path(container), "@items" if overload.id == "index_list" else "@values")
            if size is None:
                size = self.size(node)
        if size is not None:
            self.sizes[id(node)] = size
        return total + function if node.overloads else NOTHING

    def overload(self, node: Call, id_: str, costs: list[Range]) -> tuple[Range, Range | None]:
        """Return the cost of a call by one overload, arguments included, and the size of its result."""
        if id_ in ("logical_or", "logical_and"):
            return Range(costs[0].low, (costs[0] + costs[1]).high), None
        if id_ == "conditional":
            first, second = self.entry(node.args[1]), self.entry(node.args[2])
            if first is not None and second is not None:
                self.entries[id(node)] = _joined(first, second)
            size = self.size_or_unknown(node.args[1]).union(self.size_or_unknown(node.args[2]))
            return costs[0] + costs[1].union(costs[2]), size
        args = NOTHING
        for cost in costs:
            args = args + cost
        found = call_estimates.call(self, node, id_)
        if found is not None:
            return found.cost + args, found.size
        if id_ in ("add_string", "add_bytes", "add_list"):
            size = self.size_or_unknown(node.args[0]) + self.size_or_unknown(node.args[1])
            first, second = self.entry(node.args[0]), self.entry(node.args[1])
            if first is not None and second is not None:
                self.entries[id(node)] = _joined(first, second)
            return (ONE if id_ == "add_list" else size.factor(0.1)) + args, size
        return ONE + args, None

    def list_literal(self, node: ListNode) -> Range:
        total, size = exactly(LIST), Range(0 if not node.elements else 2**64 - 1, 0)
        for element in node.elements:
            total = total + self.cost(element)
            size = size.union(self.size_or_unknown(element))
        self.entries[id(node)] = Entry("list", ONE, size)
        return total

    def map_literal(self, node: MapNode) -> Range:
        total = exactly(MAP)
        key = value = Range(0 if not node.entries else 2**64 - 1, 0)
        for entry in node.entries:
            total = total + self.cost(entry.key) + self.cost(entry.value)
            key = key.union(self.size_or_unknown(entry.key))
            value = value.union(self.size_or_unknown(entry.value))
        self.entries[id(node)] = Entry("map", key, value)
        return total

    def struct(self, node: Struct) -> Range:
        total = exactly(OBJECT)
        for field in node.fields:
            total = total + self.cost(field.value)
        return total

    # loops

    def comprehension(self, node: Comprehension) -> Range:
        total = self.cost(node.range) + self.cost(node.init)
        self.push(node.accu, Local(self.path(node.init), self.size(node.init), self.entry(node.init)))
        if node.macro == "bind":
            total = total + self.cost(node.result)
            self.locals[node.accu].pop()
            self.copy(node, node.result)
            return total
        pushed = self.push_variables(node)
        loop = self.cost(node.condition) + self.cost(node.step)
        for name in pushed:
            self.locals[name].pop()
        total = total + self.cost(node.result)
        self.locals[node.accu].pop()
        rounds = self.size_or_unknown(node.range)
        total = total + rounds * loop
        if isinstance(node.init, Literal):
            size = self.size(node.init)
            if size is not None:
                self.sizes[id(node)] = size
        elif isinstance(node.init, (ListNode, MapNode)):
            self.sizes[id(node)] = rounds
            entry = self.entry(node.step)
            if entry is not None:
                self.entries[id(node)] = entry
        return total

    def push(self, name: str, local: Local) -> None:
        self.locals.setdefault(name, []).append(local)

    def push_variables(self, node: Comprehension) -> list[str]:
        entry, path = self.entry(node.range), self.path(node.range)
        is_list = (entry.kind if entry is not None else node.range.type.kind) == "list"
        key, value = (entry.key, entry.value) if entry is not None else (None, None)
        if node.var2:
            values = (*path, "@items" if is_list else "@values")
            # In cel-go the two paths share their memory where the range's is not a power of two long.
            shared = bool(len(path) & (len(path) - 1))
            self.push(node.var, Local(values if shared else (*path, "@indices" if is_list else "@keys"), key, None))
            self.push(node.var2, Local(values, value, None))
            return [node.var, node.var2]
        self.push(node.var, Local((*path, "@items" if is_list else "@keys"), value if is_list else key, None))
        return [node.var]

    def copy(self, node: Node, source: Node) -> None:
        size, entry = self.size(source), self.entry(source)
        if size is not None:
            self.sizes[id(node)] = size
        if entry is not None:
            self.entries[id(node)] = entry


def _joined(first: Entry, second: Entry) -> Entry:
    return Entry(first.kind, first.key.union(second.key), first.value.union(second.value))


def _literal_size(node: Node) -> Range | None:
    if isinstance(node, Literal):
        return exactly(len(node.value)) if isinstance(node.value, (str, bytes)) else ONE
    if isinstance(node, ListNode):
        return exactly(len(node.elements))
    return exactly(len(node.entries)) if isinstance(node, MapNode) else None


def _is_scalar(type: Type) -> bool:
    return type.kind in SCALARS or (is_optional(type) and _is_scalar(type.params[0]))


METHODS: dict[type, Callable[[Estimator, Any], Range]] = {
    Literal: Estimator.literal,
    Ident: Estimator.ident,
    Select: Estimator.select,
    Call: Estimator.call,
    ListNode: Estimator.list_literal,
    MapNode: Estimator.map_literal,
    Struct: Estimator.struct,
    Comprehension: Estimator.comprehension,
}
