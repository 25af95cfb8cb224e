"""``find`` and ``findAll`` with RE2 patterns (Kubernetes' regex library)."""

from __future__ import annotations

import re

from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.standard import pattern


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return pattern(text)
    except EvaluationError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: str, regex: str) -> str:
    match = _compiled(regex).search(text)
    return match[0] if match else ""


def _find_all(text: str, regex: str, count: int = -1) -> list[str]:
    found: list[str] = []
    for match in _compiled(regex).finditer(text):
        if 0 <= count <= len(found):
            break
        found.append(match[0])
    return found


REGEX = [
    overload("string_find_string", "string.find(string) -> string", _find),
    overload("string_find_all_string", "string.findAll(string) -> list(string)", _find_all),
    overload("string_find_all_string_int", "string.findAll(string, int) -> list(string)", _find_all),
]
