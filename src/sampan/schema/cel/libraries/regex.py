"""``find`` and ``findAll`` with RE2 patterns (Kubernetes' regex library)."""

from __future__ import annotations

from itertools import islice

from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.standard import pattern
from sampan.schema.patterns import Pattern


def _compiled(text: str) -> Pattern:
    try:
        return pattern(text)
    except EvaluationError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: str, regex: str) -> str:
    return next(_compiled(regex).find_all(text), "")


def _find_all(text: str, regex: str, count: int = -1) -> list[str]:
    found = _compiled(regex).find_all(text)
    return list(found if count < 0 else islice(found, count))


REGEX = [
    overload("string_find_string", "string.find(string) -> string", _find),
    overload("string_find_all_string", "string.findAll(string) -> list(string)", _find_all),
    overload("string_find_all_string_int", "string.findAll(string, int) -> list(string)", _find_all),
]
