"""What the expressions of a hook are, and that they end soon: the part of ``quick.py`` that looks at values."""

from __future__ import annotations

import ast
import builtins
import inspect
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from sampan.gateway.plugins.quick_calls import (
    ANSWER,
    ATTRIBUTES,
    ATTRIBUTES_OF,
    CHEAP,
    HEADERS,
    KEY,
    LISTED,
    MIXED,
    NUMBER,
    OWNED,
    PLAIN,
    RESPONSE,
    SELF,
    SHORT,
    STATE,
    TABLE,
    TEXT,
    VALUE,
    WORDS,
)
from sampan.gateway.plugins.quick_values import (
    HANDFUL,
    SHORT_CHARACTERS,
    NotShown,
    are_short,
    attribute_of,
    is_narrow,
    is_small,
    is_start,
    kind_of,
)

OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor, ast.RShift)
ONCE, FEW, MANY = 0, 1, 2
"""How often a step is done: as the source says; for each of a handful; for each of what may be many."""
OF_COLLECTIONS = ("items", "keys", "values")


@dataclass(frozen=True, slots=True)
class Around:
    """What a function is called in."""

    package: str
    above: tuple[types.FunctionType, ...] = ()
    """The functions that call it."""
    in_loop: bool = False
    turns: int = ONCE
    is_strict: bool = False
    """Whether there are bodies: then what is done in a loop may not take longer the longer they are."""
    processor: Any = None


def joined(*kinds: str) -> str:
    """Return what is one of these."""
    if len(set(kinds)) == 1:
        return kinds[0]
    if all(kind in WORDS for kind in kinds):
        return max(kinds, key=WORDS.index)
    return MIXED if {OWNED, MIXED, LISTED} & set(kinds) else VALUE


def words_of(*kinds: str) -> str:
    """Return what the text is that is made of these."""
    if all(kind in (NUMBER, SHORT) for kind in kinds):
        return SHORT
    return KEY if all(kind in CHEAP for kind in kinds) else TEXT


