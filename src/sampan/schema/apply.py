"""Server-side apply and managedFields (KEP-555), as clients see them.

``apply`` merges a configuration into an object and takes away what its manager no longer names; ``track_update`` notes,
after every other write, which manager now owns what changed. Both leave ``metadata.managedFields`` as Kubernetes would:
one entry a (manager, operation, apiVersion, subresource), its time moved only when its set gains something.

The sets are handled as the FieldsV1 trees they are in JSON (``schema.fields``), so that the common write, which changes
a few fields, costs a comparison that skips equal subtrees and no parsing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sampan.schema import fields as sets
from sampan.schema.fields import Node
from sampan.schema.merge import MergeError, merge, remove
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.schema.types import Type

APPLY, UPDATE = "Apply", "Update"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT = "ancient-changes"
MAX_UPDATE_MANAGERS = 10

UNTRACKED = ("apiVersion", "kind")
UNTRACKED_METADATA = frozenset((
    "clusterName", "creationTimestamp", "generation", "managedFields", "name", "namespace", "resourceVersion",
    "selfLink", "uid",
))  # fmt: skip

Entry = dict[str, Any]
Key = tuple[str, str, str, str]


class ApplyError(ValueError):
    """A configuration that cannot be applied: 400 BadRequest."""


class Version(NamedTuple):
    """Another version of a kind: what its objects are like, and how one becomes such; ``convert`` None: it only has
    another name."""

    type: Type | None = None
    convert: Callable[[Object], Object] | None = None


SAME = Version()
Versions = Callable[[str], Version | None]
"""``apiVersion`` → the version; None where the kind has no such version."""


class Conflict(NamedTuple):
    """A field that another manager owns with another value: ``message`` is the cause's (``conflict with "x" using
    v1``), ``field`` its path (``.spec.replicas``)."""

    manager: str
    field: str
    message: str


class Conflicts(Exception):
    """Apply without force met fields of others: 409 Conflict, one cause FieldManagerConflict for each."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        self.conflicts = conflicts
        self.message = _conflicts_message(conflicts)
        super().__init__(self.message)


def _conflicts_message(conflicts: list[Conflict]) -> str:
    if len(conflicts) == 1:
        return f"Apply failed with 1 conflict: {conflicts[0].message}: {conflicts[0].field}"
    lines: list[str] = []
    for message in sorted({conflict.message for conflict in conflicts}):
        lines.append(message.replace("conflict with", "conflicts with", 1) + ":")
        lines += [f"- {conflict.field}" for conflict in conflicts if conflict.message == message]
    return f"Apply failed with {len(conflicts)} conflicts: " + "\n".join(lines)


# --- entries ----------------------------------------------------------------------------------------------------------


def _key(entry: Entry) -> Key:
    operation = entry.get("operation", "")
    # an applier is the same one whatever version it applies
    version = "" if operation == APPLY else entry.get("apiVersion", "")
    return entry.get("manager", ""), operation, version, entry.get("subresource", "")


def _set_of(entry: Entry) -> Node:
    found = entry.get("fieldsV1")
    return found if isinstance(found, dict) else {}


def _valid(entries: Any) -> bool:
    return isinstance(entries, list) and all(
        isinstance(entry, dict)
        and entry.get("operation") in (APPLY, UPDATE)
        and entry.get("apiVersion")
        and entry.get("fieldsType") == "FieldsV1"
        and sets.is_set(entry.get("fieldsV1") or {})
        for entry in entries
    )


def _entries(obj: Object | None) -> list[Entry]:
    """The entries of a stored object, which only this module wrote."""
    return (obj or {}).get("metadata", {}).get("managedFields") or []


def _entry(key: Key, api_version: str, tree: Node, time: str) -> Entry:
    manager, operation, _, subresource = key
    entry: Entry = {"apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": tree, "manager": manager,
                    "operation": operation, "time": time}  # fmt: skip
    if subresource:
        entry["subresource"] = subresource
    return entry


def _sorted(entries: Iterable[Entry]) -> list[Entry]:
    def order(entry: Entry) -> tuple[str, ...]:
        names = ("operation", "time", "manager", "apiVersion", "subresource")
        return tuple(entry.get(name) or "" for name in names)

    return sorted(entries, key=order)


