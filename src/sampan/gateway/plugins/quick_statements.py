"""The statements of a hook, and that they end soon: the part of ``quick.py`` that goes through a function."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from dataclasses import replace

from sampan.gateway.plugins.quick_calls import (
    ANSWER,
    HEADERS,
    KEY,
    MIXED,
    NUMBER,
    OWNED,
    PLAIN,
    TABLE,
    TEXT,
    VALUE,
    WORDS,
)
from sampan.gateway.plugins.quick_expressions import MANY, Around, joined
from sampan.gateway.plugins.quick_functions import Calls
from sampan.gateway.plugins.quick_values import NotShown


def source_of(function: types.FunctionType) -> ast.FunctionDef:
    """Return the tree of a function that is what its source says. Raises ``NotShown``, ``OSError``, ``SyntaxError``."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, first - 1)
    found = tree.body[0] if tree.body else None
    if not isinstance(found, ast.FunctionDef) or found.name != function.__name__:
        raise NotShown("it is no plain function")
    is_static = [ast.unparse(one) for one in found.decorator_list] == ["staticmethod"]
    if (found.decorator_list and not is_static) or hasattr(function, "__wrapped__"):
        raise NotShown("it is decorated", found)
    arguments = found.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs or arguments.defaults:
        raise NotShown("its parameters are more than names", found)
    return found


