"""What happened to an object, as people read it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.store import Event, Record
from sampan.store.revisions import difference, revision_of


def record(revision: int, **obj: Any) -> Record:
    obj = {"metadata": {"name": "x"}, **obj}
    return Record("/registry/pods/default/x", orjson.dumps(obj), 1, revision)


def managed(*entries: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    fields = [
        {"manager": who, "operation": "Update", "time": time, "fieldsV1": owned, "fieldsType": "FieldsV1"}
        for who, time, owned in entries
    ]
    return {"name": "x", "creationTimestamp": "2027-01-01T00:00:00Z", "managedFields": fields}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"a": 1}, {"a": 2}, ["~ a: 1 -> 2"]),
        ({"a": {"b": 1}}, {"a": {"c": [1]}}, ["+ a.c: [1]", "- a.b: 1"]),
        ({"l": [1, 2, 3]}, {"l": [1, 5]}, ["~ l[1]: 2 -> 5", "- l[2]: 3"]),
        (
            {"c": [{"name": "a", "image": "x"}, {"name": "b"}]},
            {"c": [{"name": "b"}, {"name": "a", "image": "y"}]},
            ['~ c[a].image: "x" -> "y"'],
        ),
        ({"c": [{"type": "Ready", "status": "True"}]}, {"c": []}, ['- c[Ready]: {"type":"Ready","status":"True"}']),
        ({"metadata": {"resourceVersion": "1"}}, {"metadata": {"resourceVersion": "2"}}, []),
    ],
)
def test_differences(old: Any, new: Any, lines: list[str]) -> None:
    assert list(difference(old, new)) == lines


json = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=3),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3),
    max_leaves=10,
)


@given(old=json, new=json)
def test_a_difference_is_told_exactly_where_there_is_one(old: Any, new: Any) -> None:
    assert bool(list(difference({"v": old}, {"v": new}))) == (old != new)


def test_who_changed_what_when() -> None:
    before = record(5, metadata=managed(("one", "2027-01-01T00:00:01Z", {"f:a": {}, "f:b": {}})), a=1, b=1)
    # two takes b over from one, who did not write
    after = record(
        6,
        metadata=managed(("one", "2027-01-01T00:00:01Z", {"f:a": {}}), ("two", "2027-01-01T00:00:02Z", {"f:b": {}})),
        a=1,
        b=2,
    )
    found = revision_of(Event(after, before, False), "2027-01-01T00:00:09Z")
    assert found == (6, "changed", ["two (Update)"], "2027-01-01T00:00:02Z", ["~ b: 1 -> 2"])
    again = record(7, **{**orjson.loads(after.value), "b": 3})
    found = revision_of(Event(again, after, False), "2027-01-01T00:00:09Z")
    assert found.managers == ["two (Update)"] and found.lines == ["~ b: 2 -> 3"]


def test_creations_and_deletions() -> None:
    made = record(5, metadata={"name": "x", "creationTimestamp": "2027-01-01T00:00:00Z"})
    assert revision_of(Event(made, None, False), "") == (5, "created", [], "2027-01-01T00:00:00Z", [])
    gone = revision_of(Event(made._replace(revision=6), made, True), "2027-01-01T00:00:05Z")
    assert gone == (6, "deleted", [], "2027-01-01T00:00:05Z", [])
