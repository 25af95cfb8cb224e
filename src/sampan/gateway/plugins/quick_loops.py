"""What a hook loops over, and that what it does in each turn is soon done: the part of ``quick.py`` that looks at loops."""

from __future__ import annotations

import ast

from sampan.gateway.plugins.quick_calls import CHEAP, HEADERS, KEY, LISTED, OWNED, SHORT, VALUE
from sampan.gateway.plugins.quick_expressions import FEW, MANY, ONCE, Expressions
from sampan.gateway.plugins.quick_values import NotShown, are_short

Comprehension = ast.GeneratorExp | ast.ListComp | ast.SetComp


class Loops(Expressions):
    """The loops of one function that are expressions, and what all are over."""

    def over(self, iterated: ast.expr, target: ast.expr) -> int:
        """Note a loop; return how often its steps are done. Raises ``NotShown`` where it is in another."""
        if self.in_loop:
            raise NotShown("a loop in a loop", iterated)
        found = self.kind(iterated)
        if found not in (OWNED, HEADERS, LISTED):
            raise NotShown(f"a loop over what is neither headers nor the plugin's own{self.advice()}", iterated)
        own = SHORT if are_short(self.collection(iterated), with_pairs=True) else OWNED
        self.assign(target, own if found == OWNED else KEY)
        if not self.around.is_strict:
            return self.turns
        return max(self.turns, FEW if found == OWNED and self.is_handful(iterated) else MANY)

    def advice(self) -> str:
        is_json = self.around.is_strict and self.turns == ONCE
        return (
            " (objects of JSON are gone over by a function that json.loads has as object_pairs_hook)" if is_json else ""
        )

    def of_GeneratorExp(self, one: Comprehension) -> str:
        self.comprehended(one.generators, one.elt)
        return VALUE

    of_ListComp = of_SetComp = of_GeneratorExp

    def of_DictComp(self, one: ast.DictComp) -> str:
        self.comprehended(one.generators, one.value, key=one.key)
        return VALUE

    def comprehended(self, generators: list[ast.comprehension], part: ast.expr, key: ast.expr | None = None) -> None:
        if len(generators) > 1 or generators[0].is_async:
            raise NotShown("a loop in a loop", generators[1].iter if len(generators) > 1 else generators[0].iter)
        names = {one.id for one in ast.walk(generators[0].target) if isinstance(one, ast.Name)}
        own, self.own = self.own, self.own | names
        before, turns = dict(self.kinds), self.turns
        for name in names:
            self.kinds.pop(name, None)
        self.turns = self.over(generators[0].iter, generators[0].target)
        self.in_loop = True
        for test in generators[0].ifs:
            self.plain(test)
        if key is not None:
            self.key(key)
        if self.part(part) not in CHEAP and self.turns == MANY and self.is_same(part, names):
            raise NotShown("it puts the same value in for each of many", part)
        self.in_loop, self.turns, self.own, self.kinds = False, turns, own, before

    def key(self, node: ast.expr) -> None:
        self.costs(node, self.plain(node))

    def part(self, node: ast.expr) -> str:
        """Return what a comprehension has for each of its own."""
        return self.plain(node)

    def is_same(self, part: ast.expr, names: set[str]) -> bool:
        """Whether that could be one and the same."""
        return not is_of_each(part, names)


def is_of_each(part: ast.expr, names: set[str]) -> bool:
    """Return whether what a comprehension takes for each is another each time: ``data[name]``, ``data.get(name)``."""
    if isinstance(part, ast.Name):
        return part.id in names
    if isinstance(part, ast.Subscript):
        return any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(part.slice))
    if (
        not isinstance(part, ast.Call)
        or not isinstance(part.func, ast.Attribute)
        or part.func.attr not in ("get", "pop")
    ):
        return False
    first, *others = [*part.args, ast.Constant(None)]
    is_named = any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(first))
    return is_named and all(isinstance(one, ast.Constant) for one in others)