class Shown(Calls):
    """One function on its way: its statements."""

    def __init__(self, function: types.FunctionType, around: Around) -> None:
        if function in around.above:
            raise NotShown(f"{function.__name__} calls itself")
        if function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            raise NotShown(f"{function.__name__} awaits or yields")
        if not (function.__module__ or "").startswith(around.package):
            raise NotShown(f"{function.__module__}.{function.__name__} is not known to be quick")
        super().__init__(function, replace(around, above=(*around.above, function)))
        self.tree = source_of(function)
        self.carried: set[str] = set()
        """Names that the loop around assigns: what they hold in one turn is there in the next."""
        self.summed: set[str] = set()
        """Those of them that it adds to."""
        self.given: list[str] = []
        """What its returns give."""
        self.returned = VALUE
        self.may_answer_too = False
        """Whether it may return a value here, an answer there."""

    def follow(self, called: types.FunctionType, kinds: list[str]) -> str:
        return Shown(called, replace(self.around, in_loop=self.in_loop, turns=self.turns)).returns(*kinds)

    def follow_hook(self, called: types.FunctionType, kinds: list[str]) -> None:
        from sampan.gateway.plugins.quick_objects import OfObjects

        OfObjects(called, replace(self.around, in_loop=False, turns=MANY)).returns(*kinds)

    def returns(self, *arguments: str) -> str:
        """Return what the function returns when it is called so. Raises ``NotShown``."""
        names = [one.arg for one in self.tree.args.args]
        if len(names) != len(arguments):
            raise NotShown(f"{self.tree.name} takes {len(names)} arguments", self.tree)
        self.kinds.update(zip(names, arguments, strict=True))
        self.body(self.tree.body)
        if self.returned != VALUE or not self.given:
            return self.returned
        found = joined(*self.given)
        return TEXT if found == KEY and not self.around.in_loop else found

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            check = getattr(self, f"on_{type(statement).__name__}", None)
            if check is None:
                raise NotShown(f"{type(statement).__name__.lower()} is not known to end", statement)
            check(statement)

    def on_Pass(self, _: ast.Pass) -> None:
        pass

    on_Break = on_Continue = on_Pass

    def on_Expr(self, one: ast.Expr) -> None:
        self.kind(one.value)

    def on_Return(self, one: ast.Return) -> None:
        if one.value is not None:
            found = self.kind(one.value)
            if found not in (*PLAIN, TABLE, ANSWER):
                raise NotShown("it returns what cannot be followed", one)
            if found in PLAIN:
                self.given.append(found)
            elif not self.may_answer_too:
                if self.returned not in (VALUE, found):
                    raise NotShown("it returns one thing here, another there", one)
                self.returned = found

    def on_If(self, one: ast.If) -> None:
        self.kind(one.test)
        self.body(one.body)
        self.body(one.orelse)

    def on_Assert(self, one: ast.Assert) -> None:
        self.kind(one.test)
        if one.msg is not None:
            self.kind(one.msg)

    def on_Raise(self, one: ast.Raise) -> None:
        raised = one.exc.func if isinstance(one.exc, ast.Call) else one.exc
        if raised is not None:
            self.exception(raised)
        for argument in one.exc.args if isinstance(one.exc, ast.Call) else ():
            self.plain(argument)

    def exception(self, node: ast.expr) -> None:
        for one in node.elts if isinstance(node, ast.Tuple) else (node,):
            found = self.live_of(one)
            if not isinstance(found, type) or not issubclass(found, Exception) or found.__module__ != "builtins":
                raise NotShown("an exception that is not Python's own", node)

    def on_Try(self, one: ast.Try) -> None:
        self.body(one.body)
        for handler in one.handlers:
            if handler.type is not None:
                self.exception(handler.type)
            if handler.name:
                self.name(handler.name, VALUE, handler)
            self.body(handler.body)
        self.body(one.orelse)
        self.body(one.finalbody)

    def on_For(self, one: ast.For) -> None:
        before, self.turns = self.turns, self.over(one.iter, one.target)
        names = {part for piece in one.body for part in ast.walk(piece) if isinstance(part, ast.Name)}
        self.in_loop, self.carried = True, {part.id for part in names if isinstance(part.ctx, ast.Store)}
        sums = [part.target for piece in one.body for part in ast.walk(piece) if isinstance(part, ast.AugAssign)]
        self.summed = {target.id for target in sums if isinstance(target, ast.Name)}
        for name in self.carried & self.kinds.keys():
            if self.kinds[name] in WORDS:  # what one turn leaves is there in the next
                self.kinds[name] = TEXT
        self.body(one.body)
        self.in_loop, self.carried, self.summed, self.turns = False, set(), set(), before
        self.kinds = {name: TEXT if kind == KEY else kind for name, kind in self.kinds.items()}
        self.body(one.orelse)

    def carries(self, value: ast.expr, kind: str) -> None:
        """Refuse what a loop could let grow from turn to turn faster than by addition."""
        parts = list(ast.walk(value))
        count = sum(isinstance(part, ast.Name) and part.id in self.carried for part in parts)
        if count and (kind != NUMBER or count > 1 or any(isinstance(part, ast.Mult) for part in parts)):
            raise NotShown("what grows in a loop", value)
        if self.in_loop and sum(self.is_header(part) for part in parts) > 1:  # which it may have set in the turn before
            raise NotShown("what grows in a loop", value)

    def is_header(self, part: ast.AST) -> bool:
        owner = part.func if isinstance(part, ast.Call) else part
        if not isinstance(owner, (ast.Attribute, ast.Subscript)) or (
            owner is part and isinstance(owner, ast.Attribute)
        ):
            return False
        try:
            return self.kind(owner.value) == HEADERS
        except NotShown:
            return False

    def on_Assign(self, one: ast.Assign) -> None:
        found = self.kind(one.value)
        self.carries(one.value, found)
        for target in one.targets:
            self.assign(target, found)

    def on_AnnAssign(self, one: ast.AnnAssign) -> None:
        if one.value is not None:
            self.carries(one.value, self.kind(one.value))
            self.assign(one.target, self.kind(one.value))

    def on_AugAssign(self, one: ast.AugAssign) -> None:
        self.operator(one.op, one)
        kinds = self.kind(one.target), self.kind(one.value)
        if self.in_loop and (kinds != (NUMBER, NUMBER) or not isinstance(one.op, (ast.Add, ast.Sub))):
            raise NotShown("what grows in a loop", one)
        if any(isinstance(part, ast.Name) and part.id in self.summed for part in ast.walk(one.value)):
            raise NotShown("what grows in a loop", one)
        if isinstance(one.op, ast.Mult) and kinds != (NUMBER, NUMBER):
            raise NotShown("a product that is not of numbers", one)
        if isinstance(one.op, ast.Mod) and kinds[0] != NUMBER:
            raise NotShown("% with a format", one)
        if kinds[0] in (OWNED, MIXED, TABLE) and kinds[1] != NUMBER:  # a list is what it was, and longer
            raise NotShown("it changes what is no collection of its own", one)
        if isinstance(one.op, ast.BitOr):
            self.hashes(one, kinds[1])
        self.costs(one, *kinds)
        self.assign(one.target, joined(self.plain(one.target), self.plain(one.value)))

    def on_Delete(self, one: ast.Delete) -> None:
        for target in one.targets:
            if not isinstance(target, ast.Subscript):
                raise NotShown("it deletes a name", target)
            self.place(target)
