"""Calls as closures: the arguments, then the function, then its cost.

A call whose argument fails is paid for as well, as in cel-go, where errors are values that pass through the calls.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sampan.schema.cel.attributes import Frame, Run
from sampan.schema.cel.errors import EvaluationError, no_overload
from sampan.schema.cel.runtime_costs import CallCost

# What Python raises where a value is of another type than declared: only null can be (a nullable field).
WRONG_TYPE = (TypeError, AttributeError, ValueError, IndexError, KeyError, OverflowError, RecursionError)


def invocation(function: Callable[..., Any], args: list[Run], cost: CallCost, name: str) -> Run:
    """Return the closure of a call: arguments, then the function, then its cost."""
    if len(args) == 1 and isinstance(cost, int):
        return _unary(function, args[0], cost, name)
    if len(args) == 2 and isinstance(cost, int):
        return _binary(function, args[0], args[1], cost, name)
    if not isinstance(cost, int) and len(args) == 2:
        return _binary_sized(function, args[0], args[1], cost, name)

    def run(frame: Frame) -> Any:
        try:
            values = [arg(frame) for arg in args]
        except EvaluationError:
            frame[0] += 1
            raise
        result: Any = None
        try:
            result = function(*values)
        except WRONG_TYPE:
            raise no_overload(PLAIN.get(name, name)) from None
        finally:
            frame[0] += cost if isinstance(cost, int) else cost(values, result)
        return result

    return run


PLAIN = dict.fromkeys(("startsWith", "endsWith", "contains", "matches", "@in", "!_", "-_"), "")
"""Functions whose refusal does not name them."""


def _unary(function: Callable[..., Any], arg: Run, cost: int, name: str) -> Run:
    def run(frame: Frame) -> Any:
        try:
            value = arg(frame)
        finally:
            frame[0] += cost
        try:
            return function(value)
        except WRONG_TYPE:
            raise no_overload(PLAIN.get(name, name)) from None

    return run


def _binary(function: Callable[..., Any], left: Run, right: Run, cost: int, name: str) -> Run:
    def run(frame: Frame) -> Any:
        try:
            one = left(frame)
        except EvaluationError:
            _count_other(frame, right, cost)
            raise
        try:
            other = right(frame)
        finally:
            frame[0] += cost
        try:
            return function(one, other)
        except WRONG_TYPE:
            raise no_overload(PLAIN.get(name, name)) from None

    return run


def _count_other(frame: Frame, right: Run, cost: int) -> None:
    """An operator whose left side failed: the right one is evaluated as well, and paid for."""
    with suppress(EvaluationError):
        right(frame)
    frame[0] += cost


def _binary_sized(
    function: Callable[..., Any], left: Run, right: Run, cost: Callable[[Any, Any], int], name: str
) -> Run:
    def run(frame: Frame) -> Any:
        try:
            one = left(frame)
        except EvaluationError:
            _count_other(frame, right, 1)
            raise
        try:
            other = right(frame)
        except EvaluationError:
            frame[0] += 1
            raise
        result: Any = None
        try:
            result = function(one, other)
        except WRONG_TYPE:
            raise no_overload(PLAIN.get(name, name)) from None
        finally:
            frame[0] += cost((one, other), result)
        return result

    return run
