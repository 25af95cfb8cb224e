"""Secrets in attributes: by what they are called, by what they look like, and in their names, however deep."""

from __future__ import annotations

from collections.abc import Callable

from sampan.logs.linear import compiled
from sampan.logs.processing.draft import Tally
from sampan.logs.processing.redaction.secrets import NAMED
from sampan.logs.processing.redaction.texts import Replace
from sampan.logs.resource import Value


def walker(
    redact: Replace, may_have: Callable[[bytes], bool], whole: str, tally: Tally
) -> Callable[[dict[str, Value]], dict[str, Value]]:
    """Return what redacts the values of an object, however deep."""
    secret_name = compiled(NAMED)
    known: dict[str, tuple[bool, bool]] = {}
    """Of a name: whether its values are secret, and whether a secret stands in it."""

    def judged(name: str) -> tuple[bool, bool]:
        if name not in known:
            if len(known) > 10_000:
                known.clear()
            text = name.encode("utf-8", "replace")
            known[name] = secret_name.search(text) is not None, may_have(text)
        return known[name]

    def is_secret(name: str) -> bool:
        return judged(name)[0]

    def shown(name: str) -> str:
        if not judged(name)[1]:
            return name
        return redact(name.encode("utf-8", "replace")).decode("utf-8", "replace")

    def value(name: str, given: Value) -> Value:
        if given is not None and given != "" and not isinstance(given, bool) and is_secret(name):
            tally["attribute"] += 1
            return whole
        if isinstance(given, str):
            text = given.encode("utf-8", "replace")
            redacted = redact(text)
            return given if redacted is text else redacted.decode("utf-8", "replace")
        if isinstance(given, dict):
            return walk(given)
        if isinstance(given, list):
            return [value("", each) for each in given]
        if isinstance(given, int) and not isinstance(given, bool) and given > 10**11:
            text = str(given).encode()
            redacted = redact(text)
            return given if redacted is text else redacted.decode()
        return given

    def walk(values: dict[str, Value]) -> dict[str, Value]:
        return {shown(name): value(name, given) for name, given in values.items()}

    def suspects(values: dict[str, Value], texts: list[str]) -> bool:
        """Whether a name is secret; what is to be looked into goes to ``texts``."""
        for name, given in values.items():
            if judged(name)[1]:
                return True
            if given is None or given is True or given is False:
                continue
            if is_secret(name):
                return True
            if isinstance(given, str):
                texts.append(given)
            elif isinstance(given, dict):
                if suspects(given, texts):
                    return True
            elif isinstance(given, list):
                if suspects({"": {str(at): each for at, each in enumerate(given)}}, texts):
                    return True
            elif given > 10**11:
                texts.append(str(given))
        return False

    def walk_suspects(values: dict[str, Value]) -> dict[str, Value]:
        texts: list[str] = []
        if suspects(values, texts) or may_have("\n".join(texts).encode("utf-8", "replace")):
            return walk(values)
        return values

    return walk_suspects
