"""The patch between two documents makes the second of the first."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.json_diff import json_diff
from sampan.schema.patch import json_patch

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.text("a/~", max_size=2)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=4)
)


@given(st.dictionaries(st.text("ab/~", max_size=2), DOCUMENTS), st.dictionaries(st.text("ab/~", max_size=2), DOCUMENTS))
def test_the_patch_makes_the_second_of_the_first(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert json_patch(old, list(json_diff(old, new))) == new


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": [1, 2, 3]}, {"a": [1, 3]}, [{"op": "remove", "path": "/a/1"}]),
        ({"a": [1]}, {"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 2}]),
        ({"a": [{"x": 1}, {"y": 1}]}, {"a": [{"x": 2}, {"y": 1}]}, [{"op": "replace", "path": "/a/0/x", "value": 2}]),
        ({"a/b": {}}, {"a/b": {"~": 1}}, [{"op": "add", "path": "/a~1b/~0", "value": 1}]),
        ({"a": True}, {"a": 1}, [{"op": "replace", "path": "/a", "value": 1}]),
    ],
)
def test_it_is_short(old: Any, new: Any, patch: Any) -> None:
    assert list(json_diff(old, new)) == patch
