"""Whether a hook ends soon, whatever it is asked: then Envoy may call it on the thread that serves everybody (``inline.py``).

Nothing can be taken away from that thread: who sleeps, asks a server, or counts to a million there, stops the gateway. So a
hook has to be shown to be quick, by its source: a plain function of statements that come to an end (no ``while``, no loop in
a loop, no recursion, nothing awaited), on the request, on settings and on data of the plugin's own, that calls only what is
listed in ``quick_calls.py``, itself linear in what it gets, or functions of the plugin for which the same holds. It may loop
over headers and over what its owner has written, not over the parts of what a client sends: that could be as many as the
client likes. Names are looked up in the function as it lives (globals, what it closes over), so ``time.time`` is known from
``time.sleep`` however it is called.

A processor's methods have to be such functions as well: what ``self`` has is looked up in the processor as it lives. Where it
is given bodies, which are longer than headers are, what is done in a loop may not take longer the longer they are
(``quick_loops.py``); what ``json.loads`` calls for each object has rules of its own (``quick_objects.py``).

What cannot be shown is no error: the hook is asked on a loop of its own, the processor in its process, as any other. It
guards against mistakes, not against who means harm: that is what ``isolation: Process`` is for. ``reason`` and
``reason_of_processor`` are the entries; ``quick_statements.py`` goes through a function, ``quick_expressions.py`` and
``quick_functions.py`` through its parts.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Callable, Iterable
from typing import Any

from sampan.gateway.plugins.quick_calls import EXCHANGE, REQUEST, SELF, TEXT
from sampan.gateway.plugins.quick_expressions import Around
from sampan.gateway.plugins.quick_statements import Shown
from sampan.gateway.plugins.quick_values import NotShown, attribute_of

PHASES = ("request_headers", "response_headers", "request_content", "response_content")
"""Methods that Envoy may call itself."""


def reason(function: Callable[..., Any], package: str) -> str:
    """Return why it is not shown that a hook is quick, with the line; "" where it is. Never raises."""
    try:
        if not isinstance(function, types.FunctionType):
            raise NotShown("it is no plain function")
        Shown(function, Around(package)).returns(REQUEST)
    except NotShown as problem:
        return f"line {problem.line}: {problem.text}" if problem.line else problem.text
    except (OSError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        return f"its source cannot be read: {error}"
    return ""


def reason_of_processor(processor: Any, phases: Iterable[str], package: str) -> str:
    """Return why it is not shown that a processor's methods (``phases``) are quick, with the method and the line; "" where it
    is. Never raises."""
    phases = tuple(phases)
    try:
        problem = of_its_own_kind(processor, package)
    except Exception as error:
        problem = str(error)
    if problem:
        return problem
    around = Around(package, is_strict=any(name.endswith("_content") for name in phases), processor=processor)
    for name in phases:
        found = f"{name} streams" if name not in PHASES else reason_of_method(name, around)
        if found:
            return found
    return ""


def of_its_own_kind(processor: Any, package: str) -> str:
    """Return why it cannot be said what a processor's attributes are; "" where it can: they are what they seem to be."""
    for one in type(processor).__mro__[:-1]:
        if not (one.__module__ or "").startswith(package) or type(one) is not type:
            return f"{one.__module__}.{one.__qualname__} is no plain class of the plugin"
        for name in ("__getattr__", "__getattribute__"):
            if name in vars(one):
                return f"{one.__qualname__} has {name}"
    return "" if len(type(processor).__mro__) > 1 else "the processor is no object of a class of the plugin"


def reason_of_method(name: str, around: Around) -> str:
    """Return why it is not shown that a method of the processor is quick; "" where it is."""
    try:
        node = ast.Attribute(ast.Name("self"), name)
        method = attribute_of(around.processor, node)
        if not isinstance(method, types.MethodType) or not isinstance(method.__func__, types.FunctionType):
            raise NotShown("it is no plain method")
        shown = Shown(method.__func__, around)
        shown.may_answer_too = True
        shown.returns(SELF, EXCHANGE, *([TEXT] if name.endswith("_content") else []))
    except NotShown as problem:
        return f"{name}, line {problem.line}: {problem.text}" if problem.line else f"{name}: {problem.text}"
    except (OSError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        return f"{name}: its source cannot be read: {error}"
    return ""


def reason_of_hosted(package: str) -> str:
    """Return ``reason`` for the hook that this process has made of a package."""
    from sampan.gateway.plugins.host import HOSTED

    return reason(HOSTED[package].function, package) if package in HOSTED else "it is no hook"
