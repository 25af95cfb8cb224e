"""The loops of macros as closures: one for each macro that is used much, and the general one.

Costs are those of what the macros expand to: a condition and an accumulator each round (cel-go's evalFold).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.schema.cel.attributes import Frame, Run
from sampan.schema.cel.errors import CostExceeded, EvaluationError, no_overload
from sampan.schema.cel.values import Timestamp, Uint

GO_TYPES = {
    bool: "Bool", int: "Int", Uint: "Uint", float: "Double", str: "String", bytes: "Bytes", type(None): "Null",
    Timestamp: "Timestamp",
}  # fmt: skip
UNSET = object()
"""What a bound variable is before it is first used."""


def iterated(value: Any) -> Iterable[Any]:
    if isinstance(value, (list, dict)):
        return value
    name = GO_TYPES.get(type(value))
    raise EvaluationError(f"got '{'types.' + name if name else type(value).__name__}', expected iterable type")


def items_of(value: Any, slots: tuple[int, int]) -> tuple[list[Any], Iterable[Any]]:
    """Return what a loop assigns: a list to the first variable and, with two variables, one to the second."""
    found = iterated(value)
    if not slots[1]:
        first = list(found)
        return first, ()
    if isinstance(value, dict):
        return list(value), list(value.values())
    return list(range(len(value))), value


def quantifier(range: Run, predicate: Run, slots: tuple[int, int], all_: bool) -> Run:
    """``all`` and ``exists``: errors are forgotten where another item decides."""
    first_slot, second_slot = slots
    condition = 2 if all_ else 3
    deciding: bool = not all_

    def run(frame: Frame) -> Any:
        first, second = items_of(range(frame), slots)
        error: EvaluationError | None = None
        seconds = iter(second)
        for index, item in enumerate(first):
            frame[0] += condition + 1
            if frame[0] > frame[1]:
                raise CostExceeded
            frame[first_slot] = item
            if second_slot:
                frame[second_slot] = next(seconds)
            try:
                value = predicate(frame)
            except EvaluationError as problem:
                error = error or problem
                continue
            if value is deciding:
                frame[0] += (condition if index + 1 < len(first) else 0) + 1
                return deciding
            if value is not all_:
                error = error or no_overload()
        frame[0] += 1
        if error is not None:
            raise error
        return all_

    return run


def exists_one(range: Run, predicate: Run, slots: tuple[int, int]) -> Run:
    first_slot, second_slot = slots

    def run(frame: Frame) -> bool:
        first, second = items_of(range(frame), slots)
        count = 0
        seconds = iter(second)
        for item in first:
            if frame[0] > frame[1]:
                raise CostExceeded
            frame[first_slot] = item
            if second_slot:
                frame[second_slot] = next(seconds)
            value = predicate(frame)
            if value is True:
                count += 1
                frame[0] += 2
            elif value is not False:
                raise no_overload()
        frame[0] += 2
        return count == 1

    return run


def mapping(range: Run, predicate: Run | None, transform: Run, slots: tuple[int, int], per_item: int) -> Run:
    """``map``, ``filter`` and ``transformList``; ``per_item`` is what adding one item costs beside the transform."""
    first_slot, second_slot = slots

    def run(frame: Frame) -> list[Any]:
        first, second = items_of(range(frame), slots)
        found: list[Any] = []
        seconds = iter(second)
        for item in first:
            if frame[0] > frame[1]:
                raise CostExceeded
            frame[first_slot] = item
            if second_slot:
                frame[second_slot] = next(seconds)
            if predicate is not None:
                wanted = predicate(frame)
                if wanted is not True:
                    if wanted is not False:
                        raise no_overload()
                    continue
            found.append(transform(frame))
            frame[0] += per_item
        frame[0] += 1
        return found

    return run


def fold(range: Run, slots: tuple[int, int], accu: int, init: Run, condition: Run, step: Run, result: Run) -> Run:
    """Any other loop."""
    first_slot, second_slot = slots

    def run(frame: Frame) -> Any:
        first, second = items_of(range(frame), slots)
        frame[accu] = init(frame)
        seconds = iter(second)
        for item in first:
            if frame[0] > frame[1]:
                raise CostExceeded
            frame[first_slot] = item
            if second_slot:
                frame[second_slot] = next(seconds)
            if condition(frame) is not True:
                break
            frame[accu] = step(frame)
        return result(frame)

    return run


def binding(slot: int, body: Run) -> Run:
    """``body`` with a variable that is computed when it is first used."""

    def run(frame: Frame) -> Any:
        frame[slot] = UNSET
        return body(frame)

    return run


def bound_variable(slot: int, value: Run) -> Run:
    def run(frame: Frame) -> Any:
        found = frame[slot]
        if found is UNSET:
            found = frame[slot] = value(frame)
        frame[0] += 1
        return found

    return run