def _capped(entries: list[Entry]) -> list[Entry]:
    """Merge the oldest updaters of a version into one when there are too many (``capManagers``)."""
    updaters = [entry for entry in entries if entry["operation"] == UPDATE]
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return entries
    updaters.sort(key=lambda entry: (entry.get("time") or "", entry.get("manager", "")))
    kept = [entry for entry in entries if not any(entry is old for old in updaters[: excess + 1])]
    buckets: dict[str, Entry] = {}
    for entry in updaters[: excess + 1]:
        version = entry["apiVersion"]
        bucket = buckets.get(version)
        merged = sets.union(_set_of(bucket), _set_of(entry)) if bucket else _set_of(entry)
        buckets[version] = _entry((ANCIENT, UPDATE, version, ""), version, merged, entry.get("time") or "")
    return kept + list(buckets.values())


# --- comparing --------------------------------------------------------------------------------------------------------


def _tracked(obj: Object | None) -> Object:
    """The part of an object whose fields have owners."""
    if not obj:
        return {}
    tracked = {}
    for key, value in obj.items():
        if key == "metadata":
            value = {name: part for name, part in (value or {}).items() if name not in UNTRACKED_METADATA}
            if not value:
                continue
        elif key in UNTRACKED:
            continue
        tracked[key] = value
    return tracked


def _compare(type: Type | None, old: Object | None, new: Object) -> tuple[Node, Node]:
    changed, removed = sets.compare(type, _tracked(old), _tracked(new))
    return _no_metadata_member(changed or {}), removed or {}


def _no_metadata_member(tree: Node) -> Node:
    metadata = tree.get("f:metadata")
    if metadata and sets.MEMBER in metadata:
        return {**tree, "f:metadata": {key: node for key, node in metadata.items() if key != sets.MEMBER}}
    return tree


def same(a: Object, b: Object) -> bool:
    """Whether two states of an object are one but for resourceVersion and the times in managedFields: then the write
    changes nothing and must not raise the revision."""
    if len(a) != len(b):
        return False
    for key, value in a.items():  # what changes mostly, and what is quickest to compare
        if key != "metadata" and (key not in b or value != b[key]):
            return False
    plain = _without_times(a), _without_times(b)
    if plain[0] != plain[1]:
        return False
    # 1 == True in Python, but not in JSON
    first, second = (orjson.dumps(part, option=orjson.OPT_SORT_KEYS) for part in plain)
    return first == second


def _without_times(obj: Object) -> Object:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "resourceVersion"}
    entries = metadata.get("managedFields")
    if entries:
        metadata["managedFields"] = [
            {name: part for name, part in entry.items() if name != "time"} for entry in entries
        ]
    return {**obj, "metadata": metadata}


# --- update -----------------------------------------------------------------------------------------------------------


def track_update(
    live: Object | None,
    new: Object,
    *,
    type: Type | None,
    manager: str,
    api_version: str,
    now: str,
    subresource: str = "",
    operation: str = UPDATE,
    versions: Versions | None = None,
) -> None:
    """Set ``new.metadata.managedFields`` in place after a create (``live`` None), an update or a patch.

    What the client sent there is honoured as Kubernetes does: nothing keeps the stored entries, valid entries replace
    them (not through a subresource), ``[{}]`` resets them. ``versions``: what else the kind is, or was, written in."""
    metadata = new["metadata"]
    sent = metadata.pop("managedFields", None)
    if live is not None and not subresource and sent == [{}]:
        return
    entries = _entries(live)
    if not subresource and sent and sent != entries and _valid(sent):
        entries = sent
    if live is not None and not entries:
        return  # tracking was switched off by a reset, and begins again with the first apply
    changed, removed = _compare(type, live, new)
    key: Key = (manager, operation, api_version, subresource)
    others = _Elsewhere(versions, api_version, live, new, (changed, removed))
    entries = _updated(entries, key, api_version, others, now)
    if entries:
        metadata["managedFields"] = entries


class _Elsewhere:
    """What a write changes as each version of the kind sees it: managers own fields of the version they wrote in."""

    def __init__(
        self, versions: Versions | None, api_version: str, live: Object | None, new: Object, own: tuple[Node, Node]
    ) -> None:
        self.own = own
        self._versions, self._live, self._new = versions, live, new
        self._known: dict[str, tuple[Node, Node] | None] = {api_version: own}

    def of(self, entry: Entry) -> tuple[Node, Node] | None:
        """Return what is changed and removed in the version of an entry; None where there is no such version (any more)."""
        name = entry["apiVersion"]
        if name not in self._known:
            self._known[name] = self._seen(name)
        return self._known[name]

    def _seen(self, name: str) -> tuple[Node, Node] | None:
        found = SAME if self._versions is None else self._versions(name)
        if found is None or found.convert is None:
            return None if found is None else self.own
        live = None if self._live is None else found.convert(self._live)
        return _compare(found.type, live, found.convert(self._new))


