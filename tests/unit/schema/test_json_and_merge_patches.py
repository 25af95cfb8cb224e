"""RFC 6902 and RFC 7386: the RFCs' own examples, refusals, and laws that hold for any document."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.patch import MAX_OPERATIONS, PatchError, json_patch, merge_patch

values = st.recursive(
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc/~"), inner, max_size=3),
    max_leaves=10,
)
documents = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
pointers = st.lists(st.sampled_from(["a", "b", "c", "0", "1", "-", "~0", "~1", "01"]), max_size=3).map(
    lambda parts: "".join("/" + part for part in parts)
)


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, {"op": "add", "path": "/foo/1", "value": "qux"}, {"foo": ["bar", "qux", "baz"]}),
        ({"foo": [1]}, {"op": "add", "path": "/foo/-", "value": [2]}, {"foo": [1, [2]]}),
        ({"baz": "qux", "foo": "bar"}, {"op": "remove", "path": "/baz"}, {"foo": "bar"}),
        ({"foo": ["bar", "qux"]}, {"op": "remove", "path": "/foo/1"}, {"foo": ["bar"]}),
        ({"baz": "qux"}, {"op": "replace", "path": "/baz", "value": "boo"}, {"baz": "boo"}),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {}},
            {"op": "move", "from": "/foo/waldo", "path": "/qux/thud"},
            {"foo": {"bar": "baz"}, "qux": {"thud": "fred"}},
        ),
        ({"foo": [1, 2, 3]}, {"op": "move", "from": "/foo/0", "path": "/foo/2"}, {"foo": [2, 3, 1]}),
        ({"a": {"b": [1]}}, {"op": "copy", "from": "/a/b", "path": "/c"}, {"a": {"b": [1]}, "c": [1]}),
        ({"foo": None}, {"op": "test", "path": "/foo", "value": None}, {"foo": None}),
        ({"a/b": 1, "~": 2}, {"op": "remove", "path": "/a~1b"}, {"~": 2}),
        ({"~01": 10}, {"op": "test", "path": "/~001", "value": 10}, {"~01": 10}),
        ({"a": 1}, {"op": "replace", "path": "/b", "value": 2}, {"a": 1, "b": 2}),
        ({"a": [1, 2]}, {"op": "remove", "path": "/a/-1"}, {"a": [1]}),
        ({"a": [1, 2]}, {"op": "add", "path": "/a/-1", "value": 3}, {"a": [1, 2, 3]}),
        ({"a": 1.0}, {"op": "test", "path": "/a", "value": 1}, {"a": 1.0}),
    ],
)
def test_operations(document, operation, result):
    assert json_patch(document, [operation]) == result


@pytest.mark.parametrize(
    ("operations", "code", "text"),
    [
        ([{"op": "test", "path": "/a", "value": 2}], 422, "testing path /a failed: test failed"),
        ([{"op": "test", "path": "/a", "value": True}], 422, "testing path /a failed"),
        ([{"op": "remove", "path": "/x/y"}], 422, "remove operation does not apply: doc is missing path: /x/y"),
        ([{"op": "replace", "path": "/a/x", "value": 1}], 422, "doc is missing key: /a/x"),
        ([{"op": "add", "path": "/l/5", "value": 1}], 422, "index 5 out of bounds"),
        ([{"op": "add", "path": "/l/-2", "value": 1}], 422, "index -2 out of bounds"),
        ([{"op": "add", "path": "/l/01", "value": 1}], 422, "invalid array index '01'"),
        ([{"op": "add", "path": "/b"}], 422, "missing value"),
        ([{"op": "move", "path": "/b"}], 422, "missing from"),
        ([{"op": "move", "from": "/o", "path": "/o/p"}], 422, "cannot move into itself"),
        ([{"op": "frob", "path": "/a"}], 422, "Unexpected kind: frob"),
        ([{"op": "remove", "path": ""}], 422, "the whole document"),
        ([{"op": "remove", "path": "a"}], 422, "invalid JSON pointer"),
        ({"op": "remove"}, 400, "error decoding patch"),
        (["x"], 400, "error decoding patch"),
        (
            [{"op": "test", "path": "/a", "value": 1}] * (MAX_OPERATIONS + 1),
            413,
            "maximum operations in a JSON patch is 10000",
        ),
    ],
)
def test_refusals(operations, code, text):
    with pytest.raises(PatchError) as error:
        json_patch({"a": 1, "l": [], "o": {}}, operations)
    assert error.value.code == code
    assert text in str(error.value)


def test_all_or_nothing():
    document = {"a": [1]}
    with pytest.raises(PatchError):
        json_patch(document, [{"op": "add", "path": "/a/-", "value": 2}, {"op": "test", "path": "/a", "value": 0}])
    assert document == {"a": [1]}


def test_copies_cannot_explode():
    doubling = [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(100)]
    with pytest.raises(PatchError) as error:
        json_patch({"a": "x" * 1000}, doubling)
    assert error.value.code in (413, 422)


@given(documents, st.lists(st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), "path": pointers},
    optional={"value": values, "from": pointers},
), max_size=5))  # fmt: skip
def test_any_operations_apply_or_raise_patch_error(document, operations):
    before = copy.deepcopy((document, operations))
    try:
        result = json_patch(document, operations)
    except PatchError as error:
        assert error.code in (400, 413, 422)
    else:
        assert isinstance(result, dict)
    assert (document, operations) == before


@given(documents, st.sampled_from("abc"), values)
def test_adding_then_testing_and_removing(document, key, value):
    path = f"/{key}"
    added = json_patch(
        document, [{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]
    )
    assert added == {**document, key: value}
    assert json_patch(added, [{"op": "remove", "path": path}]) == {k: v for k, v in document.items() if k != key}


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}), ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}), ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}), ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}), ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}), ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}), ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ],
)  # fmt: skip
def test_merge_patch_examples(document, patch, result):
    assert merge_patch(document, patch) == result


@pytest.mark.parametrize("patch", [None, [], "x", 1])
def test_merge_patch_must_be_an_object(patch):
    with pytest.raises(PatchError) as error:
        merge_patch({}, patch)
    assert error.value.code == 400


@given(documents, documents)
def test_merge_patch_twice_is_once_and_shares_nothing(document, patch):
    before = copy.deepcopy((document, patch))
    once = merge_patch(document, patch)
    assert merge_patch(once, patch) == once
    for value in once.values():
        if isinstance(value, (dict, list)):
            value.clear()
    assert (document, patch) == before
