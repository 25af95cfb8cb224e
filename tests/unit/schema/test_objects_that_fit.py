"""The fast yes about a custom resource: it is never said of an object that the slow walk prunes or refuses."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.schema.fitting import META_FIELDS, compile_fits, compile_pruned
from sampan.schema.structural import StructuralType, _prune, structural_type
from sampan.schema.types import type_system
from sampan.schema.validation import compile_validator

NAMES = ("a", "b", "kind", "metadata")


def schemas(depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    small = st.integers(0, 3)
    common = {"nullable": st.booleans()}
    scalars = st.one_of(
        st.fixed_dictionaries({"type": st.just("string")}, optional={**common, "minLength": small, "maxLength": small}),
        st.fixed_dictionaries({"type": st.just("string")}, optional={"enum": st.just(["", "x", "yy"]), **common}),
        st.fixed_dictionaries({"type": st.just("string")}, optional={"pattern": st.just("^x"), "default": st.just("x")}),
        st.fixed_dictionaries(
            {"type": st.sampled_from(["integer", "number"])},
            optional={**common, "minimum": small, "maximum": small, "exclusiveMinimum": st.booleans(),
                      "format": st.sampled_from(["int32", "int64", "double"])},
        ),
        st.fixed_dictionaries({"type": st.just("boolean")}, optional=common),
        st.just({"x-kubernetes-int-or-string": True}),
        st.just({"x-kubernetes-preserve-unknown-fields": True}),
        st.just({"type": "integer", "anyOf": [{"minimum": 1}, {"maximum": -1}]}),
    )  # fmt: skip
    if not depth:
        return scalars
    inner = schemas(depth - 1)
    lists = st.fixed_dictionaries(
        {"type": st.just("array"), "items": inner},
        optional={**common, "minItems": small, "maxItems": small,
                  "x-kubernetes-list-type": st.sampled_from(["atomic", "set"])},
    )  # fmt: skip
    keyed = st.fixed_dictionaries(
        {
            "type": st.just("array"),
            "items": inner.map(lambda a: {"type": "object", "properties": {"a": a}}),
            "x-kubernetes-list-type": st.just("map"),
            "x-kubernetes-list-map-keys": st.just(["a"]),
        }
    )
    maps = st.fixed_dictionaries(
        {"type": st.just("object"), "additionalProperties": inner}, optional={**common, "maxProperties": small}
    )
    return st.one_of(scalars, lists, keyed, maps, objects(depth))


def objects(depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from(NAMES), schemas(depth - 1))},
        optional={
            "nullable": st.booleans(),
            "required": st.lists(st.sampled_from(NAMES), max_size=2),
            "x-kubernetes-preserve-unknown-fields": st.just(True),
        },
    )


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 4), st.sampled_from([1.0, 2.5, 2**40]),
              st.sampled_from(["", "x", "yy", "xyzw"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip


def refusals(schema: dict[str, Any], value: Any) -> list[Any]:
    causes: list[Any] = []
    compile_validator(schema)(value, "", causes)
    return causes


@settings(max_examples=300)
@given(schemas(), VALUES)
def test_nothing_is_refused_of_what_fits(schema: dict[str, Any], value: Any) -> None:
    if compile_fits(schema)(value):
        assert refusals(schema, value) == []


@settings(max_examples=300)
@given(objects(), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))
def test_nothing_is_pruned_of_what_is_pruned(schema: dict[str, Any], value: dict[str, Any]) -> None:
    node = structural_type({"type": "object", "properties": {"spec": schema}}, group="g", version="v1", kind="K")
    obj = {"spec": value}
    if compile_pruned(node, root=True)(obj):
        unknown: list[str] = []
        pruned = copy.deepcopy(obj)
        _prune(node, pruned, None, unknown, True)
        assert pruned == obj and unknown == []


TYPED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 0},
                "ratio": {"type": "number"},
                "color": {"type": "string", "enum": ["red", "blue"], "nullable": True},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "names": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port"],
                    "items": {"type": "object", "properties": {"port": {"type": "integer"}}},
                },
                "free": {"x-kubernetes-preserve-unknown-fields": True},
            },
        },
    },
}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({"size": 1, "ratio": 1, "names": ["a", "b"], "ports": [{"port": 1}, {"port": 2}], "labels": {"a": "b"}}, True),
        ({"size": 1, "free": {"any": [None, {"thing": None}]}}, True),
        ({"size": -1}, False),
        ({}, False),
        ({"size": 1, "names": ["a", "a"]}, False),
        ({"size": 1, "ports": [{"port": 1}, {"port": 1}]}, False),
        ({"size": 1, "color": "green"}, False),
        ({"size": True}, False),
    ],
)
def test_the_common_case_is_seen(spec: dict[str, Any], fits: bool) -> None:
    assert compile_fits(TYPED, META_FIELDS)({"metadata": {"name": "a"}, "spec": spec}) is fits


@pytest.mark.parametrize(
    ("spec", "pruned"),
    [
        ({"size": 1, "names": [None], "free": {"any": None}}, True),
        ({"size": 1, "other": 1}, False),
        ({"size": None}, False),
        ({"ports": [{"port": 1, "other": 2}]}, False),
        ({"labels": {"a": None}}, False),
    ],
)
def test_what_would_be_pruned_is_seen(spec: dict[str, Any], pruned: bool) -> None:
    node = structural_type(TYPED, group="g", version="v1", kind="K", types=type_system("1.37"))
    assert compile_pruned(node, root=True)({"kind": "K", "metadata": {"name": None}, "spec": spec}) is pruned


def test_a_type_says_the_same_whether_or_not_it_was_asked_before() -> None:
    def fresh() -> StructuralType:
        return structural_type(TYPED, group="g", version="v1", kind="K", types=type_system("1.37"))

    good = {"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}, "spec": {"size": 1}}
    bad = {**good, "spec": {"size": -1, "labels": {"a": 1}, "x": 2}}
    known = fresh()
    for obj in (good, bad, good, bad):
        ours, theirs = orjson.loads(orjson.dumps(obj)), orjson.loads(orjson.dumps(obj))
        assert known.check(ours) == fresh().check(theirs)
        assert known.validate(ours) == fresh().validate(theirs)
    assert [cause.field for cause in known.validate(bad)] == ["spec.size", "spec.labels.a"]
