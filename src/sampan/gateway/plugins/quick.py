"""Whether a hook ends soon, whatever it is asked: then Envoy may call it on the thread that serves everybody (``inline.py``).

Nothing can be taken away from that thread: who sleeps, asks a server, or counts to a million there, stops the gateway. So a
hook has to be shown to be quick, by its source: a plain function of statements that come to an end (no ``while``, no loop in
a loop, no recursion, nothing awaited), on the request, on settings and on data of the plugin's own, that calls only what is
listed in ``quick_calls.py``, itself linear in what it gets, or functions of the plugin for which the same holds. It may loop
over headers and over what its owner has written, not over the parts of what a client sends: that could be as many as the
client likes. Names are looked up in the function as it lives (globals, what it closes over), so ``time.time`` is known from
``time.sleep`` however it is called.

What cannot be shown is no error: the hook is asked on a loop of its own, as any other. It guards against mistakes, not
against who means harm: that is what ``isolation: Process`` is for. ``reason`` is the one entry.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from collections.abc import Callable
from typing import Any

from sampan.gateway.plugins.quick_calls import ANSWER, NUMBER, PLAIN, REQUEST, TABLE, VALUE
from sampan.gateway.plugins.quick_expressions import Expressions, NotShown


def reason(function: Callable[..., Any], package: str) -> str:
    """Return why it is not shown that a hook is quick, with the line; "" where it is. Never raises."""
    try:
        if not isinstance(function, types.FunctionType):
            raise NotShown("it is no plain function")
        Shown(function, package, (), False).returns(REQUEST)
    except NotShown as problem:
        return f"line {problem.line}: {problem.text}" if problem.line else problem.text
    except (OSError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        return f"its source cannot be read: {error}"
    return ""


def reason_of_hosted(package: str) -> str:
    """Return ``reason`` for the hook that this process has made of a package."""
    from sampan.gateway.plugins.host import HOSTED

    return reason(HOSTED[package].function, package) if package in HOSTED else "it is no hook"


def source_of(function: types.FunctionType) -> ast.FunctionDef:
    """Return the tree of a function that is what its source says. Raises ``NotShown``, ``OSError``, ``SyntaxError``."""
    lines, first = inspect.getsourcelines(function)
    tree = ast.parse(textwrap.dedent("".join(lines)))
    ast.increment_lineno(tree, first - 1)
    found = tree.body[0] if tree.body else None
    if not isinstance(found, ast.FunctionDef) or found.name != function.__name__:
        raise NotShown("it is no plain function")
    if found.decorator_list or hasattr(function, "__wrapped__"):
        raise NotShown("it is decorated", found)
    arguments = found.args
    if arguments.vararg or arguments.kwarg or arguments.kwonlyargs or arguments.posonlyargs or arguments.defaults:
        raise NotShown("its parameters are more than names", found)
    return found


class Shown(Expressions):
    """One function on its way: its statements."""

    def __init__(
        self, function: types.FunctionType, package: str, above: tuple[types.FunctionType, ...], in_loop: bool
    ) -> None:
        if function in above:
            raise NotShown(f"{function.__name__} calls itself")
        if function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
            raise NotShown(f"{function.__name__} awaits or yields")
        if not (function.__module__ or "").startswith(package):
            raise NotShown(f"{function.__module__}.{function.__name__} is not known to be quick")
        super().__init__(function, in_loop)
        self.package, self.above = package, (*above, function)
        self.tree = source_of(function)
        self.carried: set[str] = set()
        """Names that the loop around assigns: what they hold in one turn is there in the next."""
        self.returned = VALUE

    def follow(self, called: types.FunctionType, kinds: list[str]) -> str:
        return Shown(called, self.package, self.above, self.in_loop).returns(*kinds)

    def returns(self, *arguments: str) -> str:
        """Return what the function returns when it is called so. Raises ``NotShown``."""
        names = [one.arg for one in self.tree.args.args]
        if len(names) != len(arguments):
            raise NotShown(f"{self.tree.name} takes {len(names)} arguments", self.tree)
        self.kinds.update(zip(names, arguments, strict=True))
        self.body(self.tree.body)
        return self.returned

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
            if found in (ANSWER, TABLE):
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
        self.over(one.iter, one.target)
        names = {part for piece in one.body for part in ast.walk(piece) if isinstance(part, ast.Name)}
        self.in_loop, self.carried = True, {part.id for part in names if isinstance(part.ctx, ast.Store)}
        self.body(one.body)
        self.in_loop, self.carried = False, set()
        self.body(one.orelse)

    def carries(self, value: ast.expr, kind: str) -> None:
        """Refuse what a loop could let grow from turn to turn faster than by addition."""
        parts = list(ast.walk(value))
        if any(isinstance(part, ast.Name) and part.id in self.carried for part in parts) and (
            kind != NUMBER or any(isinstance(part, ast.Mult) for part in parts)
        ):
            raise NotShown("what grows in a loop", value)

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
        if isinstance(one.op, ast.Mult) and kinds != (NUMBER, NUMBER):
            raise NotShown("a product that is not of numbers", one)
        if isinstance(one.op, ast.Mod) and kinds[0] != NUMBER:
            raise NotShown("% with a format", one)
        self.plain(one.value)
        self.assign(one.target, self.plain(one.target))

    def on_Delete(self, one: ast.Delete) -> None:
        for target in one.targets:
            if not isinstance(target, ast.Subscript):
                raise NotShown("it deletes a name", target)
            self.place(target)
