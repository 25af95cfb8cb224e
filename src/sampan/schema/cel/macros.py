"""The macros of CEL: what looks like a call and becomes a loop, a presence test or a conditional.

Source: the CEL specification, "Macros"; cel-go parser/macro.go, cel/library.go (optionals), ext/comprehensions.go,
ext/bindings.go. Expansions are as there, since costs are counted on what they expand to.
"""

from __future__ import annotations

from collections.abc import Callable

from sampan.schema.cel.nodes import Call, Comprehension, Ident, ListNode, Literal, MapNode, Node, Select
from sampan.schema.cel.parser import Macro, MacroError

ACCUMULATOR = "@result"
OLD_ACCUMULATOR = "__result__"
UNUSED = "#unused"
Macros = dict[tuple[str, int, bool], Macro]
Make = Callable[[int, Node, str, str, list[Node]], Node]
"""``(position, range, variable, second variable or "", the other arguments) -> loop``"""


def _accu(position: int) -> Ident:
    return Ident(position, ACCUMULATOR)


def _variable(node: Node, message: str) -> str:
    if not isinstance(node, Ident):
        raise MacroError(node.position, message)
    if node.name in (ACCUMULATOR, OLD_ACCUMULATOR):
        raise MacroError(node.position, "iteration variable overwrites accumulator variable")
    return node.name


def one_variable(make: Make, message: str = "argument must be a simple name") -> Macro:
    def macro(position: int, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        return make(position, target, _variable(args[0], message), "", args[1:])

    return macro


def two_variables(make: Make) -> Macro:
    def macro(position: int, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        names = []
        for node in args[:2]:
            if not isinstance(node, Ident):
                raise MacroError(node.position, "argument must be a simple name")
            names.append(node.name)
        if names[0] == names[1]:
            raise MacroError(args[1].position, f"duplicate variable name: {names[0]}")
        first, second = (_variable(node, "argument must be a simple name") for node in args[:2])
        return make(position, target, first, second, args[2:])

    return macro


def has(position: int, target: Node | None, args: list[Node]) -> Node:
    operand = args[0]
    if not isinstance(operand, Select) or operand.test:
        raise MacroError(operand.position, "invalid argument to has() macro")
    return Select(position, operand.operand, operand.field, test=True)


def _all(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    condition = Call(at, "@not_strictly_false", [_accu(at)])
    step = Call(at, "_&&_", [_accu(at), args[0]])
    return Comprehension(at, range, var, var2, ACCUMULATOR, Literal(at, True), condition, step, _accu(at), "all")


def _exists(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    condition = Call(at, "@not_strictly_false", [Call(at, "!_", [_accu(at)])])
    step = Call(at, "_||_", [_accu(at), args[0]])
    return Comprehension(at, range, var, var2, ACCUMULATOR, Literal(at, False), condition, step, _accu(at), "exists")


def _exists_one(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    more = Call(at, "_+_", [_accu(at), Literal(at, 1)])
    step = Call(at, "_?_:_", [args[0], more, _accu(at)])
    result = Call(at, "_==_", [_accu(at), Literal(at, 1)])
    return Comprehension(
        at, range, var, var2, ACCUMULATOR, Literal(at, 0), Literal(at, True), step, result, "exists_one"
    )


def _map(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    step: Node = Call(at, "_+_", [_accu(at), ListNode(at, [args[-1]])])
    if len(args) == 2:
        step = Call(at, "_?_:_", [args[0], step, _accu(at)])
    return Comprehension(at, range, var, var2, ACCUMULATOR, ListNode(at, []), Literal(at, True), step, _accu(at), "map")


def _filter(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    return _map(at, range, var, var2, [args[0], Ident(at, var)])


def _transform_map(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    return _inserting(at, range, var, var2, args, [Ident(at, var), args[-1]])


def _transform_entry(at: int, range: Node, var: str, var2: str, args: list[Node]) -> Node:
    return _inserting(at, range, var, var2, args, [args[-1]])


def _inserting(at: int, range: Node, var: str, var2: str, args: list[Node], inserted: list[Node]) -> Node:
    step: Node = Call(at, "cel.@mapInsert", [_accu(at), *inserted])
    if len(args) == 2:
        step = Call(at, "_?_:_", [args[0], step, _accu(at)])
    return Comprehension(at, range, var, var2, ACCUMULATOR, MapNode(at, []), Literal(at, True), step, _accu(at))


def bound(at: int, name: str, value: Node, body: Node) -> Node:
    """Return ``body`` with ``name`` standing for ``value``: a loop over nothing."""
    nothing = ListNode(at, [])
    return Comprehension(at, nothing, UNUSED, "", name, value, Literal(at, False), Ident(at, name), body, "bind")


def bind(position: int, target: Node | None, args: list[Node]) -> Node | None:
    if not isinstance(target, Ident) or target.name != "cel":
        return None
    if not isinstance(args[0], Ident):
        raise MacroError(args[0].position, "cel.bind() variable names must be simple identifiers")
    return bound(position, args[0].name, args[1], args[2])


def _optional(name: str, wrap: bool) -> Macro:
    def macro(at: int, target: Node | None, args: list[Node]) -> Node:
        assert target is not None
        if not isinstance(args[0], Ident):
            raise MacroError(args[0].position, f"{name}() variable name must be a simple identifier")
        body = bound(at, args[0].name, Call(at, "value", [], target), args[1])
        then = Call(at, "optional.of", [body]) if wrap else body
        return Call(at, "_?_:_", [Call(at, "hasValue", [], target), then, Call(at, "optional.none", [])])

    return macro


STANDARD: Macros = {
    ("has", 1, False): has,
    ("all", 2, True): one_variable(_all),
    ("exists", 2, True): one_variable(_exists),
    ("exists_one", 2, True): one_variable(_exists_one),
    ("map", 2, True): one_variable(_map, "argument is not an identifier"),
    ("map", 3, True): one_variable(_map, "argument is not an identifier"),
    ("filter", 2, True): one_variable(_filter, "argument is not an identifier"),
}
TWO_VARIABLES: Macros = {
    ("all", 3, True): two_variables(_all),
    ("exists", 3, True): two_variables(_exists),
    ("exists_one", 3, True): two_variables(_exists_one),
    ("existsOne", 3, True): two_variables(_exists_one),
    ("transformList", 3, True): two_variables(_map),
    ("transformList", 4, True): two_variables(_map),
    ("transformMap", 3, True): two_variables(_transform_map),
    ("transformMap", 4, True): two_variables(_transform_map),
    ("transformMapEntry", 3, True): two_variables(_transform_entry),
    ("transformMapEntry", 4, True): two_variables(_transform_entry),
}
OPTIONALS: Macros = {
    ("optMap", 2, True): _optional("optMap", wrap=True),
    ("optFlatMap", 2, True): _optional("optFlatMap", wrap=False),
}
BINDINGS: Macros = {("bind", 3, True): bind}
