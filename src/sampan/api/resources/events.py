"""Events, in the core group and in events.k8s.io: one storage. Source: kubernetes pkg/apis/events/v1 conversion, printers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause, Column, FieldGetter, Resource
from sampan.api.resources.checking import collect, qualified
from sampan.api.resources.columns import NAME, WIDE
from sampan.api.resources.reading import dig, mapping, text
from sampan.schema.causes import invalid, required
from sampan.schema.durations import age
from sampan.schema.objects import Object

EVENTS_GROUP = "events.k8s.io"
RENAMED = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
    "reportingController": "reportingComponent",
}
"""events.k8s.io/v1 field → core v1 field."""


def regarding(event: Object) -> Object:
    return mapping(event, "regarding") or mapping(event, "involvedObject")


def either(event: Object, key: str) -> object:
    """Return a core field, whichever of its two names the event carries."""
    new = next((name for name, core in RENAMED.items() if core == key), key)
    return event.get(key) if event.get(key) is not None else event.get(new)


def last_seen(event: Object) -> str:
    series = text(event, "series", "lastObservedTime")
    last = either(event, "lastTimestamp")
    return age(series or str(last or "") or first_time(event) or None)


def first_time(event: Object) -> str:
    return str(either(event, "firstTimestamp") or event.get("eventTime") or "")


def object_cell(event: Object) -> str:
    target = regarding(event)
    kind, name = str(target.get("kind") or "").lower(), str(target.get("name") or "")
    return f"{kind}/{name}" if name else kind


def source_cell(event: Object) -> str:
    source = either(event, "source")
    component, host = text(source, "component"), text(source, "host")
    component = component or str(either(event, "reportingComponent") or "")
    host = host or text(event, "reportingInstance")
    return ", ".join(part for part in (component, host) if part)


def count_cell(event: Object) -> int:
    found = dig(event, "series", "count") or either(event, "count") or 1
    return int(found) if isinstance(found, int) else 1


COLUMNS = (
    Column("Last Seen", last_seen),
    Column("Type", ".type"),
    Column("Reason", ".reason"),
    Column("Object", object_cell),
    Column("Subobject", lambda event: text(regarding(event), "fieldPath"), priority=WIDE),
    Column("Source", source_cell, priority=WIDE),
    Column("Message", lambda event: str(either(event, "message") or "").strip()),
    Column("First Seen", lambda event: age(first_time(event) or None), priority=WIDE),
    Column("Count", count_cell, priority=WIDE),
    Column("Name", ".metadata.name", format="name", description=NAME.description, priority=WIDE),
)


def target_field(key: str) -> FieldGetter:
    return lambda event: text(regarding(event), key)


LIMITS = (("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024))
UNCHANGING = (
    "involvedObject", "reason", "message", "source", "firstTimestamp", "lastTimestamp", "count", "type", "eventTime",
    "action", "related", "reportingController", "reportingInstance",
)  # fmt: skip


def part(event: Object, name: str) -> Any:
    """Return a field by the name that messages use, whichever name the event carries."""
    if name == "reportingController":
        return either(event, "reportingComponent")
    return either(event, name)


def validate(new: Object, old: Object | None) -> Iterator[Cause]:
    """``legacyValidateEvent``: what every event has to be."""
    namespace, target = text(new, "metadata", "namespace"), text(regarding(new), "namespace")
    if not new.get("eventTime"):
        if target != namespace and not (not target and namespace == "default"):
            yield invalid("involvedObject.namespace", target, "does not match event.namespace")
        return
    if not target and namespace not in ("default", "kube-system"):
        yield invalid("involvedObject.namespace", target, "does not match event.namespace")
    controller = str(part(new, "reportingController") or "")
    called = "reportingComponent" if new.get("apiVersion") == "v1" else "reportingController"
    if not controller:
        yield required(called)
    yield from qualified(called, controller)
    for name, limit in LIMITS:
        found = str(part(new, name) or "")
        if not found and name != "message":
            yield required(name)
        if len(found.encode("utf-8", "surrogatepass")) > limit:
            yield invalid(name, "", f"can have at most {limit} characters")


def validate_strictly(new: Object, old: Object | None) -> Iterator[Cause]:
    """What events.k8s.io/v1 asks for beside: nothing of old, and no change but of the series."""
    yield from validate(new, old)
    if old is None:
        yield from series(new)
        if not new.get("eventTime"):
            yield required("eventTime")
        if new.get("type") not in ("Normal", "Warning"):
            yield invalid("type", "", f"has invalid value: {new.get('type') or ''}")
        for name in ("firstTimestamp", "lastTimestamp", "count"):
            if part(new, name):
                yield invalid(name, "", "needs to be unset")
        if any(mapping({"source": part(new, "source")}, "source").values()):
            yield invalid("source", "", "needs to be unset")
        return
    if new.get("series") != old.get("series"):
        yield from series(new)
    for name in UNCHANGING:
        if (part(new, name) or None) != (part(old, name) or None):
            yield invalid(name, part(new, name), "field is immutable")


def series(event: Object) -> Iterator[Cause]:
    found = event.get("series")
    if found is not None:
        if (found.get("count") or 0) < 2:
            yield invalid("series.count", "", "should be at least 2")
        if not found.get("lastObservedTime"):
            yield required("series.lastObservedTime")


def to_core(event: Object) -> None:
    for new, core in RENAMED.items():
        if new in event:
            event[core] = event.pop(new)
    event["apiVersion"] = "v1"


def from_core(event: Object) -> None:
    for new, core in RENAMED.items():
        if core in event:
            event[new] = event.pop(core)


def field_selectors(prefix: str, *, component: str) -> dict[str, FieldGetter]:
    selectors: dict[str, FieldGetter] = {
        f"{prefix}.{key}": target_field(key)
        for key in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    }
    selectors["reason"] = lambda event: text(event, "reason")
    selectors["type"] = lambda event: text(event, "type")
    selectors[component] = lambda event: str(either(event, "reportingComponent") or "")
    if prefix == "involvedObject":
        selectors["source"] = lambda event: text(event, "source", "component") or text(event, "reportingComponent")
    return selectors


CORE_EVENT = Resource(
    group="",
    version="v1",
    kind="Event",
    plural="events",
    short_names=("ev",),
    generation=False,
    expires=True,
    validate=collect(validate),
    trusts_definition=False,
    columns=COLUMNS,
    field_selectors=field_selectors("involvedObject", component="reportingComponent"),
)

EVENT = Resource(
    group=EVENTS_GROUP,
    version="v1",
    kind="Event",
    plural="events",
    short_names=("ev",),
    generation=False,
    expires=True,
    validate=collect(validate_strictly),
    trusts_definition=False,
    columns=COLUMNS,
    field_selectors=field_selectors("regarding", component="reportingController"),
    stored_version="v1",
    to_stored=to_core,
    from_stored=from_core,
)

RESOURCES = (EVENT,)