def _updated(entries: list[Entry], key: Key, api_version: str, seen: _Elsewhere, now: str) -> list[Entry]:
    changed, removed = seen.own
    if not changed and not removed:
        return entries
    if not entries:
        return [_entry(key, api_version, changed, now)] if changed else entries
    result: list[Entry] = []
    own: Node = changed
    for entry in entries:
        tree = _set_of(entry)
        if _key(entry) == key and changed:
            own = sets.union(sets.difference(tree, removed), changed)
            continue
        found = seen.of(entry)
        if found is None:
            continue
        rest = sets.difference(tree, sets.union(*found))
        if rest:
            result.append(entry if rest is tree else {**entry, "fieldsV1": rest})
    if own:
        result.append(_entry(key, api_version, own, now))
    return _capped(_sorted(result))


# --- apply ------------------------------------------------------------------------------------------------------------


def apply(
    live: Object | None,
    config: Object,
    *,
    type: Type | None,
    manager: str,
    api_version: str,
    now: str,
    force: bool = False,
    subresource: str = "",
    part: Callable[[Object], Object] | None = None,
    decode: Callable[[Object], object] | None = None,
    versions: Versions | None = None,
) -> Object:
    """Return ``live`` with ``config`` applied, its managedFields brought up to date; nothing given is shared with it.
    ``part`` returns what of an object this path may change: the first apply gives only that an owner. ``decode`` is called
    with the result where it may hold what decoding an object leaves out: maps and lists that were emptied are null.

    ``config`` has passed ``Type.check``. The result is not yet defaulted or validated. When nothing changed the result
    is ``same`` as ``live``. Raises ``Conflicts`` and ``ApplyError``."""
    _check_config(config, api_version)

    def applied(force: bool) -> Object:
        merged, pruned = _apply(live, config, type, manager, api_version, now, force, subresource, part, versions)
        made = _copy(merged)
        if pruned and decode is not None:
            decode(made)
            made["metadata"].setdefault("managedFields", [])  # none is told apart from not sent
        return made

    try:
        return applied(force)
    except MergeError as error:
        raise ApplyError(typed_error(config, str(error))) from None
    except Conflicts as conflicts:
        remaining = _not_from_last_applied(conflicts.conflicts, live, type, manager)
        if remaining:
            raise Conflicts(remaining) from None
        return applied(True)


def _copy(obj: Object) -> Object:
    copy: Object = orjson.loads(orjson.dumps(obj))
    return copy


def _check_config(config: Object, api_version: str) -> None:
    if config.get("apiVersion") != api_version:
        versions = f"Specified patch version: {config.get('apiVersion')}, expected: {api_version}"
        raise ApplyError(f"Incorrect version specified in apply patch. {versions}")
    if config.get("metadata", {}).get("managedFields") is not None:
        raise ApplyError("metadata.managedFields must be nil")


def typed_error(config: Object, why: str) -> str:
    """Return Kubernetes' words for a configuration that does not fit its type."""
    metadata = config.get("metadata") or {}
    name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
    return f"failed to create typed patch object ({name}; {config.get('apiVersion')}, Kind={config.get('kind')}): {why}"


def _apply(
    live: Object | None,
    config: Object,
    type: Type | None,
    manager: str,
    api_version: str,
    now: str,
    force: bool,
    subresource: str,
    part: Callable[[Object], Object] | None,
    versions: Versions | None,
) -> tuple[Object, bool]:
    entries = _entries(live)
    if live is not None and not entries:
        changed, _ = _compare(type, None, part(live) if part else live)
        first = _Elsewhere(None, api_version, None, live, (changed, {}))
        entries = _updated([], (BEFORE_FIRST_APPLY, UPDATE, api_version, subresource), api_version, first, now)
    key: Key = (manager, APPLY, "", subresource)
    mine = next((entry for entry in entries if _key(entry) == key), None)
    others = [entry for entry in entries if entry is not mine]
    base = live or {}
    merged: Object = merge(type, {**base, "metadata": _unmanaged(base)}, {**config, "metadata": _unmanaged(config)})
    applied = _no_metadata_member(sets.field_set(type, _tracked(config)))
    last = _set_of(mine) if mine else {}
    pruned = bool(sets.difference(last, applied))
    if pruned:
        merged = _prune(type, merged, last, sets.field_set(type, config), others)
    changed, removed = _compare(type, live, merged)
    others = _without(others, _Elsewhere(versions, api_version, live, merged, (changed, removed)), force)
    is_new = mine is None or mine.get("apiVersion") != api_version or applied != last
    if applied:
        moved = bool(changed or removed) or is_new
        time = now if mine is None or moved else mine.get("time") or now
        others = [*others, _entry(key, api_version, applied, time)]
    _sync_last_applied(live, merged, config, manager)
    return _with_managed(merged, _capped(_sorted(others))), pruned


