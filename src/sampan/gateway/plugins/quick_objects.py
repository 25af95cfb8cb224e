"""What ``json.loads`` calls for each object of a document, and that all its calls together are quick.

It is called once for each object, from the innermost on, and each pair comes in one call: a loop over the pairs is as long
in all as the document. What is inside a pair is there again in the call for the object around it, so nothing may go over it:
a value can be compared with something short, looked up, moved, left out, and no more. Nor may it be put in twice
(``quick_moves.py``): at each depth that would double what is inside.
"""

from __future__ import annotations

import ast
import types
from dataclasses import replace
from typing import Any

from sampan.gateway.plugins.quick_calls import (
    BUILT,
    CHEAP,
    KEY,
    NUMBER,
    OBJECT,
    OWNED,
    PAIR,
    PAIRS,
    PLAIN,
    SHORT,
    TEXT,
    VALUE,
    WORDS,
)
from sampan.gateway.plugins.quick_expressions import MANY, OF_COLLECTIONS
from sampan.gateway.plugins.quick_loops import Comprehension
from sampan.gateway.plugins.quick_moves import Moves
from sampan.gateway.plugins.quick_statements import Shown
from sampan.gateway.plugins.quick_values import HANDFUL, NotShown, are_short

COLLECTIONS = (PAIRS, OBJECT, BUILT)
PARTS = (NUMBER, SHORT, KEY, VALUE, *COLLECTIONS)
"""What a document may be made of."""


