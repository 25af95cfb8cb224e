"""What happened to an object, for people: who changed what when. Pure.

Who and when come from the object itself (managedFields), as far as it tells; what, from comparing it with what it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from sampan.store.protocol import Event

NOISE = (("metadata", "managedFields"), ("metadata", "resourceVersion"))
MISSING = object()


class Revision(NamedTuple):
    """One change. ``time`` is RFC 3339, empty where nobody knows; ``lines`` are ``+ path: value``, ``- …``, ``~ …``."""

    revision: int
    verb: str
    managers: list[str]
    time: str
    lines: list[str]


def revision_of(event: Event, time: str) -> Revision:
    """Return a change as people read it; ``time`` is the store's own knowledge of when."""
    new: Any = orjson.loads(event.record.value)
    old: Any = orjson.loads(event.previous.value) if event.previous else None
    if event.deleted:
        return Revision(event.revision, "deleted", [], time, [])
    who, when = changed_by(old, new)
    verb = "changed" if old is not None else "created"
    return Revision(event.revision, verb, who, when or time, list(difference(old, new) if old is not None else ()))


def changed_by(old: Any, new: Any) -> tuple[list[str], str]:
    """Return the managers who wrote, as ``manager (operation subresource)``, and when: who is new, has another time or
    has fields that he had not. Where that is nobody (a second write of the same fields within a second, for times are
    whole seconds) it is who wrote last."""
    before, after = entries(old) if old else {}, entries(new)
    found = {key: entry for key, entry in after.items() if key not in before or wrote(before[key], entry)}
    if not found and after:
        last = max(str(entry.get("time", "")) for entry in after.values())
        found = {key: entry for key, entry in after.items() if str(entry.get("time", "")) == last}
    times = [str(entry.get("time", "")) for entry in found.values()]
    if not times and not old:
        times = [str(new["metadata"].get("creationTimestamp") or "")]
    named = [f"{who} ({how}{f' {subresource}' if subresource else ''})" for who, how, subresource in found]
    return named, max(times, default="")


def wrote(before: Any, after: Any) -> bool:
    return before.get("time") != after.get("time") or gained(before.get("fieldsV1"), after.get("fieldsV1"))


def gained(before: Any, after: Any) -> bool:
    """Whether a set of fields has some that another has not."""
    return any(key not in (before or {}) or gained(before[key], after[key]) for key in after or {})


def entries(obj: Any) -> dict[tuple[str, str, str], Any]:
    return {
        (entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", "")): entry
        for entry in obj["metadata"].get("managedFields") or []
    }


def difference(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of a difference, in the order of the new object; what is gone comes after its siblings."""
    if path in NOISE or old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*new, *(key for key in old if key not in new)]:
            yield from difference(old.get(key, MISSING), new.get(key, MISSING), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        names = by_name(old), by_name(new)
        if names[0] is not None and names[1] is not None:
            for key in [*names[1], *(key for key in names[0] if key not in names[1])]:
                yield from difference(
                    names[0].get(key, MISSING), names[1].get(key, MISSING), (*path[:-1], f"{path[-1]}[{key}]")
                )
            return
        for at in range(max(len(old), len(new))):
            before, after = (values[at] if at < len(values) else MISSING for values in (old, new))
            yield from difference(before, after, (*path[:-1], f"{path[-1]}[{at}]"))
    elif old is MISSING:
        yield f"+ {'.'.join(path)}: {text(new)}"
    elif new is MISSING:
        yield f"- {'.'.join(path)}: {text(old)}"
    else:
        yield f"~ {'.'.join(path)}: {text(old)} -> {text(new)}"


def by_name(values: list[Any]) -> dict[str, Any] | None:
    """Return a list's elements by their name or type (containers, conditions); None where they have none."""
    for field in ("name", "type"):
        named = {str(value[field]): value for value in values if isinstance(value, dict) and field in value}
        if len(named) == len(values):
            return named
    return None


def text(value: Any) -> str:
    return orjson.dumps(value).decode()
