"""That a function called for each object of a document puts no part of it in twice.

``return {"a": pairs, "b": pairs}`` is quick for one object, and of objects in objects, a thousand deep, it makes a document
with more parts than there are atoms. So what holds a part of the document (the parameters, what a loop gives, local names)
may be mentioned once on each way through the function where it is put somewhere; where it is only looked at, as often as one
likes. Syntax alone says which is which; what is in doubt is a mention.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Iterable

from sampan.gateway.plugins.quick_calls import KEY
from sampan.gateway.plugins.quick_values import NotShown

LOOKS = {"len", "isinstance", "bool", "any", "all"}
TAKES = {"pop", "append", "update"}
"""Methods that do not leave a part where it was and give it, too."""
TAKEN = "taken from "
"""Before a name: what was taken from it. It may not have been mentioned before: a copy would have that part, too."""
Counts = Counter[str]
Ways = tuple[Counts | None, Counts]
"""The most mentions on a way through statements (None: no way leads on), and on one that ends there."""


def most(*counts: Counts) -> Counts:
    found: Counts = Counter()
    for one in counts:
        found |= one
    return found


def then(first: Counts, second: Counts) -> Counts:
    """Return what is mentioned on a way, and on what comes after it."""
    late = [name for name in first if f"{TAKEN}{name}" in second]
    return first + second + Counter(late)


def at_once(found: Counts) -> Counts:
    """Return what is mentioned in an expression: in which order is not looked at."""
    return found + Counter([name for name in found if f"{TAKEN}{name}" in found])


class Moves:
    """The mentions in one function. ``cheap``: names that hold nothing of the document; ``each_of``: what each turn of a loop
    over something has."""

    def __init__(
        self, tree: ast.FunctionDef, cheap: Iterable[str], each_of: Callable[[ast.expr], tuple[str, ...]]
    ) -> None:
        self.tree, self.cheap, self.each_of = tree, set(cheap), each_of

    def check(self) -> None:
        """Raise ``NotShown`` where a part can come into the document twice."""
        through, ended = self.statements(self.tree.body)
        self.once(most(through or Counter(), ended), self.tree)

    def once(self, counts: Counts, node: ast.AST) -> None:
        for name, count in counts.items():
            if count > 1 and not name.startswith(TAKEN):
                raise NotShown(f"{name} may come into the document twice", node)

    def statements(self, body: list[ast.stmt]) -> Ways:
        through: Counts | None = Counter()
        ended: Counts = Counter()
        for one in body:
            if through is None:
                break
            on, off = self.statement(one)
            ended = most(ended, then(through, off))
            through = None if on is None else then(through, on)
        return through, ended

    def statement(self, one: ast.stmt) -> Ways:
        none: Counts = Counter()
        if isinstance(one, ast.Return):
            return None, at_once(self.of(one.value))
        if isinstance(one, ast.Raise):
            return None, none
        if isinstance(one, ast.Assign):
            found = at_once(self.of(one.value))
            return sum([found for _ in one.targets], Counter()), none
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call) and is_pop(one.value):
            return at_once(self.all_of(one.value.args)), none  # it is left out
        if isinstance(one, (ast.AnnAssign, ast.AugAssign, ast.Expr)):
            return at_once(self.of(one.value)), none
        if isinstance(one, ast.If):
            ways = [self.statements(one.body), self.statements(one.orelse)]
            through = [on for on, _ in ways if on is not None]
            return most(*through) if through else None, most(*[off for _, off in ways])
        if isinstance(one, ast.For):
            return self.loop(one)
        if isinstance(one, ast.Try):
            return self.tried(one)
        return none, none

    def tried(self, one: ast.Try) -> Ways:
        on, off = self.statements(one.body)
        either, through, ended = most(on or Counter(), off), list[Counts](), [off]
        for begun, part in [(on, one.orelse), *[(either, handler.body) for handler in one.handlers]]:
            if begun is not None:
                after, end = self.statements(part)
                through += [then(begun, after)] if after is not None else []
                ended.append(then(begun, end))
        after, end = self.statements(one.finalbody)
        last = most(after or Counter(), end)
        on = then(most(*through), last) if through and after is not None else None
        return on, then(most(*ended, *through), last)

    def loop(self, one: ast.For) -> Ways:
        targets = self.targets(one.target, one.iter)
        on, off = self.statements(one.body)
        through = self.turns(most(on or Counter(), Counter()), targets, one.iter, one)
        last = self.turns(off, targets, one.iter, one, is_last=True)
        after, end = self.statements(one.orelse)
        return None if after is None else then(through, after), then(through, most(last, end))

    def turns(
        self, found: Counts, targets: set[str], iterated: ast.expr, node: ast.AST, *, is_last: bool = False
    ) -> Counts:
        """Return what a loop mentions in all, if a turn of it mentions so much."""
        own = Counter({name: count for name, count in found.items() if name in targets})
        self.once(own, node)
        times = 1 if is_last else 2
        others = Counter({name: times * count for name, count in found.items() if name not in targets})
        return at_once(others + self.of(iterated)) if own else others

    def targets(self, target: ast.expr, iterated: ast.expr) -> set[str]:
        """Return which of a loop's names hold parts of the document."""
        each = self.each_of(iterated)
        if isinstance(target, ast.Tuple) and len(target.elts) == len(each) == 2:
            pairs: list[tuple[ast.expr, str]] = list(zip(target.elts, each, strict=True))
        else:
            pairs = [(target, "" if len(each) == 2 else kind) for kind in each[:1]]
        parts = [one for part, kind in pairs if kind != KEY for one in ast.walk(part)]
        return {one.id for one in parts if isinstance(one, ast.Name)} - self.cheap

    def of(self, node: ast.expr | None) -> Counts:
        """Return the mentions of an expression where its value is put somewhere."""
        if node is None or isinstance(node, (ast.Constant, ast.Compare, ast.JoinedStr)):
            return Counter()
        if isinstance(node, ast.Name):
            return Counter() if node.id in self.cheap else Counter({node.id: 1})
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Counter()
        if isinstance(node, ast.IfExp):
            return most(self.of(node.body), self.of(node.orelse))
        if isinstance(node, ast.BoolOp):
            return most(*map(self.of, node.values))
        if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
            return self.comprehended(node.generators[0], node.elt)
        if isinstance(node, ast.DictComp):
            return self.comprehended(node.generators[0], node.key, node.value)
        if isinstance(node, ast.Call):
            return self.call(node)
        return self.all_of(ast.iter_child_nodes(node))

    def all_of(self, nodes: Iterable[ast.AST]) -> Counts:
        return sum([self.of(node) for node in nodes if isinstance(node, ast.expr)], Counter())

    def call(self, node: ast.Call) -> Counts:
        found = self.all_of(node.args) + self.all_of([key.value for key in node.keywords])
        if isinstance(node.func, ast.Name):
            return Counter() if node.func.id in LOOKS else found
        if isinstance(node.func, ast.Attribute):
            owner = self.of(node.func.value)
            if node.func.attr not in TAKES:
                return found + owner
            if is_pop(node):
                return found + Counter({f"{TAKEN}{name}": 1 for name in owner})
        return found

    def comprehended(self, one: ast.comprehension, *parts: ast.expr) -> Counts:
        names = {part.id for part in ast.walk(one.target) if isinstance(part, ast.Name)}
        cheap = self.cheap
        self.cheap = cheap - names
        targets = self.targets(one.target, one.iter)
        self.cheap = cheap | (names - targets)
        self.cheap -= targets
        found = self.all_of(parts)
        self.cheap = cheap
        return self.turns(found, targets, one.iter, one.target)


def is_pop(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr == "pop"
