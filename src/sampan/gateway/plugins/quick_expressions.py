"""What the expressions of a hook are, and that they end soon: the part of ``quick.py`` that looks at values."""

from __future__ import annotations

import ast
import builtins
import hmac
import inspect
import ipaddress
import random
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from sampan.gateway.plugins.quick_calls import (
    ANSWER,
    ATTRIBUTES,
    CALLED,
    CODECS,
    DIGEST,
    DIGESTS,
    FIXED,
    GROW,
    HEADERS,
    KEPT,
    LOOKS_UP,
    METHODS,
    NUMBER,
    OF_DIGEST,
    OF_HEADERS,
    OF_REQUEST,
    OWNED,
    PLAIN,
    REQUEST,
    TABLE,
    TEXT,
    VALUE,
)

STATIC = (type(None), bool, int, float, str, bytes)
OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr, ast.BitXor, ast.RShift)
LARGEST_TABLE, LARGEST_OWNED = 2_000_000, 1000
"""In elements, those of elements included."""
LARGEST_POWER = 1024


class NotShown(Exception):
    """Something of a hook of which it is not shown that it is quick."""

    def __init__(self, text: str, node: ast.AST | None = None) -> None:
        super().__init__(text)
        self.text, self.line = text, getattr(node, "lineno", 0)