class OfObjects(Shown):
    """A function that is called for each object."""

    def follow(self, called: types.FunctionType, kinds: list[str]) -> str:
        return OfObjects(called, replace(self.around, in_loop=self.in_loop, turns=MANY)).returns(*kinds)

    def follow_hook(self, called: types.FunctionType, kinds: list[str]) -> None:
        raise NotShown("a document is read for each object of another")

    def returns(self, *arguments: str) -> str:
        found = super().returns(*arguments)
        cheap = {name for name, kind in self.kinds.items() if kind not in (VALUE, PAIR, *COLLECTIONS)}
        Moves(self.tree, cheap, self.each_of).check()
        return found if found in (*CHEAP, TEXT) else VALUE

    def plain(self, node: ast.expr) -> str:
        found = self.kind(node)
        if found not in PLAIN:
            raise NotShown("an object is handed on where it cannot be followed", node)
        return found

    def placed(self, node: ast.expr, *more: str) -> str:
        """Return what is put into a document. Raises ``NotShown`` for what could be large."""
        found = self.kind(node)
        if found not in (*PARTS, *more):
            raise NotShown("it puts into each object what is not short", node)
        return found

    def key(self, node: ast.expr) -> None:
        if self.kind(node) not in CHEAP:  # many numbers can be chosen to meet in one place
            raise NotShown("a name that is no name of the object's", node)

    def part(self, node: ast.expr) -> str:
        return self.placed(node, PAIR)

    def is_same(self, _: ast.expr, __: set[str]) -> bool:
        return False  # quick_moves.py sees to it

    def on_Return(self, one: ast.Return) -> None:
        if one.value is not None:
            self.given.append(self.placed(one.value))

    def on_Assign(self, one: ast.Assign) -> None:
        if len(one.targets) > 1 and self.kind(one.value) not in CHEAP:
            raise NotShown("one part of the document by two names", one)
        super().on_Assign(one)

    # loops

    def over(self, iterated: ast.expr, target: ast.expr) -> int:
        if self.in_loop:
            raise NotShown("a loop in a loop", iterated)
        each = self.each_of(iterated)
        if each:
            parts = target.elts if isinstance(target, ast.Tuple) and len(each) == 2 else [target]
            kinds = each if len(parts) == len(each) else (VALUE,)
            for part, kind in zip(parts, kinds, strict=False):
                self.assign(part, kind)
            return MANY
        if self.kind(iterated) != OWNED or not self.is_handful(iterated):
            raise NotShown(f"a loop over neither the object nor at most {HANDFUL} of the plugin's own", iterated)
        return super().over(iterated, target)

    def each_of(self, node: ast.expr) -> tuple[str, ...]:
        """Return what each turn of a loop over an object has; nothing where it is no such loop."""
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1 and not node.keywords:
            return self.each_of(node.args[0]) if self.live_of(node.func) is list else ()
        if isinstance(node, ast.Name):
            return {PAIRS: (KEY, VALUE), OBJECT: (KEY,)}.get(self.kinds.get(node.id, ""), ())
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.args:
            return ()
        if node.func.attr not in OF_COLLECTIONS or self.kind(node.func.value) != OBJECT:
            return ()
        return {"items": (KEY, VALUE), "keys": (KEY,), "values": (VALUE,)}[node.func.attr]

    def of_GeneratorExp(self, one: Comprehension) -> str:
        if isinstance(one, ast.SetComp):
            raise NotShown("a set of what comes", one)
        super().of_GeneratorExp(one)
        return BUILT

    of_ListComp = of_SetComp = of_GeneratorExp

    def of_DictComp(self, one: ast.DictComp) -> str:
        super().of_DictComp(one)
        return BUILT

    # what is made

    def of_Dict(self, one: ast.Dict) -> str:
        for key, value in zip(one.keys, one.values, strict=True):
            if key is not None:
                self.key(key)
                self.placed(value)
            elif self.kind(value) not in (OBJECT, BUILT) or self.in_loop:
                own = self.collection(value)
                if not self.is_handful(value) or not are_short(own):
                    raise NotShown("it puts into each object what is not short", value)
        return BUILT

    def of_List(self, one: ast.List | ast.Tuple | ast.Set) -> str:
        if one.elts and all(isinstance(part, ast.Constant) for part in one.elts):
            return OWNED
        if isinstance(one, ast.Set):
            raise NotShown("a set of what comes", one)
        for part in one.elts:
            if isinstance(part, ast.Starred) and (self.in_loop or self.kind(part.value) not in (PAIRS, BUILT)):
                raise NotShown("it goes over a whole value for each of many", part)
            if not isinstance(part, ast.Starred):
                self.placed(part, *(() if isinstance(one, ast.Tuple) else (PAIR,)))
        return PAIR if isinstance(one, ast.Tuple) else BUILT

    of_Tuple = of_Set = of_List

    def assign(self, target: ast.expr, kind: str) -> None:
        if isinstance(target, ast.Subscript):
            self.place(target)
            if kind not in PARTS:
                raise NotShown("it puts into each object what is not short", target)
        else:
            super().assign(target, kind)

    def place(self, target: ast.Subscript) -> str:
        found = self.kind(target.value)
        if found not in (VALUE, OBJECT, BUILT) or isinstance(target.slice, ast.Slice):
            raise NotShown("it changes what is no collection of its own", target)
        self.key(target.slice)
        if isinstance(target.ctx, ast.Del) and self.kind(target.slice) not in WORDS:
            raise NotShown("of a list each may move up", target)
        return found

    # what is looked at

    def of_Subscript(self, one: ast.Subscript) -> str:
        if self.kind(one.value) not in COLLECTIONS:
            return super().of_Subscript(one)
        if isinstance(one.slice, ast.Slice):
            raise NotShown("it goes over a whole value for each of many", one)
        self.plain(one.slice)
        return VALUE

    def of_IfExp(self, one: ast.IfExp) -> str:
        self.kind(one.test)
        kinds = {self.placed(one.body), self.placed(one.orelse)}
        return kinds.pop() if len(kinds) == 1 else VALUE

    def of_Compare(self, one: ast.Compare) -> str:
        if (
            len(one.ops) == 1
            and self.kind(one.comparators[0]) == OBJECT
            and isinstance(one.ops[0], (ast.In, ast.NotIn))
        ):
            self.plain(one.left)
            return NUMBER
        return super().of_Compare(one)

    def listed(self, called: Any, one: ast.Call) -> str:
        first = self.kind(one.args[0]) if one.args else ""
        if first not in COLLECTIONS:
            return super().listed(called, one)
        if called in (len, isinstance, bool):
            return NUMBER
        if called in (any, all) and not self.in_loop:
            return NUMBER
        if (called is list or (called is dict and first in (PAIRS, OBJECT))) and not self.in_loop and not one.keywords:
            return BUILT
        raise NotShown(f"{ast.unparse(one.func)} of an object is not known to be quick", one)

    def method(self, call: ast.Call, attribute: ast.Attribute) -> str:
        try:
            owner = self.kind(attribute.value)
        except NotShown:
            owner = ""
        if owner not in COLLECTIONS:
            return super().method(call, attribute)
        name, count = attribute.attr, len(call.args)
        if call.keywords or any(isinstance(argument, ast.Starred) for argument in call.args):
            raise NotShown("arguments that cannot be counted", call)
        if name in OF_COLLECTIONS and owner == OBJECT and not count:
            return BUILT
        if name == "append" and owner == BUILT and count == 1:
            self.placed(call.args[0], PAIR)
        elif name == "update" and owner in (OBJECT, BUILT) and count == 1 and isinstance(call.args[0], ast.Dict):
            self.kind(call.args[0])
        elif name in ("get", "pop") and owner in (OBJECT, BUILT) and count in (1, 2):
            if self.plain(call.args[0]) not in WORDS:
                raise NotShown(f".{name}() of what is no name", call)
            for argument in call.args[1:]:
                self.placed(argument)
        else:
            raise NotShown(f".{name}() is not known to be quick for each object", call)
        return VALUE
