"""Whether a recorded history of concurrent reads and writes of one register could have happened one after the other.

Each operation took effect at one moment between its call and its answer, or the history is wrong. An operation without an
answer (its connection broke) may have taken effect at any time after its call, or never. The search is Wing and Gong's
("Testing and verifying concurrent objects", 1993) with Lowe's memory of what was tried: a pair of the operations that are
placed and the state they leave is never looked at twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

NEVER = math.inf


class Operation(NamedTuple):
    """``read``: ``result`` is the value seen (None: nothing there). ``write``: ``value`` is there afterwards (None: nothing).
    ``create``, ``swap``: as write, if nothing, or ``expected``, was there; ``result`` is whether it was. ``end`` is
    ``NEVER`` where there was no answer."""

    kind: str
    start: float
    end: float
    value: str | None = None
    expected: str | None = None
    result: str | bool | None = None


def step(state: str | None, operation: Operation) -> tuple[bool, str | None]:
    """Return whether an operation could have had its result on a state, and the state it leaves."""
    answered = operation.end != NEVER
    match operation.kind:
        case "read":
            return not answered or operation.result == state, state
        case "write":
            return True, operation.value
        case "create" | "swap":
            matched = state == (operation.expected if operation.kind == "swap" else None)
            return not answered or operation.result == matched, operation.value if matched else state
    raise ValueError(operation.kind)


def linearizable(history: Sequence[Operation], state: str | None = None) -> bool:
    """Whether the history of one register, which begins with ``state``, is linearizable."""
    answered = sum(1 << index for index, operation in enumerate(history) if operation.end != NEVER)
    tried: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, state)]
    while stack:
        placed, state = stack.pop()
        if placed & answered == answered:
            return True
        if (placed, state) in tried:
            continue
        tried.add((placed, state))
        # nothing may be placed before an operation that had ended when it began
        deadline = min(op.end for index, op in enumerate(history) if not placed >> index & 1)
        for index, operation in enumerate(history):
            if not placed >> index & 1 and operation.start <= deadline:
                possible, after = step(state, operation)
                if possible:
                    stack.append((placed | 1 << index, after))
    return False
