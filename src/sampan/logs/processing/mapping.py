"""``map``: names of what a record has, changed. In this order: ``set``, ``move``, ``rename``, ``drop``.

- map:
    set: {env: prod, who: {expression: 'stream.namespace + "/" + stream.pod'}}
    move: {log.message: text, lvl: level, when: time}       # into a field of the record's own, or out of one
    rename: {usr: user.name}                                # of attributes
    drop: [password, "debug.*"]                             # attributes, by patterns of names
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable
from typing import Any

from sampan.logs.joining import Record
from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.conditions import program
from sampan.logs.processing.draft import Draft, ForStream, Tally, everywhere
from sampan.logs.processing.paths import PREFIX, STREAM, WRITERS, reader, taken, writer
from sampan.logs.resource import Value
from sampan.schema.cel.errors import CelError

Change = Callable[[Draft], None]


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    changes: list[Change] = []
    for name, given in anything(options, "set").items():
        changes.append(setting(checked(name, options, "set"), given, f"{options.place('set')}.{name}", tally))
    for source, target in options.mapping("move").items():
        changes.append(moving(source, checked(target, options, "move"), tally))
    for source, target in options.mapping("rename").items():
        for name in (source, target):
            if name in WRITERS or name in STREAM:
                raise OptionError(f"{options.place('rename')}.{source}", f"{name} is no attribute: move is for it")
        changes.append(moving(source, target, tally))
    changes += [dropping(pattern) for pattern in options.texts("drop")]
    if not changes:
        raise OptionError(options.field, "one of set, move, rename, drop is wanted")

    def map_fields(draft: Draft) -> str:
        for change in changes:
            change(draft)
        return ""

    return everywhere(map_fields)


def anything(options: Options, name: str) -> dict[str, Any]:
    empty: dict[str, Any] = {}
    return options.take(
        name, empty, lambda value: value if isinstance(value, dict) else None, "a mapping of names to values"
    )


def checked(name: str, options: Options, option: str) -> str:
    if name in STREAM or name.startswith("labels."):
        raise OptionError(f"{options.place(option)}.{name}", "what a stream is called cannot be changed")
    return name


def setting(name: str, given: Any, field: str, tally: Tally) -> Change:
    write = writer(name)
    if isinstance(given, dict):
        if set(given) != {"expression"}:
            raise OptionError(field, "a value, or {expression: …} is wanted")
        evaluate = program(str(given["expression"]), f"{field}.expression", "")
        return lambda draft: computed(draft, evaluate, write, tally)
    if not fits(given) or not write(probe(), given):
        raise OptionError(field, f"{name} cannot be {given!r}")

    def change(draft: Draft) -> None:
        write(draft, given)

    return change


def probe() -> Draft:
    """Return a draft to try values on."""
    return Draft(Labels({}), Record(b"", b"", 1, "", ""), 0)


def computed(
    draft: Draft, evaluate: Callable[[Draft], Any], write: Callable[[Draft, Value], bool], tally: Tally
) -> None:
    try:
        value = evaluate(draft)
    except CelError:
        tally["expression_errors"] += 1
        return
    if not fits(value) or not write(draft, copied(value)):
        tally["unfit"] += 1


def copied(value: Any) -> Any:
    """Return a value that shares nothing: an expression may return the attributes that its value is put into."""
    if isinstance(value, dict):
        return {name: copied(each) for name, each in value.items()}
    return list(map(copied, value)) if isinstance(value, list) else value


def fits(value: Any) -> bool:
    """Whether a value can be an attribute: what JSON has."""
    if isinstance(value, dict):
        return all(isinstance(name, str) and fits(each) for name, each in value.items())
    if isinstance(value, list):
        return all(map(fits, value))
    return isinstance(value, str | float) or (isinstance(value, int) and -(2**63) <= value < 2**64)


def moving(source: str, target: str, tally: Tally) -> Change:
    """Move a value. One that the target cannot be stays where it was, and is counted."""
    read, write, key = reader(source), writer(target), source.removeprefix(PREFIX)

    def change(draft: Draft) -> None:
        value = read(draft)
        if value is None:
            return
        if source in CLEARED:
            if write(draft, value):
                CLEARED[source](draft)
            return
        if source in STREAM:
            write(draft, value)
        elif target in WRITERS:
            if write(draft, value):
                taken(draft.attributes, key)
            else:
                tally["unfit"] += 1
        else:
            taken(draft.attributes, key)
            write(draft, value)

    return change


CLEARED: dict[str, Change] = {
    "text": lambda draft: setattr(draft, "text", b""),
    "level": lambda draft: setattr(draft, "severity_text", ""),
    "severity": lambda draft: setattr(draft, "severity_number", 0),
    "time": lambda draft: setattr(draft, "time_unix_nano", 0),
    "event": lambda draft: setattr(draft, "event_name", ""),
    "trace_id": lambda draft: setattr(draft, "trace_id", ""),
    "span_id": lambda draft: setattr(draft, "span_id", ""),
}


def dropping(pattern: str) -> Change:
    key = pattern.removeprefix(PREFIX)
    if not any(sign in key for sign in "*?["):
        return lambda draft: (taken(draft.attributes, key), None)[1]

    def change(draft: Draft) -> None:
        for name in [name for name in draft.attributes if fnmatch.fnmatchcase(name, key)]:
            del draft.attributes[name]

    return change
