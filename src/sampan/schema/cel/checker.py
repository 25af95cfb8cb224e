"""Types of a tree's nodes, which overloads its calls may mean, and what is wrong with it (cel-go's checker).

``check`` annotates the nodes in place; all that is wrong is found in one pass, each as an ``Issue``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sampan.schema.cel import types, unify
from sampan.schema.cel.errors import CompileError, Issue
from sampan.schema.cel.nodes import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select, Struct
from sampan.schema.cel.types import BOOL, DYN, ERROR, INT, Type, list_of, map_of, optional_of, unwrap_optional
from sampan.schema.cel.values import TYPE_NAMES, TypeValue

if TYPE_CHECKING:
    from sampan.schema.cel.environment import Environment

LITERALS = {
    "bool": types.BOOL,
    "int": types.INT,
    "uint": types.UINT,
    "double": types.DOUBLE,
    "string": types.STRING,
    "bytes": types.BYTES,
    "null_type": types.NULL,
}


def check(source: str, node: Node, environment: Environment) -> None:
    """Annotate a tree. Raises ``CompileError``."""
    checker = _Checker(environment)
    try:
        checker.check(node)
        checker.settle()
    except RecursionError:
        checker.issues = [Issue(0, "expression recursion limit exceeded: 250")]
    if checker.issues:
        raise CompileError(source, checker.issues)


class _Checker:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.issues: list[Issue] = []
        self.mapping: unify.Mapping = {}
        self.scopes: list[dict[str, Type]] = []
        self.nodes: list[Node] = []
        self.variables = 0

    def issue(self, position: int, message: str) -> None:
        issue = Issue(position, message)
        if issue not in self.issues:
            self.issues.append(issue)

    def check(self, node: Node) -> Type:
        self.nodes.append(node)
        node.type = METHODS[node.__class__](self, node)
        return node.type

    def settle(self) -> None:
        """Put what parameters turned out to be into all types; those that could be anything are dyn."""
        mapping = self.mapping
        for node in self.nodes:
            if node.type.params or node.type.kind == "param":
                node.type = unify.substitute(mapping, node.type, to_dyn=True)

    def assignable(self, left: Type, right: Type) -> bool:
        return unify.assignable(self.mapping, left, right)

    def fresh(self) -> Type:
        self.variables += 1
        return unify.variable(self.variables)

    def mismatch(self, node: Node, expected: Type, found: Type) -> None:
        self.issue(node.position, f"expected type '{expected}' but found '{found}'")

    def undeclared(self, node: Node, name: str) -> Type:
        self.issue(node.position, f"undeclared reference to '{name}' (in container '')")
        return ERROR

    # names

    def literal(self, node: Literal) -> Type:
        return LITERALS[TYPE_NAMES[type(node.value)]]

    def ident(self, node: Ident) -> Type:
        found = self.resolve(node, node.name)
        return found if found is not None else self.undeclared(node, node.name)

    def resolve(self, node: Ident, name: str) -> Type | None:
        """Return the type of a name, None where there is no such name; notes on the node what it stands for."""
        if not name.startswith("."):
            for scope in reversed(self.scopes):
                if name in scope:
                    return scope[name]
        name = name.lstrip(".")
        node.name = name
        variable = self.environment.variables.get(name)
        if variable is not None:
            return variable
        type = self.environment.type_named(name)
        if type is None:
            return None
        node.constant = TypeValue(type.name)
        return types.type_of(type)

    def select(self, node: Select) -> Type:
        qualified = self.qualified(node)
        if qualified is not None:
            return qualified
        type = self.field(node, node.operand, node.key, optional=False)
        return BOOL if node.test else unify.substitute(self.mapping, type)

    def qualified(self, node: Select) -> Type | None:
        """Return the type of a dotted name that is a variable or a type as a whole (``google.protobuf.Timestamp``)."""
        path = None if node.test else _dotted(node)
        if path is None:
            return None
        first = path.partition(".")[0]
        if any(first in scope for scope in self.scopes):
            return None
        if first in self.environment.variables and path not in self.environment.variables:
            return None
        ident = Ident(node.position, path)
        found = self.resolve(ident, path)
        if found is not None:
            node.resolved = ident
            ident.type = found
        return found

    def field(self, node: Node, operand: Node, field: str, optional: bool) -> Type:
        whole = unify.substitute(self.mapping, self.check(operand))
        target, was_optional = unwrap_optional(whole)
        result = ERROR
        if target.kind == "map":
            result = target.params[1]
        elif target.kind == "object":
            result = self.object_field(node, target.name, field)
        elif target.kind == "param":
            self.assignable(DYN, target)
            result = DYN
        else:
            if target.kind not in ("dyn", "error"):
                self.issue(node.position, f"type '{target}' does not support field selection")
            result = DYN
        return optional_of(result) if was_optional or optional else result

    def object_field(self, node: Node, name: str, field: str) -> Type:
        declared = self.environment.declared_type(name)
        if declared is None:
            self.issue(node.position, f"unexpected failed resolution of '{name}'")
            return ERROR
        found = declared.field(field)
        if found is None:
            self.issue(node.position, f"undefined field '{field}'")
            return ERROR
        if isinstance(node, Select):
            node.field = found.key
        elif isinstance(node, Call) and isinstance(node.args[1], Literal):
            node.args[1].value = found.key
        return found.type

    # calls

    def call(self, node: Call) -> Type:
        if node.function == "_?._":
            field = node.args[1]
            self.check(field)
            name = field.value if isinstance(field, Literal) else ""
            return unify.substitute(self.mapping, self.field(node, node.args[0], str(name), optional=True))
        args = [self.check(arg) for arg in node.args]
        if node.target is None:
            return self.resolve_call(node, node.function.lstrip("."), args)
        prefix = _dotted(node.target)
        if prefix is not None:
            qualified = f"{prefix.lstrip('.')}.{node.function}"
            if qualified in self.environment.functions:
                node.target = None
                return self.resolve_call(node, qualified, args)
        target = self.check(node.target)
        return self.resolve_call(node, node.function, [target, *args])

    def resolve_call(self, node: Call, name: str, args: list[Type]) -> Type:
        overloads = self.environment.functions.get(name)
        if overloads is None:
            return self.undeclared(node, name)
        node.function = name
        node.overloads = []
        if name in ("_&&_", "_||_"):
            return self.logical(node, args)
        result: Type | None = None
        for overload in overloads:
            if overload.member != (node.target is not None) or len(overload.args) != len(args):
                continue
            renamed = {types.param(one): self.fresh() for one in overload.params}
            wanted = tuple(unify.fresh(type, renamed) for type in overload.args)
            if not unify.assignable_all(self.mapping, tuple(args), wanted):
                continue
            node.overloads.append(overload)
            type = unify.substitute(self.mapping, unify.fresh(overload.result, renamed))
            result = type if result is None else result if result.kind == "dyn" or result == type else DYN
        if result is None:
            shown = [unify.substitute(self.mapping, type, to_dyn=True) for type in args]
            text = types.signature(shown, node.target is not None)
            self.issue(node.position, f"found no matching overload for '{name}' applied to '{text}'")
            return ERROR
        return result

    def logical(self, node: Call, args: list[Type]) -> Type:
        node.overloads = self.environment.functions[node.function]
        result = BOOL
        for arg, type in zip(node.args, args, strict=True):
            if not self.assignable(type, BOOL):
                self.mismatch(arg, BOOL, type)
                result = ERROR
        return result

    # aggregates

    def join(self, node: Node, previous: Type | None, current: Type) -> Type:
        if previous is None:
            return current
        if self.assignable(previous, current):
            return unify.most_general(previous, current)
        return DYN

    def optional_value(self, node: Node, type: Type, optional: bool) -> Type:
        if not optional:
            return type
        inner, is_optional = unwrap_optional(type)
        if not is_optional and type.kind != "dyn":
            self.mismatch(node, optional_of(inner), inner)
        return inner

    def list_literal(self, node: ListNode) -> Type:
        element: Type | None = None
        for index, item in enumerate(node.elements):
            type = self.optional_value(item, self.check(item), index in node.optional)
            element = self.join(item, element, type)
        return list_of(element if element is not None else self.fresh())

    def map_literal(self, node: MapNode) -> Type:
        key: Type | None = None
        value: Type | None = None
        for entry in node.entries:
            key = self.join(entry.key, key, self.check(entry.key))
            type = self.optional_value(entry.value, self.check(entry.value), entry.optional)
            value = self.join(entry.value, value, type)
        if key is None or value is None:
            return map_of(self.fresh(), self.fresh())
        return map_of(key, value)

    def struct(self, node: Struct) -> Type:
        name = node.name.lstrip(".")
        declared = self.environment.declared_type(name)
        type = self.environment.type_named(name)
        result = ERROR
        if type is None:
            self.undeclared(node, node.name)
            return ERROR
        if type.kind != "object":
            self.issue(node.position, f"'{type.name}' is not a message type")
        else:
            result = type
            node.name = name
        for field in node.fields:
            found = declared.field(field.key) if declared is not None else None
            value = self.optional_value(field.value, self.check(field.value), field.optional)
            if found is None:
                if result.kind != "error":
                    self.issue(field.position, f"undefined field '{field.key}'")
            elif not self.assignable(found.type, value):
                text = f"expected type of field '{field.key}' is '{found.type}' but provided type is '{value}'"
                self.issue(field.position, text)
        return result

    def comprehension(self, node: Comprehension) -> Type:
        range = unify.substitute(self.mapping, self.check(node.range))
        accu = self.check(node.init)
        self.scopes.append({node.accu: accu})
        first, second = self.iteration(node, range)
        self.scopes.append({node.var: first, **({node.var2: second} if node.var2 else {})})
        self.expect(node.condition, BOOL)
        self.expect(node.step, accu)
        self.scopes.pop()
        result = self.check(node.result)
        self.scopes.pop()
        return unify.substitute(self.mapping, result)

    def expect(self, node: Node, type: Type) -> None:
        found = self.check(node)
        if not self.assignable(type, found):
            self.mismatch(node, type, found)

    def iteration(self, node: Comprehension, range: Type) -> tuple[Type, Type]:
        if range.kind == "list":
            return (INT, range.params[0]) if node.var2 else (range.params[0], ERROR)
        if range.kind == "map":
            return range.params[0], range.params[1]
        if range.kind in ("dyn", "error", "param"):
            self.assignable(DYN, range)
            return DYN, DYN
        text = f"expression of type '{range}' cannot be range of a comprehension (must be list, map, or dynamic)"
        self.issue(node.range.position, text)
        return ERROR, ERROR


METHODS: dict[type, Callable[[_Checker, Any], Type]] = {
    Literal: _Checker.literal,
    Ident: _Checker.ident,
    Select: _Checker.select,
    Call: _Checker.call,
    ListNode: _Checker.list_literal,
    MapNode: _Checker.map_literal,
    Struct: _Checker.struct,
    Comprehension: _Checker.comprehension,
}


def _dotted(node: Node) -> str | None:
    """Return ``a.b.c`` where a node is nothing but names."""
    names: list[str] = []
    while isinstance(node, Select) and not node.test:
        names.append(node.field)
        node = node.operand
    if not isinstance(node, Ident):
        return None
    return ".".join([node.name, *reversed(names)])
