"""The seam of the engine: ``compile(expression, environment) -> Program``, ``Program.evaluate(activation, budget)``.

    env = environment("1.37", {"object": types.DYN})
    program = compile("object.spec.replicas < 5", env)
    program.evaluate({"object": {...}})                       # True; raises EvaluationError, CostExceeded

A program is compiled once and kept; it holds no state between evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sampan.schema.cel.checker import check
from sampan.schema.cel.compiler import LOCALS, Compiler
from sampan.schema.cel.environment import Environment
from sampan.schema.cel.errors import BudgetExceeded, CelError, CompileError, CostExceeded, EvaluationError, Issue
from sampan.schema.cel.estimates import Estimate, estimate
from sampan.schema.cel.nodes import Node
from sampan.schema.cel.parser import parse
from sampan.schema.cel.types import Type
from sampan.schema.cel.validators import validate

PER_CALL_LIMIT = 1_000_000
"""What one evaluation may cost (apiserver pkg/apis/cel)."""

OBJECT_BUDGET = 10_000_000
"""What the evaluations of one object, or of one policy binding, may cost together."""

MATCH_CONDITIONS_BUDGET = 2_500_000
"""What all match conditions of one webhook or policy may cost together."""


class Budget:
    """What is left for the evaluations of one object."""

    __slots__ = ("remaining",)

    def __init__(self, amount: int = OBJECT_BUDGET) -> None:
        self.remaining = amount

    def spend(self, cost: int) -> None:
        """Take a cost off. Raises ``BudgetExceeded``; then nothing more may be evaluated."""
        if cost > self.remaining:
            self.remaining = -1
            raise BudgetExceeded(
                "validation failed due to running out of cost budget, no further validation rules will be run"
            )
        self.remaining -= cost


class Result(NamedTuple):
    """An evaluation: its value, or the error it ended in, and what it cost."""

    value: Any
    error: EvaluationError | CostExceeded | None
    cost: int


class ProgramError(CelError):
    """The expression checks, but what is constant in it fails (``int('a')``)."""


class Program:
    """A compiled expression. ``variables`` are those it uses."""

    __slots__ = ("_cost", "_environment", "_node", "_run", "_size", "_slots", "expression", "result_type", "variables")

    def __init__(self, expression: str, node: Node, environment: Environment) -> None:
        self.expression = expression
        self.result_type: Type = node.type
        self._node = node
        self._environment = environment
        self._cost: Estimate | None = None
        compiler = Compiler()
        try:
            self._run = compiler.run(node)
        except EvaluationError as error:
            raise ProgramError(str(error)) from None
        self._slots = tuple(compiler.slots.items())
        self._size = compiler.size - LOCALS
        self.variables = frozenset(compiler.slots)

    @property
    def estimated_cost(self) -> Estimate:
        """The least and the most an evaluation may cost, from what the declared types may hold."""
        if self._cost is None:
            self._cost = estimate(self._node, self._environment)
        return self._cost

    def result(self, activation: Mapping[str, Any], limit: int = PER_CALL_LIMIT) -> Result:
        """Evaluate, and say what it cost; never raises. ``activation``: variable → value."""
        frame: list[Any] = [0, limit, *([None] * self._size)]
        try:
            for name, slot in self._slots:
                frame[slot] = activation[name]
            value = self._run(frame)
        except KeyError as error:
            return Result(None, EvaluationError(f"no such attribute(s): {error.args[0]}"), frame[0])
        except EvaluationError as error:
            exceeded = CostExceeded() if frame[0] > limit else error
            return Result(None, exceeded, frame[0])
        except CostExceeded as error:
            return Result(None, error, frame[0])
        except RecursionError:
            return Result(None, EvaluationError("evaluation recursion limit exceeded"), frame[0])
        return Result(None, CostExceeded(), frame[0]) if frame[0] > limit else Result(value, None, frame[0])

    def evaluate(self, activation: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """Return the value. Raises ``EvaluationError``, ``CostExceeded`` and, with a budget, ``BudgetExceeded``."""
        value, error, cost = self.result(activation)
        if budget is not None:
            budget.spend(cost)
        if error is not None:
            raise error
        return value


def compile(expression: str, environment: Environment) -> Program:
    """Return the program of an expression. Raises ``CompileError`` (it does not parse or check) or ``ProgramError``."""
    node = parse(expression, environment.macros, environment.optional_syntax)
    check(expression, node, environment)
    validate(expression, node, environment)
    try:
        return Program(expression, node, environment)
    except RecursionError:
        raise CompileError(expression, [Issue(0, "expression recursion limit exceeded: 250")]) from None
