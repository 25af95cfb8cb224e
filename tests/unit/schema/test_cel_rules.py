"""``x-kubernetes-validations``: definitions and objects, and what kube-apiserver (1.37) said of them.

``cel_rules.json`` holds schemas with the causes their definition was refused for, and objects (create, or update of what was
stored before the rules were there) with the causes and warnings of the answer.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.schema.cel.field_paths import field_path
from sampan.schema.cel.rules import check_rules
from sampan.schema.structural import structural_type
from sampan.schema.structure import check_structural
from sampan.schema.types import type_system

ANSWERS = json.loads((Path(__file__).parent / "cel_rules.json").read_text())
PATH = "spec.validation.openAPIV3Schema"


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@named(ANSWERS["definitions"])
def test_definition(case: dict[str, Any]) -> None:
    causes = check_structural(case["schema"], PATH) or check_rules(case["schema"], PATH, "1.37")
    assert sorted(list(cause) for cause in causes) == sorted(case["causes"])


@named(ANSWERS["objects"])
def test_object(case: dict[str, Any]) -> None:
    type = structural_type(case["schema"], group="obj.dev", version="v1", kind="Thing", types=type_system("1.37"))
    metadata = {"name": "x", "namespace": "default"}
    head = {"apiVersion": "obj.dev/v1", "kind": "Thing", "metadata": metadata}
    new = {**head, "metadata": {"name": "x"}, "spec": copy.deepcopy(case["new"])}
    old = None if case["old"] is None else {**head, "spec": case["old"]}
    type.check(new)
    warnings: list[str] = []
    causes = type.validate(new, old, warnings)
    assert sorted(list(cause) for cause in causes) == sorted(case["causes"])
    assert warnings == case["warnings"]


REPLICAS = {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 3"}]}


def test_a_stored_expression_may_use_the_newest_library() -> None:
    rule = "[self].includes(1)"
    schema = {"type": "object", "properties": {"a": {"type": "integer", "x-kubernetes-validations": [{"rule": rule}]}}}
    assert check_rules(schema, PATH, "1.37")
    assert check_rules(schema, PATH, "1.37", {rule}) == []


def test_an_unchanged_schema_may_cost_what_it_costs() -> None:
    strings = {"type": "array", "items": {"type": "string"}}
    rule = {"rule": "self.all(x, x.contains('a'))"}
    schema = {"type": "object", "properties": {"a": {**strings, "x-kubernetes-validations": [rule]}}}
    assert "estimated rule cost exceeds budget" in check_rules(schema, PATH, "1.37")[0].message
    assert "estimated rule cost exceeds budget" not in str(check_rules(schema, PATH, "1.37", limited=False))


def test_nothing_is_forgiven_before_ratcheting() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": REPLICAS}}}}
    obj = {"apiVersion": "obj.dev/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": {"a": 1}}
    for version, forgiven in (("1.29", False), ("1.30", True)):
        type = structural_type(schema, group="obj.dev", version="v1", kind="Thing", types=type_system(version))
        assert (type.validate(obj, copy.deepcopy(obj)) == []) is forgiven


@pytest.mark.parametrize(
    ("text", "shown"),
    [(".a", "a"), (".a.b", "a.b"), (".m['x.y']", "m[x.y]"), (".m.x", "m[x]"), ("['a']", "a"), (".m['it\\'s']", "m[it's]"),
     ("a", None), (".", None), (".z", None), (".a[0]", None), (".a['b'", None), (".m['\\q']", None), (".l.x", None)],
)  # fmt: skip
def test_field_paths(text: str, shown: str | None) -> None:
    schema = {
        "properties": {
            "a": {"properties": {"b": {"type": "string"}}},
            "m": {"additionalProperties": {"type": "string"}},
            "l": {"type": "array", "items": {"type": "string"}},
        }
    }
    assert field_path(text, schema) == shown