class Expressions(ABC):
    """What the names of one function are, and what comes of them."""

    def __init__(self, function: types.FunctionType, around: Around) -> None:
        self.around, self.in_loop, self.turns = around, around.in_loop, around.turns
        self.kinds: dict[str, str] = {}
        self.live = {**vars(builtins), **function.__globals__, **inspect.getclosurevars(function).nonlocals}
        self.own = {*function.__code__.co_varnames, *function.__code__.co_cellvars}

    @abstractmethod
    def follow(self, called: types.FunctionType, kinds: list[str]) -> str:
        """Return what a function of the plugin returns when it is called so. Raises ``NotShown``."""

    @abstractmethod
    def of_Call(self, one: ast.Call) -> str:
        """Return what a call returns. Raises ``NotShown``."""

    def costs(self, node: ast.AST, *kinds: str) -> None:
        """Refuse a step that goes over the whole of a value, where it is done for many."""
        if self.turns == MANY and any(kind not in CHEAP for kind in kinds):
            raise NotShown("it goes over a whole value for each of many", node)

    def hashes(self, node: ast.AST, kind: str) -> None:
        """Refuse what looks for a place for each part of what a client sends: of objects' names nobody knows the hashes."""
        if self.around.is_strict and kind in (VALUE, MIXED):
            raise NotShown(
                "numbers that a client can choose to meet in one place of a set ({**data} takes names only)", node
            )

    # names

    def assign(self, target: ast.expr, kind: str) -> None:
        if isinstance(target, ast.Name):
            self.name(target.id, kind, target)
        elif isinstance(target, (ast.Tuple, ast.List)) and kind in (VALUE, OWNED, TABLE, MIXED, SHORT, KEY, LISTED):
            for one in target.elts:
                self.assign(one, kind)
        elif isinstance(target, ast.Subscript) and kind in (*PLAIN, TABLE):
            if self.place(target) == HEADERS:
                self.costs(target, kind)
            elif self.in_loop and kind not in (NUMBER, SHORT):
                raise NotShown("what grows in a loop", target)
        elif isinstance(target, ast.Attribute):
            self.attribute(target, kind)
        else:
            raise NotShown("an assignment that cannot be followed", target)

    def attribute(self, target: ast.Attribute, kind: str) -> None:
        owner = self.kind(target.value)
        if owner == SELF:
            raise NotShown("it assigns to itself: what a processor has stays as it was measured", target)
        if (owner != STATE and (owner, target.attr) != (RESPONSE, "status")) or kind not in PLAIN:
            raise NotShown("an assignment that cannot be followed", target)
        if kind in (OWNED, MIXED, LISTED):
            raise NotShown("exchange.state is given a collection that is the plugin's own", target)
        if self.in_loop and kind not in (NUMBER, SHORT):
            raise NotShown("what grows in a loop", target)

    def place(self, target: ast.Subscript) -> str:
        key, found = self.plain(target.slice), self.kind(target.value)
        if found not in (VALUE, HEADERS):  # what is owned stays as it was measured
            raise NotShown("it changes what is no collection of its own", target)
        if isinstance(target.slice, ast.Slice) or (found == HEADERS or isinstance(target.ctx, ast.Del)):
            self.costs(target, key if key in WORDS else VALUE)
        return found

    def name(self, name: str, kind: str, node: ast.AST) -> None:
        if self.in_loop and kind in WORDS:  # what one turn leaves is there in the next
            kind = TEXT
        known = self.kinds.get(name, kind)
        if known != kind and not (known in PLAIN and kind in PLAIN):
            raise NotShown(f"{name} is one thing here, another there", node)
        if self.in_loop and known != kind:
            raise NotShown(f"{name} changes its kind in a loop", node)
        self.kinds[name] = joined(known, kind)

    # expressions

    def plain(self, node: ast.expr) -> str:
        found = self.kind(node)
        if found not in PLAIN:
            raise NotShown("the request is handed on where it cannot be followed", node)
        return found

    def kind(self, node: ast.expr) -> str:
        check = getattr(self, f"of_{type(node).__name__}", None)
        if check is None:
            raise NotShown(f"{type(node).__name__.lower()} is not known to end", node)
        found: str = check(node)
        return found

    def live_of(self, node: ast.expr) -> Any:
        """Return the object that a name outside the function, or an attribute of a module or the processor, is. Raises
        ``NotShown``."""
        if isinstance(node, ast.Name) and node.id not in self.own and node.id in self.live:
            return self.live[node.id]
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and self.kinds.get(node.value.id) == SELF:
                return attribute_of(self.around.processor, node)
            owner = self.live_of(node.value)
            if isinstance(owner, (types.ModuleType, type)) and hasattr(owner, node.attr):
                return getattr(owner, node.attr)
        raise NotShown(f"{ast.unparse(node)} cannot be followed", node)

    def collection(self, node: ast.expr) -> Any:
        """Return the collection of the plugin's own that an expression is; None where that is not seen."""
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return [part.value for part in node.elts if isinstance(part, ast.Constant)]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in OF_COLLECTIONS:
            found = self.collection(node.func.value)
            return tuple(getattr(found, node.func.attr)()) if type(found) is dict else None
        try:
            return self.live_of(node)
        except NotShown:
            return None

    def is_handful(self, node: ast.expr) -> bool:
        found = self.collection(node)
        return isinstance(found, (dict, list, tuple, set, frozenset)) and len(found) <= HANDFUL

    def of_Constant(self, one: ast.Constant) -> str:
        if isinstance(one.value, (str, bytes)):
            return SHORT if len(one.value) <= SHORT_CHARACTERS else TEXT
        return NUMBER if isinstance(one.value, (bool, int, float)) else VALUE

    def of_Name(self, one: ast.Name) -> str:
        if one.id in self.kinds:
            return self.kinds[one.id]
        return kind_of(self.live_of(one), one)

    def of_Attribute(self, one: ast.Attribute) -> str:
        root: ast.expr = one
        while isinstance(root, ast.Attribute):
            root = root.value
        owner = self.kind(one.value) if isinstance(root, ast.Name) and root.id in self.kinds else VALUE
        if owner == STATE:
            return VALUE
        if owner in ATTRIBUTES_OF:
            if one.attr not in ATTRIBUTES_OF[owner]:
                raise NotShown(f"{ast.unparse(one)} cannot be followed", one)
            return ATTRIBUTES_OF[owner][one.attr]
        try:
            value = self.live_of(one)
        except NotShown:
            if one.attr in ATTRIBUTES and owner != SELF:
                self.plain(one.value)
                return VALUE
            raise
        return kind_of(value, one)

    def of_Subscript(self, one: ast.Subscript) -> str:
        self.plain(one.slice)
        found = self.kind(one.value)
        if found not in (*PLAIN, TABLE, HEADERS) or (found == TABLE and isinstance(one.slice, ast.Slice)):
            raise NotShown("a part of what cannot be followed", one)
        if found in (SHORT, TEXT) and is_start(one.slice):
            return SHORT
        if isinstance(one.slice, ast.Slice):
            self.costs(one, found)
        if found == OWNED and are_short(self.collection(one.value)) and not isinstance(one.slice, ast.Slice):
            return SHORT
        return TEXT if found == HEADERS else VALUE if found in (NUMBER, LISTED) else found

    def of_Slice(self, one: ast.Slice) -> str:
        for part in (one.lower, one.upper, one.step):
            if part is not None:
                self.plain(part)
        return VALUE

    def of_BoolOp(self, one: ast.BoolOp) -> str:
        return joined(*[self.plain(value) for value in one.values])

    def of_IfExp(self, one: ast.IfExp) -> str:
        self.kind(one.test)
        kinds = {self.kind(one.body), self.kind(one.orelse)}
        if ANSWER in kinds and kinds <= {ANSWER, VALUE}:  # an answer or nothing
            return ANSWER
        return joined(self.plain(one.body), self.plain(one.orelse))

    def of_Compare(self, one: ast.Compare) -> str:
        parts = (one.left, *one.comparators)
        kinds = [self.kind(part) for part in parts]
        if any(kind not in (*PLAIN, TABLE, HEADERS) for kind in kinds):
            raise NotShown("a comparison that cannot be followed", one)
        for operator, number in zip(one.ops, range(len(one.ops)), strict=True):
            if isinstance(operator, (ast.In, ast.NotIn)):
                self.is_in(parts[number + 1], kinds[number], kinds[number + 1])
            elif not isinstance(operator, (ast.Is, ast.IsNot)) and not {*kinds[number : number + 2]} & {*CHEAP}:
                self.costs(one, VALUE)
        return NUMBER

    def is_in(self, node: ast.expr, found: str, kind: str) -> None:
        if kind == TABLE and not self.is_hashed(node):
            raise NotShown("a search in a large table", node)
        if kind == HEADERS:
            self.costs(node, found)
        elif not self.is_hashed(node) and not (kind == OWNED and self.is_handful(node)):
            if kind == OWNED and self.turns == MANY:
                raise NotShown(f"a search among more than {HANDFUL} for each of many (a set knows at once)", node)
            self.costs(node, found, kind)

    def is_hashed(self, node: ast.expr) -> bool:
        try:
            return isinstance(self.live_of(node), (dict, set, frozenset))
        except NotShown:
            return False

    def of_UnaryOp(self, one: ast.UnaryOp) -> str:
        if not isinstance(one.op, ast.Not):
            self.plain(one.operand)
        self.kind(one.operand)
        return NUMBER

    def operator(self, operator: ast.operator, node: ast.AST) -> None:
        if not isinstance(operator, OPERATORS):
            raise NotShown(f"{type(operator).__name__} can take as long as it likes", node)

    def of_BinOp(self, one: ast.BinOp) -> str:
        kinds = self.plain(one.left), self.plain(one.right)
        if isinstance(one.op, ast.Pow) and isinstance(one.left, ast.Constant) and is_small(one.right):
            return NUMBER
        self.operator(one.op, one)
        self.costs(one, *kinds)
        if isinstance(one.op, ast.Mult) and kinds != (NUMBER, NUMBER):
            raise NotShown("a product that is not of numbers", one)
        if isinstance(one.op, ast.Mod) and kinds[0] != NUMBER:
            raise NotShown("% with a format", one)
        if isinstance(one.op, (ast.Div, ast.Mult)):
            return NUMBER
        return joined(*kinds)

    def of_JoinedStr(self, one: ast.JoinedStr) -> str:
        kinds = [SHORT]
        for part in one.values:
            if isinstance(part, ast.FormattedValue):
                kinds.append(self.plain(part.value))
                if part.format_spec is not None and not is_narrow(part.format_spec):
                    raise NotShown("a width that is not small", part)
        self.costs(one, *kinds)
        return words_of(*kinds)

    def of_List(self, one: ast.List | ast.Tuple | ast.Set) -> str:
        for part in one.elts:
            found = self.plain(part.value if isinstance(part, ast.Starred) else part)
            if isinstance(part, ast.Starred):
                self.costs(part, found)
                if isinstance(one, ast.Set):
                    self.hashes(part, found)
        return OWNED if one.elts and all(isinstance(part, ast.Constant) for part in one.elts) else VALUE

    of_Tuple = of_Set = of_List

    def of_Dict(self, one: ast.Dict) -> str:
        for key, value in zip(one.keys, one.values, strict=True):
            found = self.kind(value)
            if found not in (*PLAIN, HEADERS) or (key is not None and self.kind(key) not in PLAIN):
                raise NotShown("a dictionary of what cannot be followed", one)
            if key is None:
                self.costs(one, found)
        return VALUE
