"""A rule that knows the traces of some languages and nothing else: no learning, no indentation."""

from __future__ import annotations

from functools import lru_cache

from sampan.logs.joining import Joiner, Limits
from sampan.logs.joining.languages import LANGUAGES
from sampan.logs.joining.machine import Machine
from sampan.logs.rules.rule import Rule


@lru_cache(32)
def machine_of(names: tuple[str, ...]) -> Machine:
    return Machine(language for language in LANGUAGES if language.name in names)


class TracesJoiner(Joiner):
    def __init__(self, rule: Rule) -> None:
        limits = Limits()
        super().__init__(
            machine_of(rule.languages), Limits(rule.max_lines, rule.max_bytes or limits.bytes), learns=False
        )
        self.kind = rule.name
        self.timeout_seconds = rule.timeout_seconds

    def _continues(self, line: bytes) -> str:
        return ""
