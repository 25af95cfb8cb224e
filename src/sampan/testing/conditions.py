"""Conditions as a test writes them, compiled to what ``client.waiting`` asks: an object in, the missing thing out."""

from __future__ import annotations

import re
from collections.abc import Callable

from sampan.client import readiness
from sampan.client.waiting import Missing
from sampan.schema.objects import Object

JSON_PATH = re.compile(r"(?:jsonpath=)?(\{.*\})(?:=(.*))?", re.DOTALL)
NOT_THERE = "it does not exist"


def missing(condition: str | Callable[[Object], object]) -> Missing:
    """Return the test of a condition. Raises ``ValueError`` for one that cannot be understood."""
    if callable(condition):
        return _function(condition)
    if condition == "ready":
        return readiness.why_not_ready
    if condition == "exists":
        return lambda obj: NOT_THERE if obj is None else ""
    if condition == "deleted":
        return lambda obj: "" if obj is None else "it is still there"
    path = JSON_PATH.fullmatch(condition)
    if path:
        return _path(path[1], path[2])
    name, _, value = condition.partition("=")
    if not re.fullmatch(r"[A-Za-z][-A-Za-z0-9_./]*", name):
        raise ValueError(f"{condition!r} is no condition")
    return _status_condition(name, value or "True")


def _function(holds: Callable[[Object], object]) -> Missing:
    name = getattr(holds, "__name__", "")
    said = "the condition does not hold" if not name or name == "<lambda>" else f"{name} does not hold"

    def test(obj: Object | None) -> str:
        if obj is None:
            return NOT_THERE
        try:
            return "" if holds(obj) else said
        except (KeyError, IndexError, TypeError) as error:  # a field that is not there yet
            return f"{said} ({type(error).__name__}: {error})"

    return test


def _path(path: str, wanted: str | None) -> Missing:
    from sampan.schema.jsonpath import compile_path

    find = compile_path(path)

    def test(obj: Object | None) -> str:
        if obj is None:
            return NOT_THERE
        values = [text(value) for value in find(obj)]
        if wanted is None:
            return "" if values else f"{path} is not there"
        return (
            "" if values and all(value == wanted for value in values) else f"{path} is {', '.join(values) or 'unset'}"
        )

    return test


def text(value: object) -> str:
    """Return a value as kubectl writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _status_condition(name: str, wanted: str) -> Missing:
    def test(obj: Object | None) -> str:
        if obj is None:
            return NOT_THERE
        found = readiness.condition(obj, name)
        if found is None:
            return f"it has no condition {name}"
        return "" if str(found["status"]).lower() == wanted.lower() else readiness.say(found)

    return test
