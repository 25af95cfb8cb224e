"""The step ``redact``: its options."""

from __future__ import annotations

from sampan.logs import linear
from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.draft import Cutting, Draft, ForStream, Passing, Step, Tally
from sampan.logs.processing.patterns import compiled, groups_of
from sampan.logs.processing.redaction.attributes import walker
from sampan.logs.processing.redaction.cutting import between_secrets
from sampan.logs.processing.redaction.keys import Keys
from sampan.logs.processing.redaction.secrets import KEY, SECRETS
from sampan.logs.processing.redaction.texts import Replace, all_of, gate_of, replacing

REPLACEMENT = "[redacted:NAME]"
SECRET_KEY = linear.compiled(KEY)
LONGEST_LEVEL = 5
"""Of the usual words; a longer one is looked through."""


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    chosen = secrets_of(options)
    given = options.text("replacement", REPLACEMENT)
    parts = [(name, SECRETS[name].pattern, of_secret(name, given, tally)) for name in chosen]
    patterns = [linear.compiled(SECRETS[name].pattern) for name in chosen]
    for name, text in options.mapping("patterns").items():
        field = f"{options.place('patterns')}.{name}"
        pattern = compiled(text, field)
        if pattern.search(b"") is not None:
            raise OptionError(field, f"{text!r} matches the empty text, so everywhere")
        group = groups_of(pattern).get("secret", 0)
        patterns.append(pattern)
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
        if len(draft.severity_text) > LONGEST_LEVEL:  # what stands at ``level`` is taken, whatever it is
            draft.severity_text = redact(draft.severity_text.encode("utf-8", "replace")).decode("utf-8", "replace")
        if draft.event_name:
            draft.event_name = redact(draft.event_name.encode("utf-8", "replace")).decode("utf-8", "replace")
        return ""

    keys = given.replace("NAME", "private_key").encode() if "private_key" in chosen else None
    by_lines = all(is_anywhere(text) for text in options.mapping("patterns").values())

    def clean(raw: bytes) -> bool:
        return not gate(raw)

    def clean_json(raw: bytes) -> bool:
        """Without escapes the texts stand in the lines as they are; names are looked at as they stand in an object."""
        return b"\\" not in raw and not gate(raw) and (walk is None or SECRET_KEY.search(raw) is None)

    def for_stream(labels: Labels) -> Step:
        if keys is None:
            return Passing(step, clean, clean_json) if by_lines else step
        of_stream = Keys(step, keys, tally)
        if not by_lines:
            return of_stream
        return Passing(
            of_stream,
            lambda raw: not of_stream.goes_on and clean(raw),
            lambda raw: not of_stream.goes_on and clean_json(raw),
        )

    return Cutting(for_stream, between_secrets(patterns, gate))


def is_anywhere(text: str) -> bool:
    """Whether a pattern matches in a text wherever that stands: it asks for no beginning and no end."""
    return not any(sign in text for sign in ("^", "$", "\\A", "\\z", "\\B", "\\b"))


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
        linear.compiled(secret.pattern), secret.group, secret.check, given.replace("NAME", name).encode(), name, tally
    )