def _unmanaged(obj: Object) -> Object:
    return {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}


def _with_managed(obj: Object, entries: list[Entry]) -> Object:
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "managedFields": entries}}


def _without(others: list[Entry], seen: _Elsewhere, force: bool) -> list[Entry]:
    """Return the other managers' entries after the change; raises ``Conflicts`` when it would take fields by force."""
    conflicts: list[Conflict] = []
    result: list[Entry] = []
    for entry in others:
        tree, found = _set_of(entry), seen.of(entry)
        if found is None:
            continue
        contested = sets.intersection(tree, found[0])
        if contested and not force:
            message = f"conflict with {_shown(entry)}"
            conflicts += [Conflict(entry.get("manager", ""), path, message) for path in sets.paths(contested)]
        rest = sets.difference(tree, sets.union(*found))
        if rest:
            result.append(entry if rest is tree else {**entry, "fieldsV1": rest})
    if conflicts:
        raise Conflicts(sorted(conflicts, key=lambda conflict: conflict.message))
    return result


def _shown(entry: Entry) -> str:
    shown = f'"{entry.get("manager", "")}"'
    if entry.get("subresource"):
        shown += f' with subresource "{entry["subresource"]}"'
    if entry.get("operation") == UPDATE:
        shown += f" using {entry.get('apiVersion', '')}"
    return shown


def _prune(type: Type | None, merged: Object, last: Node, applied: Node, others: list[Entry]) -> Object:
    """Return the object without the fields that this manager applied last time, does not apply now, and nobody else
    owns. (structured-merge-diff: remove, add back what is owned, add back what was not the manager's.)"""

    def all_fields(obj: Object) -> Node:
        return sets.ensure_named(type, sets.field_set(type, obj))

    before = sets.ensure_named(type, last)
    owned = applied
    for entry in others:
        owned = sets.union(owned, _set_of(entry))
    everything = all_fields(merged)
    pruned = remove(type, merged, before) or {}
    keep = sets.union(all_fields(pruned), sets.ensure_named(type, owned))
    pruned = remove(type, merged, sets.difference(everything, keep)) or {}
    dangling = sets.intersection(sets.difference(everything, all_fields(pruned)), before)
    return remove(type, merged, dangling) or {}


# --- the way from client-side apply -----------------------------------------------------------------------------------


def _last_applied(live: Object | None) -> str:
    found = ((live or {}).get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED)
    return found if isinstance(found, str) else ""


def _not_from_last_applied(
    conflicts: list[Conflict], live: Object | None, type: Type | None, manager: str
) -> list[Conflict]:
    """Return the conflicts that are not about fields which kubectl itself owns by its client-side annotation."""
    text = _last_applied(live)
    if manager != "kubectl" or not text:
        return conflicts
    try:
        config = orjson.loads(text)
    except orjson.JSONDecodeError:
        return conflicts
    if not isinstance(config, dict):
        return conflicts
    known = set(sets.paths(sets.field_set(type, config)))
    return [conflict for conflict in conflicts if conflict.field not in known]


def _sync_last_applied(live: Object | None, merged: Object, config: Object, manager: str) -> None:
    """Keep kubectl's client-side annotation true after its server-side apply, so that one may go back."""
    if manager != "kubectl" or not _last_applied(live) or not _last_applied(merged):
        return
    metadata = _unmanaged(config)
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != LAST_APPLIED}
    metadata = {**metadata, "annotations": annotations}
    if not annotations:
        del metadata["annotations"]
    text = orjson.dumps({**config, "metadata": metadata}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    merged["metadata"] = {
        **merged["metadata"],
        "annotations": {**merged["metadata"]["annotations"], LAST_APPLIED: text},
    }
