"""Expressions and what Kubernetes' own engine (cel-go with apiserver's libraries, 1.37) makes of them.

``cel_answers.json`` holds, for untyped and for schema-typed variables, the compiler's messages or the type, the estimated
and the actual cost, and the value or the error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sampan.schema.cel import types, values
from sampan.schema.cel.conversions import format_double, format_timestamp
from sampan.schema.cel.convert import converter
from sampan.schema.cel.declared import of_schema
from sampan.schema.cel.environment import environment
from sampan.schema.cel.errors import CompileError
from sampan.schema.cel.program import ProgramError, compile

ANSWERS = json.loads((Path(__file__).parent / "cel_answers.json").read_text())
DECLARED = of_schema(ANSWERS["schema"], "selfType", root=True)
UNTYPED = environment("1.36", {"self": types.DYN}, stored=True)
TYPED = environment("1.36", {"self": DECLARED, "oldSelf": DECLARED}, stored=True)
OBJECT = (converter(ANSWERS["schema"], root=True) or (lambda value: value))(ANSWERS["object"])


def shown(value: Any) -> str:
    """Write a value as the oracle does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if isinstance(value, values.Uint):
        return f"{int(value)}u"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"double({format_double(value)})"
    if isinstance(value, bytes):
        return f"b{value.hex()}"
    if isinstance(value, values.Timestamp):
        return f"ts({format_timestamp(values.Timestamp(value.nanos))})"
    if isinstance(value, values.Duration):
        return f"dur({value.nanos})"
    if isinstance(value, values.TypeValue):
        return f"type({value.name})"
    if isinstance(value, values.Optional):
        return f"optional({shown(value.value)})" if value.present else "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{shown(key)}: {shown(item)}" for key, item in value.items())) + "}"
    return str(value.type_name)


def answer(expression: str, typed: bool) -> dict[str, Any]:
    try:
        program = compile(expression, TYPED if typed else UNTYPED)
    except CompileError as error:
        return {"issues": str(error)}
    except ProgramError as error:
        return {"program": str(error)}
    kind = program.result_type
    found: dict[str, Any] = {"type": str(kind) if kind.params else kind.name}
    found["min"], found["max"] = program.estimated_cost
    variables = {"self": OBJECT, "oldSelf": OBJECT} if typed else {"self": {"a": {"b": 1}}}
    result = program.result(variables)
    found["cost"] = result.cost
    if result.error is not None:
        found["error"] = str(result.error)
    else:
        found["value"] = shown(result.value)
    return found


@pytest.mark.parametrize("expression", ANSWERS["untyped"])
def test_untyped(expression: str) -> None:
    assert answer(expression, typed=False) == ANSWERS["untyped"][expression]


@pytest.mark.parametrize("expression", ANSWERS["typed"])
def test_typed(expression: str) -> None:
    assert answer(expression, typed=True) == ANSWERS["typed"][expression]
