"""What a checked tree is refused for beside its types: constant times, patterns and formats, mixed lists and maps.

Source: cel-go cel/validator.go, ext/formatting.go; in force since Kubernetes 1.29 (mixed lists and maps always).
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.schema.cel.conversions import parse_duration, parse_timestamp
from sampan.schema.cel.environment import Environment
from sampan.schema.cel.errors import CompileError, EvaluationError, Issue
from sampan.schema.cel.libraries.formatting import ACCEPTED, REFUSED, Clause, FormatProblem, pieces
from sampan.schema.cel.nodes import Call, Comprehension, ListNode, Literal, MapNode, Node, Select, Struct
from sampan.schema.cel.standard import pattern
from sampan.schema.cel.types import Type, unwrap_optional


def validate(source: str, node: Node, environment: Environment) -> None:
    """Raises ``CompileError``."""
    issues: list[Issue] = []
    for inner, in_format in walk(node, False):
        if isinstance(inner, ListNode) and not in_format:
            _same_items(inner, issues)
        elif isinstance(inner, MapNode) and not in_format:
            _same_entries(inner, issues)
        elif isinstance(inner, Call) and environment.validates_literals:
            _literals(inner, issues)
    if issues:
        raise CompileError(source, list(dict.fromkeys(issues)))


def children(node: Node) -> list[Node]:
    """Return the nodes directly under a node."""
    if isinstance(node, Select):
        return [node.operand]
    if isinstance(node, Call):
        return [*([node.target] if node.target is not None else []), *node.args]
    if isinstance(node, ListNode):
        return node.elements
    if isinstance(node, MapNode):
        return [part for entry in node.entries for part in (entry.key, entry.value)]
    if isinstance(node, Struct):
        return [field.value for field in node.fields]
    if isinstance(node, Comprehension):
        return [node.range, node.init, node.condition, node.step, node.result]
    return []


def walk(node: Node, in_format: bool) -> Iterator[tuple[Node, bool]]:
    """Yield every node, and whether it stands within a call of ``format``."""
    waiting = [(node, in_format)]
    while waiting:
        node, in_format = waiting.pop()
        yield node, in_format
        inside = in_format or (isinstance(node, Call) and node.function == "format")
        waiting += [(child, inside) for child in children(node)]


def _mismatch(node: Node, expected: Type, found: Type) -> Issue:
    return Issue(node.position, f"expected type '{expected}' but found '{found}'")


def _same_items(node: ListNode, issues: list[Issue]) -> None:
    first: Type | None = None
    for index, element in enumerate(node.elements):
        type = unwrap_optional(element.type)[0] if index in node.optional else element.type
        if first is None:
            first = type
        elif first != type:
            issues.append(_mismatch(element, first, type))
            return


def _same_entries(node: MapNode, issues: list[Issue]) -> None:
    key: Type | None = None
    value: Type | None = None
    for entry in node.entries:
        type = unwrap_optional(entry.value.type)[0] if entry.optional else entry.value.type
        if key is None or value is None:
            key, value = entry.key.type, type
            continue
        if key != entry.key.type:
            issues.append(_mismatch(entry.key, key, entry.key.type))
        if value != type:
            issues.append(_mismatch(entry.value, value, type))


def _literals(node: Call, issues: list[Issue]) -> None:
    if node.function == "format":
        _format(node, issues)
    if not node.args or not isinstance(node.args[0], Literal) or not isinstance(node.args[0].value, str):
        return
    text = node.args[0].value
    bad = (
        (node.function == "duration" and parse_duration(text) is None)
        or (node.function == "timestamp" and parse_timestamp(text) is None)
        or (node.function == "matches" and not _compiles(text))
    )
    if bad:
        issues.append(Issue(node.args[0].position, f"invalid {node.function} argument"))


def _compiles(text: str) -> bool:
    try:
        pattern(text)
    except EvaluationError:
        return False
    return True


def _format(node: Call, issues: list[Issue]) -> None:
    if not isinstance(node.target, Literal) or not isinstance(node.target.value, str) or len(node.args) != 1:
        return
    if not isinstance(node.args[0], ListNode):
        return
    args, used = node.args[0].elements, 0
    try:
        for piece in pieces(node.target.value, len(args)):
            if isinstance(piece, Clause):
                problem = _argument(piece.letter, args[used])
                if problem is not None:
                    issues.append(problem)
                    return
                used += 1
    except FormatProblem as wrong:
        issues.append(Issue(node.position, str(wrong)))
        return
    if len(args) > used:
        text = f"too many arguments supplied to string.format (expected {used}, got {len(args)})"
        issues.append(Issue(node.position, text))


def _argument(letter: str, node: Node) -> Issue | None:
    bad = _refused(letter, node)
    if bad is None:
        return None
    return Issue(bad.position, "error during formatting: " + REFUSED[letter].format(bad.type.name))


def _refused(letter: str, node: Node) -> Node | None:
    if node.type.kind not in ACCEPTED[letter] and node.type.kind != "dyn":
        return node
    if letter != "s" or not isinstance(node, (ListNode, MapNode)):
        return None
    return next((bad for child in children(node) if (bad := _refused(letter, child)) is not None), None)
