"""What a stricter schema forgives values that have not changed: each case as a Kubernetes API server (1.37) judged it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sampan.schema.structural import structural_type
from sampan.schema.types import type_system

TEXT = {"type": "string", "maxLength": 2}
ITEM = {
    "type": "object",
    "required": ["k", "v"],
    "properties": {
        "k": {"type": "string"},
        "v": TEXT,
        "o": {"type": "object", "additionalProperties": {"type": "string"}},
    },
}
SPEC: dict[str, Any] = {
    "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": ITEM},
    "a": {"type": "array", "items": TEXT},
    "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    "l": {"type": "object", "additionalProperties": TEXT},
    "x": {"type": "string", "enum": ["good"]},
    "p": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"q": TEXT}},
}
BEFORE: dict[str, Any] = {
    "m": [{"k": "1", "v": "long"}, {"k": "2", "v": "ok"}, {"k": "3"}],
    "a": ["long", "ok"],
    "l": {"a.b/c": "long", "d": "ok"},
    "x": "bad",
    "s": ["a", "b"],
    "p": {"q": "long", "u": 1},
}


def obj(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "r.example.org/v1", "kind": "R", "metadata": {"name": "x"}, "spec": spec}


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (lambda s: None, []),
        (lambda s: s["m"].reverse(), []),
        (lambda s: s["m"][1].update(v="no"), []),
        (lambda s: s["m"].insert(0, {"k": "0", "v": "ok"}), []),
        (lambda s: s["m"].append({"k": "9", "v": "long"}), ["spec.m[3].v"]),
        (lambda s: s["m"][0].update(v="longer"), ["spec.m[0].v"]),
        (lambda s: s["m"][0].update(o={"z": "1"}), []),
        (lambda s: s["m"][2].update(o={"z": "1"}), ["spec.m[2].v"]),
        (lambda s: s["a"].append("x"), ["spec.a[0]"]),
        (lambda s: s["l"].update(d="no"), []),
        (lambda s: s["l"].update(e="long"), ["spec.l.e"]),
        (lambda s: s["l"].update({"a.b/c": "longer"}), ["spec.l.a.b/c"]),
        (lambda s: s.update(x="worse"), ["spec.x"]),
        (lambda s: s["p"].update(u=2), []),
        (lambda s: s["p"].update(q="longer"), ["spec.p.q"]),
        (lambda s: s.pop("m"), []),
        (lambda s: s["m"].pop(1), []),
        (lambda s: s["s"].append("a"), ["spec.s[2]"]),
    ],
)
def test_what_has_not_changed_is_forgiven(change: Callable[[Any], Any], refused: list[str]) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": SPEC}}}
    made = structural_type(schema, group="r.example.org", version="v1", kind="R", types=type_system("1.37"))
    after = copy.deepcopy(BEFORE)
    change(after)
    assert [cause.field for cause in made.validate(obj(after), obj(BEFORE))] == refused


def test_duplicates_are_forgiven_together_and_older_versions_forgive_nothing_else() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": SPEC}}}
    made = structural_type(schema, group="r.example.org", version="v1", kind="R", types=type_system("1.29"))
    twice = {"s": ["a", "a"], "x": "good"}
    assert not made.validate(obj({**twice, "s": ["b", "b"]}), obj(twice))
    assert [cause.field for cause in made.validate(obj({"x": "bad", "s": []}), obj({"x": "bad"}))] == ["spec.x"]
