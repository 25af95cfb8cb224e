"""Slices of lists are kept until something below their prefix changes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.store import Event, Record
from sampan.store.history import History
from sampan.store.pages import FEWEST, MOST_RECORDS, Slice, Slices


def record(key: str, revision: int) -> Record:
    return Record(key=key, value=b'{"at":%d}' % revision, revision=revision, **others())


def others() -> dict[str, Any]:
    known = {"key", "value", "revision"}
    return {name: 1 for name in Record._fields if name not in known and name not in Record._field_defaults}


def filled(*prefixes: str, count: int = 3 * FEWEST) -> History:
    history = History()
    keys = [f"{prefix}{number:04}" for prefix in prefixes for number in range(count)]
    history.apply([Event(record(key, at), None, False) for at, key in enumerate(keys, 2)])
    return history


def put(history: History, key: str, *, deleted: bool = False) -> None:
    history.apply([Event(record(key, history.revision + 1), history.records.get(key), deleted)])


def test_a_slice_is_made_once_and_its_values_are_counted_once() -> None:
    history = filled("/a/")
    first = history.page("/a/", FEWEST, "", 0).records
    again = history.page("/a/", FEWEST, "", 0).records
    assert isinstance(first, Slice) and again is first
    assert first.values is first.values
    assert first.values.size_bytes == sum(len(found.value) for found in first)
    assert first.values.largest_bytes == max(len(found.value) for found in first)


def test_a_change_elsewhere_keeps_it_and_one_below_its_prefix_does_not() -> None:
    history = filled("/a/", "/b/")
    page = history.page("/a/", 0, "", 0)
    put(history, "/b/0001")
    after = history.page("/a/", 0, "", 0)
    assert after.records is page.records and after.revision == page.revision + 1
    put(history, "/a/0001")
    assert history.page("/a/", 0, "", 0).records is not page.records
    assert history.page("/a/", 0, "", page.revision).records[1].revision == page.records[1].revision


def test_a_page_of_the_past_is_not_taken_for_the_newest() -> None:
    history = filled("/a/")
    old = history.revision
    put(history, "/a/0000", deleted=True)
    newest = history.page("/a/", FEWEST, "", 0).records
    assert history.page("/a/", FEWEST, "", old).records[0].key == "/a/0000"
    assert history.page("/a/", FEWEST, "", 0).records is newest


def test_what_is_kept_is_bounded() -> None:
    slices = Slices()
    many = Slice([record("/x/1", 2)] * (MOST_RECORDS // 3))
    for prefix in ("/a/", "/b/", "/c/", "/d/"):
        slices.keep(prefix, "", 0, many)
    assert slices.get("/a/", "", 0) is None and slices.get("/d/", "", 0) is many
    slices.keep("/e/", "", 0, Slice([record("/x/1", 2)] * (MOST_RECORDS + 1)))
    assert slices.get("/e/", "", 0) is None
    slices.keep("/f/", "", 0, Slice([record("/x/1", 2)] * (FEWEST - 1)))
    assert slices.get("/f/", "", 0) is None


@given(st.lists(st.tuples(st.sampled_from(["/a/", "/a/x/", "/b/"]), st.integers(0, 60), st.booleans()), max_size=20))
def test_pages_are_what_is_there(changes: list[tuple[str, int, bool]]) -> None:
    history = filled("/a/", "/a/x/", "/b/", count=FEWEST + 20)
    for prefix, number, deleted in changes:
        key = f"{prefix}{number:04}"
        if not deleted or key in history.records:
            put(history, key, deleted=deleted)
        for listed in ("/a/", "/a/x/", "/b/", "/"):
            found = history.page(listed, 0, "", 0)
            assert list(found.records) == [
                history.records[key] for key in sorted(history.records) if key.startswith(listed)
            ]
            part = history.page(listed, FEWEST, found.records[2].key, 0)
            assert list(part.records) == list(found.records[3 : 3 + FEWEST])