def elements_of(value: Any) -> int:
    """Return how much plain data something is, through and through; 0 where it is none, or too much."""
    count, stack = 0, [value]
    while stack and count < LARGEST_TABLE:
        one, count = stack.pop(), count + 1
        if type(one) is dict:
            stack += [*one.keys(), *one.values()]
        elif type(one) in (list, tuple, set, frozenset):
            stack += one
        elif type(one) not in STATIC and not isinstance(one, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
            return 0
    return 0 if stack else count


def kind_of(value: Any, node: ast.expr) -> str:
    """Return what a name outside the function is. Raises ``NotShown``."""
    count = elements_of(value)
    if not count:
        raise NotShown(f"{ast.unparse(node)} is no plain data", node)
    if count > LARGEST_OWNED:
        return TABLE
    return TEXT if isinstance(value, (str, bytes)) else NUMBER if isinstance(value, (int, float)) else OWNED


class Expressions(ABC):
    """What the names of one function are, and what comes of them. ``in_loop``: whether it is called in one."""

    def __init__(self, function: types.FunctionType, in_loop: bool) -> None:
        self.in_loop = in_loop
        self.kinds: dict[str, str] = {}
        self.live = {**vars(builtins), **function.__globals__, **inspect.getclosurevars(function).nonlocals}
        self.own = {*function.__code__.co_varnames, *function.__code__.co_cellvars}

    @abstractmethod
    def follow(self, called: types.FunctionType, kinds: list[str]) -> str:
        """Return what a function of the plugin returns when it is called so. Raises ``NotShown``."""

    # names

    def assign(self, target: ast.expr, kind: str) -> None:
        if isinstance(target, ast.Name):
            self.name(target.id, kind, target)
        elif isinstance(target, (ast.Tuple, ast.List)) and kind in (VALUE, OWNED, TABLE):
            for one in target.elts:
                self.assign(one, kind)
        elif isinstance(target, ast.Subscript) and kind in (*PLAIN, TABLE):
            if self.place(target) != HEADERS and self.in_loop:
                raise NotShown("what grows in a loop", target)
        else:
            raise NotShown("an assignment that cannot be followed", target)

    def place(self, target: ast.Subscript) -> str:
        self.plain(target.slice)
        found = self.kind(target.value)
        if found not in (VALUE, HEADERS):  # what is owned stays as it was measured
            raise NotShown("it changes what is no collection of its own", target)
        return found

    def name(self, name: str, kind: str, node: ast.AST) -> None:
        known = self.kinds.get(name, kind)
        if known != kind and not (known in PLAIN and kind in PLAIN):
            raise NotShown(f"{name} is one thing here, another there", node)
        if self.in_loop and known != kind:
            raise NotShown(f"{name} changes its kind in a loop", node)
        if TABLE in (known, kind) and known != kind:
            raise NotShown(f"{name} is one thing here, another there", node)
        self.kinds[name] = kind if known == kind else VALUE

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
        """Return the object that a name outside the function, or an attribute of a module, is. Raises ``NotShown``."""
        if isinstance(node, ast.Name) and node.id not in self.own and node.id in self.live:
            return self.live[node.id]
        if isinstance(node, ast.Attribute):
            owner = self.live_of(node.value)
            if isinstance(owner, (types.ModuleType, type)) and hasattr(owner, node.attr):
                return getattr(owner, node.attr)
        raise NotShown(f"{ast.unparse(node)} cannot be followed", node)

    def of_Constant(self, one: ast.Constant) -> str:
        if isinstance(one.value, (str, bytes)):
            return TEXT
        return NUMBER if isinstance(one.value, (bool, int, float)) else VALUE

    def of_Name(self, one: ast.Name) -> str:
        if one.id in self.kinds:
            return self.kinds[one.id]
        return kind_of(self.live_of(one), one)

    def of_Attribute(self, one: ast.Attribute) -> str:
        if isinstance(one.value, ast.Name) and self.kinds.get(one.value.id) == REQUEST:
            if one.attr not in OF_REQUEST:
                raise NotShown(f"request.{one.attr} cannot be followed", one)
            return OF_REQUEST[one.attr]
        try:
            value = self.live_of(one)
        except NotShown:
            if one.attr in ATTRIBUTES:
                self.plain(one.value)
                return VALUE
            raise
        return kind_of(value, one)

    def of_Subscript(self, one: ast.Subscript) -> str:
        self.plain(one.slice)
        found = self.kind(one.value)
        if found not in (*PLAIN, TABLE, HEADERS) or (found == TABLE and isinstance(one.slice, ast.Slice)):
            raise NotShown("a part of what cannot be followed", one)
        return TEXT if found in (TEXT, HEADERS) else found if found in (OWNED, TABLE) else VALUE

    def of_Slice(self, one: ast.Slice) -> str:
        for part in (one.lower, one.upper, one.step):
            if part is not None:
                self.plain(part)
        return VALUE

    def of_BoolOp(self, one: ast.BoolOp) -> str:
        kinds = {self.plain(value) for value in one.values}
        return kinds.pop() if len(kinds) == 1 else VALUE

    def of_IfExp(self, one: ast.IfExp) -> str:
        self.kind(one.test)
        kinds = {self.kind(one.body), self.kind(one.orelse)}
        if ANSWER in kinds and kinds <= {ANSWER, VALUE}:  # an answer or nothing
            return ANSWER
        kinds = {self.plain(one.body), self.plain(one.orelse)}
        return kinds.pop() if len(kinds) == 1 else VALUE

    def of_Compare(self, one: ast.Compare) -> str:
        kinds = [self.kind(part) for part in (one.left, *one.comparators)]
        if any(kind not in (*PLAIN, TABLE, HEADERS) for kind in kinds):
            raise NotShown("a comparison that cannot be followed", one)
        for operator, part, kind in zip(one.ops, one.comparators, kinds[1:], strict=True):
            if isinstance(operator, (ast.In, ast.NotIn)) and kind == TABLE and not self.is_hashed(part):
                raise NotShown("a search in a large table", one)
        return NUMBER

    def is_hashed(self, node: ast.expr) -> bool:
        try:
            return isinstance(self.live_of(node), (dict, set, frozenset))
        except NotShown:
            return False

    def of_UnaryOp(self, one: ast.UnaryOp) -> str:
        self.plain(one.operand)
        return NUMBER

    def operator(self, operator: ast.operator, node: ast.AST) -> None:
        if not isinstance(operator, OPERATORS):
            raise NotShown(f"{type(operator).__name__} can take as long as it likes", node)

    def of_BinOp(self, one: ast.BinOp) -> str:
        kinds = self.plain(one.left), self.plain(one.right)
        if isinstance(one.op, ast.Pow) and isinstance(one.left, ast.Constant) and is_small(one.right):
            return NUMBER
        self.operator(one.op, one)
        if isinstance(one.op, ast.Mult) and kinds != (NUMBER, NUMBER):
            raise NotShown("a product that is not of numbers", one)
        if isinstance(one.op, ast.Mod) and kinds[0] != NUMBER:
            raise NotShown("% with a format", one)
        if isinstance(one.op, (ast.Div, ast.Mult)):
            return NUMBER
        return kinds[0] if kinds[0] == kinds[1] else VALUE

    def of_JoinedStr(self, one: ast.JoinedStr) -> str:
        for part in one.values:
            if isinstance(part, ast.FormattedValue):
                self.plain(part.value)
                if part.format_spec is not None and not is_short(part.format_spec):
                    raise NotShown("a width that is not small", part)
        return TEXT

    def of_List(self, one: ast.List | ast.Tuple | ast.Set) -> str:
        for part in one.elts:
            self.plain(part.value if isinstance(part, ast.Starred) else part)
        return OWNED if one.elts and all(isinstance(part, ast.Constant) for part in one.elts) else VALUE

    of_Tuple = of_Set = of_List

    def of_Dict(self, one: ast.Dict) -> str:
        for part in (*one.keys, *one.values):
            if part is not None and self.kind(part) not in (*PLAIN, HEADERS):
                raise NotShown("a dictionary of what cannot be followed", one)
        return VALUE

    def over(self, iterated: ast.expr, target: ast.expr) -> None:
        """Note a loop. Raises ``NotShown`` where it is in another."""
        if self.in_loop:
            raise NotShown("a loop in a loop", iterated)
        if self.kind(iterated) not in (OWNED, HEADERS):
            raise NotShown("a loop over what is neither headers nor the plugin's own", iterated)
        self.assign(target, TEXT if self.kind(iterated) == HEADERS and isinstance(target, ast.Name) else VALUE)

    def of_GeneratorExp(self, one: ast.GeneratorExp | ast.ListComp | ast.SetComp) -> str:
        self.comprehended(one.generators, one.elt)
        return VALUE

    of_ListComp = of_SetComp = of_GeneratorExp

    def of_DictComp(self, one: ast.DictComp) -> str:
        self.comprehended(one.generators, one.key, one.value)
        return VALUE

    def comprehended(self, generators: list[ast.comprehension], *parts: ast.expr) -> None:
        if len(generators) > 1 or generators[0].is_async:
            raise NotShown("a loop in a loop", generators[1].iter if len(generators) > 1 else generators[0].iter)
        names = {one.id for one in ast.walk(generators[0].target) if isinstance(one, ast.Name)}
        own, self.own = self.own, self.own | names
        before = dict(self.kinds)
        for name in names:
            self.kinds.pop(name, None)
        self.over(generators[0].iter, generators[0].target)
        self.in_loop = True
        for part in (*generators[0].ifs, *parts):
            self.plain(part)
        self.in_loop, self.own, self.kinds = False, own, before

    def of_Call(self, one: ast.Call) -> str:
        if any(isinstance(argument, ast.Starred) for argument in one.args) or any(not key.arg for key in one.keywords):
            raise NotShown("arguments that cannot be counted", one)
        if isinstance(one.func, ast.Attribute):
            found = self.method(one, one.func)
            if found:
                return found
        called = self.live_of(one.func)
        if isinstance(called, types.FunctionType) and called not in CALLED:
            if one.keywords:
                raise NotShown("a call that cannot be followed", one)
            kinds = [self.kind(argument) for argument in one.args]
            return self.follow(called, kinds)
        if not is_listed(called):
            raise NotShown(f"{ast.unparse(one.func)} is not known to be quick", one)
        if called is random.choices and one.keywords:
            raise NotShown("a number of choices", one)
        kinds = [self.argument(argument, called) for argument in (*one.args, *[key.value for key in one.keywords])]
        return OWNED if called in KEPT and kinds and all(kind == OWNED for kind in kinds) else CALLED[called]

    def argument(self, node: ast.expr, called: Any) -> str:
        """Return what a listed function gets: values, or the name of an algorithm or a class. Raises ``NotShown``."""
        if isinstance(node, (ast.Name, ast.Attribute)):
            try:
                live = self.live_of(node)
            except NotShown:
                live = None
            if (called is hmac.new and is_listed(live) and live in DIGESTS) or (
                called is isinstance and isinstance(live, type)
            ):
                return VALUE
        found = self.kind(node)
        fits = found in PLAIN or (found == TABLE and called in LOOKS_UP)
        if not fits and not (found == HEADERS and called in (len, dict, list, sorted, set, tuple, bool)):
            raise NotShown("it is handed on where it cannot be followed", node)
        return found

    def method(self, call: ast.Call, attribute: ast.Attribute) -> str:
        """Return what a method of the request or of a value returns, "" where it is a function of a module."""
        try:
            owner = self.kind(attribute.value)
        except NotShown:
            self.live_of(attribute)  # who is neither says why
            return ""
        name = attribute.attr
        arguments = [*call.args, *[key.value for key in call.keywords]]
        if owner == REQUEST and name == "respond":
            for argument in arguments:
                self.plain(argument)
            return ANSWER
        known = {HEADERS: OF_HEADERS, DIGEST: OF_DIGEST, TABLE: {"get": TABLE}}.get(owner, METHODS)
        if name not in known or owner in (REQUEST, ANSWER):
            raise NotShown(f".{name}() is not known to be quick", call)
        if name in FIXED and owner in PLAIN and not all(isinstance(argument, ast.Constant) for argument in arguments):
            raise NotShown(f".{name}() with what the source does not say", call)
        if name in ("encode", "decode") and not all(argument.value in CODECS for argument in arguments):  # type: ignore[attr-defined]
            raise NotShown("a coding that is not known to be quick", call)
        if name == "join" and not isinstance(attribute.value, ast.Constant):
            raise NotShown("a separator that the source does not say", call)
        if name in GROW and owner == OWNED:  # what is owned stays as it was measured
            raise NotShown("it changes what is no collection of its own", call)
        if name in GROW and self.in_loop and owner != HEADERS:
            raise NotShown("what grows in a loop", call)
        for argument in arguments:
            self.plain(argument)
        if owner == HEADERS and name in ("items", "keys", "values") and not self.in_loop:
            return OWNED  # Envoy lets no more than a hundred of them pass
        return OWNED if owner == OWNED and name in KEPT else known[name]


def is_listed(called: Any) -> bool:
    try:
        return called in CALLED
    except TypeError:
        return False


def is_small(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and abs(node.value) <= LARGEST_POWER


def is_short(spec: ast.expr) -> bool:
    """Return whether a format's specification asks for no more than some hundred characters."""
    parts = spec.values if isinstance(spec, ast.JoinedStr) else []
    text = "".join([str(part.value) for part in parts if isinstance(part, ast.Constant)])
    is_constant = isinstance(spec, ast.JoinedStr) and all(isinstance(part, ast.Constant) for part in spec.values)
    return is_constant and all(len(digits) <= 3 for digits in numbers_in(text))


def numbers_in(text: str) -> Iterator[str]:
    yield from "".join(c if c.isdigit() else " " for c in text).split()
