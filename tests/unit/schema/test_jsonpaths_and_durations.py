"""JSONPath of columns and scale paths; ages as kubectl shows them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.durations import age, human_duration
from sampan.schema.jsonpath import JSONPathError, compile_path, first, lookup

OBJECT = {
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False", "n": 3}]},
    "metadata": {"labels": {"a.b/c": "v"}, "n": 5},
    "a": [[1, 2], [3]],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".metadata.n", [5]), ("{.metadata.n}", [5]), ("$.metadata.n", [5]), (".metadata.missing.x", []),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type!='Ready')].type", ["Synced"]),
        (".status.conditions[?(@.n)].type", ["Synced"]), (".status.conditions[?(@.n>2)].type", ["Synced"]),
        (".status.conditions[*].type", ["Ready", "Synced"]), (".status.conditions[-1].type", ["Synced"]),
        (".status.conditions[5]", []), (".a[0:1]", [[1, 2]]), (".a[*][*]", [1, 2, 3]), (".a[0][1]", [2]),
        (".metadata.labels['a.b/c']", ["v"]), (r".metadata.labels.a\.b/c", ["v"]), ("..n", [3, 5]),
        ("['metadata']['n','x']", [5]), (".status.conditions.type", []),
    ],
)  # fmt: skip
def test_paths(path, found):
    assert lookup(path, OBJECT) == found


def test_first():
    assert first(".metadata.n", OBJECT) == 5
    assert first(".x", OBJECT, "none") == "none"


@pytest.mark.parametrize("path", ["[", "[-]", ".a[x]", ".{x}", ".a[?(@.b==zz)]", ".a['b]", "[::0]", "[?(" * 50])
def test_bad_paths(path):
    with pytest.raises(JSONPathError):
        compile_path(path)


@given(st.text(alphabet="ab.[]*?(@)='\"0-:, \\$<!", max_size=25))
def test_any_path_compiles_or_raises(path):
    try:
        find = compile_path(path)
    except JSONPathError:
        return
    find(OBJECT)
    find([1, {"a": None}])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (-1, "0s"), (-5, "<invalid>"), (119, "119s"), (120, "2m"), (332, "5m32s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (14700, "4h5m"), (28800, "8h"), (172800, "2d"), (273600, "3d4h"),
        (700000, "8d"), (70000000, "2y80d"), (300000000, "9y"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert human_duration(seconds) == text


def test_ages():
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert age("2026-01-02T03:03:00Z", now) == "65s"
    assert age("2026-01-02T03:04:00.123456Z", now) == "4s"
    assert (age(None, now), age("x", now)) == ("<unknown>", "<invalid>")
