"""Reading fields and items: ``a.b``, ``a[i]``, ``a.?b``, ``a[?i]`` and ``has(a.b)``.

A chain of selections is one closure that walks it. Costs: one for each step and one for the chain itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.schema.cel.conversions import TO_STRING
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.standard import has_key
from sampan.schema.cel.values import NONE, Optional, Uint, type_name

Frame = list[Any]
"""``[cost, limit, variable, …, local, …]``"""

Run = Callable[[Frame], Any]


class Step(NamedTuple):
    """One selection: ``key`` is constant, or ``computed`` gives it."""

    key: Any
    computed: Run | None
    optional: bool


def shown(key: Any) -> str:
    convert = TO_STRING.get(type(key))
    return convert(key) if convert is not None else type_name(key)


def get(value: Any, key: Any) -> Any:
    """Return a field or an item. Raises ``EvaluationError``."""
    if isinstance(value, dict):
        try:
            found = value[key]
        except (KeyError, TypeError):
            raise EvaluationError(f"no such key: {shown(key)}") from None
        if type(key) in (bool, int) and not has_key(value, key):
            raise EvaluationError(f"no such key: {shown(key)}")
        return found
    if isinstance(value, list):
        index = list_index(key)
        if 0 <= index < len(value):
            return value[index]
        raise EvaluationError(f"index out of bounds: {index}")
    raise EvaluationError(f"no such key: {shown(key)}")


def list_index(key: Any) -> int:
    if type(key) in (int, Uint):
        return int(key)
    if type(key) is float:
        if key.is_integer():
            return int(key)
        raise EvaluationError(f"unsupported index value {shown(key)} in list")
    raise EvaluationError(f"unsupported index type '{type_name(key)}' in list")


def present(value: Any, key: Any) -> bool:
    if isinstance(value, dict):
        return has_key(value, key)
    if isinstance(value, list):
        return 0 <= list_index(key) < len(value)
    return False


def variable(slot: int, cost: int) -> Run:
    if not cost:
        return lambda frame: frame[slot]

    def run(frame: Frame) -> Any:
        frame[0] += 1
        return frame[slot]

    return run


def walk(base: Run | None, slot: int, steps: list[Step], cost: int) -> Run:
    """Return the closure of a chain that begins at a variable (``slot``) or at any expression (``base``)."""
    if any(step.optional or step.computed for step in steps) or base is not None:
        return _general(base if base is not None else variable(slot, 0), steps, cost)
    keys = [step.key for step in steps]
    if not all(type(key) is str for key in keys):
        return _general(variable(slot, 0), steps, cost)
    if len(keys) == 1:
        return _one(slot, keys[0], cost + 1)
    return _fields(slot, keys, cost + len(keys))


def _one(slot: int, key: str, cost: int) -> Run:
    def run(frame: Frame) -> Any:
        frame[0] += cost
        try:
            return frame[slot][key]
        except (KeyError, TypeError):
            return get(frame[slot], key)

    return run


def _fields(slot: int, keys: list[str], cost: int) -> Run:
    def run(frame: Frame) -> Any:
        frame[0] += cost
        value = frame[slot]
        try:
            for key in keys:
                value = value[key]
        except (KeyError, TypeError):
            return _carefully(frame, slot, keys)
        return value

    return run


def _carefully(frame: Frame, slot: int, keys: list[str]) -> Any:
    """Walk again to say what is missing; the steps not taken cost nothing."""
    value = frame[slot]
    for index, key in enumerate(keys):
        if not isinstance(value, dict) or key not in value:
            frame[0] -= len(keys) - index - 1
        value = get(value, key)
    return value


def _general(base: Run, steps: list[Step], cost: int) -> Run:
    def run(frame: Frame) -> Any:
        value = base(frame)
        frame[0] += cost
        optional = False
        for key, computed, may_be_missing in steps:
            if computed is not None:
                key = computed(frame)
            if isinstance(value, Optional):
                if not value.present:
                    return NONE
                value, optional = value.value, True
            optional = optional or may_be_missing
            if optional and not present(value, key):
                return NONE
            frame[0] += 1
            value = get(value, key)
        return Optional(value) if optional else value

    return run


def presence(operand: Run, key: str) -> Run:
    """Return ``has(operand.key)``; ``operand`` has counted the chain, which a presence test does not pay for."""

    def run(frame: Frame) -> bool:
        value = operand(frame)
        frame[0] += 1
        if isinstance(value, Optional):
            return value.present and present(value.value, key)
        return isinstance(value, dict) and key in value

    return run
