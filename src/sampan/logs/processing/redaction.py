"""``redact``: secrets replaced, in the text and in attributes. What was replaced is counted by its name, and shown nowhere.

    - redact: {}                                              # what is looked for by default (secrets.py)
    - redact: {secrets: [default, email], patterns: {customer: 'C-\\d{8}'}, replacement: '[redacted:NAME]'}

Of an own pattern the group ``secret`` is replaced, if it has one, else all of it. Values of attributes that are called
``password``, ``token``, ``authorization`` and the like are replaced whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import re2

from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.draft import Draft, ForStream, Step, Tally, everywhere
from sampan.logs.processing.patterns import compiled, groups_of
from sampan.logs.processing.secrets import NAMED, SECRETS
from sampan.logs.resource import Value

REPLACEMENT = "[redacted:NAME]"
Replace = Callable[[bytes], bytes]


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    chosen = secrets_of(options)
    given = options.text("replacement", REPLACEMENT)
    parts = [(name, SECRETS[name].pattern, of_secret(name, given, tally)) for name in chosen]
    for name, text in options.mapping("patterns").items():
        field = f"{options.place('patterns')}.{name}"
        pattern = compiled(text, field)
        if pattern.search(b"") is not None:
            raise OptionError(field, f"{text!r} matches the empty text, so everywhere")
        group = groups_of(pattern).get("secret", 0)
        parts.append(
            (name, text.encode(), replacing(pattern, group, None, given.replace("NAME", name).encode(), name, tally))
        )
    if not parts:
        raise OptionError(options.field, "there is nothing to look for")
    named = options.flag("attributes", True)
    gate = gate_of([pattern for _, pattern, _ in parts])
    redact = all_of([replace for _, _, replace in parts], gate)
    walk = walker(redact, gate, given.replace("NAME", "attribute"), tally) if named else None

    def step(draft: Draft) -> str:
        draft.text = redact(draft.text)
        if draft.attributes and walk is not None:
            draft.attributes = walk(draft.attributes)
        return ""

    if "private_key" not in chosen:
        return everywhere(step)
    whole = given.replace("NAME", "private_key").encode()
    return lambda labels: with_keys(step, whole, tally)


def with_keys(step: Step, replacement: bytes, tally: Tally) -> Step:
    """Return a step for one stream, where a private key may go on in the next records: until it ends, or what comes is no
    line of one."""
    goes_on = False

    def redact_keys(draft: Draft) -> str:
        nonlocal goes_on
        text = draft.text
        if goes_on:
            size, goes_on = rest_of_key(text)
            if size:
                tally["private_key"] += 1
                draft.text = replacement + (b"\n" if text[size - 1] == 10 else b"") + text[size:]
        begin = text.rfind(BEGIN)
        if begin >= 0 and text.find(END, begin) < 0 and OPENED.search(text[begin:]) is not None:
            goes_on = True
        return step(draft)

    return redact_keys


BEGIN, END = b"-----BEGIN ", b"-----END "
OPENED = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
OF_KEY = re.compile(rb"(?:[A-Za-z0-9+/=]*|(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n]*)[ \t\r]*(?:\n|$)")
END_OF_KEY = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")


def rest_of_key(text: bytes) -> tuple[int, bool]:
    """Return how much of a record is of a key that began before it, and whether the key may go on."""
    at = 0
    while at < len(text):
        found = END_OF_KEY.match(text, at)
        if found is not None:
            return found.end(), False
        found = OF_KEY.match(text, at)
        if found is None or found.end() == at:
            return at, False
        at = found.end()
    return at, True


def secrets_of(options: Options) -> list[str]:
    """Return the names of the secrets that are looked for, in the order of ``secrets.py``."""
    chosen = options.texts("secrets", ("default",))
    for name in chosen:
        if name not in SECRETS and name != "default":
            raise OptionError(
                options.place("secrets"),
                f"one of default, {', '.join(SECRETS)} is wanted, not {name!r}; own ones stand in patterns",
            )
    without = options.texts("without")
    for name in without:
        if name not in SECRETS:
            raise OptionError(options.place("without"), f"one of {', '.join(SECRETS)} is wanted, not {name!r}")
    return [
        name
        for name, secret in SECRETS.items()
        if (name in chosen or ("default" in chosen and secret.default)) and name not in without
    ]


def of_secret(name: str, given: str, tally: Tally) -> Replace:
    secret = SECRETS[name]
    return replacing(
        pattern_of(secret.pattern), secret.group, secret.check, given.replace("NAME", name).encode(), name, tally
    )


def pattern_of(text: bytes) -> Any:
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


def gate_of(patterns: list[bytes]) -> Any:
    """Return one pattern that matches where any of them may: most texts have no secret, and are looked at once."""
    return pattern_of(b"|".join(b"(?:%b)" % pattern.replace(b"(?P<secret>", b"(?:") for pattern in patterns))


def all_of(replaces: list[Replace], gate: Any) -> Replace:
    def redact(text: bytes) -> bytes:
        if gate.search(text) is not None:
            for replace in replaces:
                text = replace(text)
        return text

    return redact


def replacing(
    pattern: Any, group: int, check: Callable[[bytes], bool] | None, replacement: bytes, name: str, tally: Tally
) -> Replace:
    """Return what replaces a group of each match; a text without one comes back as it is, the same object."""

    def replace(text: bytes) -> bytes:
        parts: list[bytes] = []
        at = 0
        for found in pattern.finditer(text):
            which = group if group >= 0 else found.lastindex or 0
            start, end = found.span(which)
            if start < 0 or (check is not None and not check(text[start:end])):
                continue
            parts += (text[at:start], replacement)
            at = end
        if not parts:
            return text
        tally[name] += len(parts) // 2
        return b"".join((*parts, text[at:]))

    return replace


def walker(redact: Replace, gate: Any, whole: str, tally: Tally) -> Callable[[dict[str, Value]], dict[str, Value]]:
    """Return what redacts the values of an object, however deep."""
    secret_name = pattern_of(NAMED)
    known: dict[str, bool] = {}

    def is_secret(name: str) -> bool:
        if name not in known:
            if len(known) > 10_000:
                known.clear()
            known[name] = secret_name.search(name.encode("utf-8", "replace")) is not None
        return known[name]

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
        return {name: value(name, given) for name, given in values.items()}

    def suspects(values: dict[str, Value], texts: list[str]) -> bool:
        """Whether a name is secret; what is to be looked into goes to ``texts``."""
        for name, given in values.items():
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
        if suspects(values, texts) or gate.search("\n".join(texts).encode("utf-8", "replace")) is not None:
            return walk(values)
        return values

    return walk_suspects
