"""Go's regular expressions and templates as Envoy writes them: both are RE2; ``$1`` and ``${1}`` are ``\\1`` there."""

from __future__ import annotations

import re

from sampan.gateway.model.expressions import checked
from sampan.gateway.model.verdicts import Unsupported

REFERENCE = re.compile(r"\$(?:(\d)(?!\d)|\{(\d+)\}|(\$)|\{?([A-Za-z_]\w*)\}?)")


def groups_of(expression: str, at: str) -> int:
    """Return how many groups an expression has. Raises ``Unsupported`` for what is none."""
    try:
        return checked(expression)
    except Unsupported as error:
        raise Unsupported(f"{at}: {error}") from None


def substitution(template: str, groups: int, at: str) -> str:
    """Return a template of Go as Envoy's. Raises ``Unsupported`` for groups by name or that are not there."""

    def one(found: re.Match[str]) -> str:
        if found[3]:
            return "$"
        if found[4]:
            raise Unsupported(f"{at}: groups are referred to by number, not ${{{found[4]}}}")
        number = int(found[1] or found[2])
        if number > min(groups, 9):
            return ""  # as Go does
        return f"\\{number}"

    parts, end = [], 0
    for found in REFERENCE.finditer(template):
        parts += [template[end : found.start()].replace("\\", "\\\\"), one(found)]
        end = found.end()
    return "".join([*parts, template[end:].replace("\\", "\\\\")])
