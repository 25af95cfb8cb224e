"""``circuitBreaker``: while what the backends answer fits an expression, they are not asked.

``NetworkErrorRatio() > 0.3 || ResponseCodeRatio(500, 600, 0, 600) > 0.25 || LatencyAtQuantileMS(50.0) > 100`` over the last
ten seconds. After ``fallbackDuration`` more and more requests are let in for ``recoveryDuration``. Each listener counts for
itself. A network error is a 502, 503 or 504: Envoy tells its own by 503. Source: Traefik v3, circuitbreaker.
"""

from __future__ import annotations

import re

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.middlewares.words import Words
from sampan.gateway.model.durations import go_duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("expression", "checkPeriod", "fallbackDuration", "recoveryDuration", "responseCode")
DURATIONS = {
    "PERIOD": ("checkPeriod", "100ms"),
    "FALLBACK": ("fallbackDuration", "10s"),
    "RECOVERY": ("recoveryDuration", "10s"),
}
MEASURES = {
    "NetworkErrorRatio": ("network_error_ratio", 0),
    "ResponseCodeRatio": ("response_code_ratio", 4),
    "LatencyAtQuantileMS": ("latency_at_quantile_ms", 1),
}
WORD = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]\w*)|(&&|\|\||[<>=!]=|[<>!(),]))")
COMPARISONS = {"<": "<", ">": ">", "<=": "<=", ">=": ">=", "==": "==", "!=": "~="}
DEEPEST = 20


def apply(settings: Object, draft: Draft, site: Site) -> None:
    lines = [f"local function broken(m) return {Expression(settings.get('expression') or '').lua()} end"]
    for name, (option, default) in DURATIONS.items():
        duration = go_duration(settings.get(option) or default, option)
        milliseconds = duration["seconds"] * 1000 + duration["nanos"] // 1_000_000
        if milliseconds <= 0:
            raise Unsupported(f"{option}: must be a millisecond or more")
        lines.append(f"local {name} = {milliseconds}")
    code = settings.get("responseCode") or 503
    if not isinstance(code, int) or not 200 <= code <= 599:
        raise Unsupported(f"responseCode: {code!r} is no status")
    lines.append(f'local CODE = "{code}"')
    lines.append(f"-- {site.namespace}/{site.route['metadata']['name']}")
    scripts.run(draft, 84, "circuit_breaker", {}, "\n".join(lines) + "\n")


class Expression:
    """A circuit breaker's expression, read left to right; ``lua`` is the same in Lua. Raises ``Unsupported``."""

    def __init__(self, text: str) -> None:
        self._words = Words(text, WORD, "expression")

    def lua(self) -> str:
        result = self._any(0)
        self._words.end()
        return result

    def _any(self, deep: int) -> str:
        return f"({' or '.join(self._words.parts('||', lambda: self._all(deep)))})"

    def _all(self, deep: int) -> str:
        return f"({' and '.join(self._words.parts('&&', lambda: self._one(deep)))})"

    def _one(self, deep: int) -> str:
        if deep > DEEPEST:
            raise self._words.error("too deep")
        if self._words.next() == "!":
            self._words.take()
            return f"(not {self._one(deep + 1)})"
        if self._words.next() == "(":
            self._words.take()
            inner = self._any(deep + 1)
            self._words.take(")")
            return inner
        left = self._operand()
        return f"({left} {COMPARISONS[self._words.take(*COMPARISONS)]} {self._operand()})"

    def _operand(self) -> str:
        token = self._words.take()
        if token[0].isdigit():
            return token
        if token not in MEASURES:
            raise self._words.error(f"{token!r} is none of {', '.join(MEASURES)}")
        name, count = MEASURES[token]
        self._words.take("(")
        arguments: list[str] = []
        while self._words.next() != ")":
            if arguments:
                self._words.take(",")
            argument = self._words.take()
            if not argument[0].isdigit():
                raise self._words.error(f"{argument!r} is no number")
            arguments.append(argument)
        self._words.take(")")
        if len(arguments) != count:
            raise self._words.error(f"{token} takes {count} numbers")
        return f"m.{name}({', '.join(arguments)})"
