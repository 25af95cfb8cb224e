"""Patches in the text of YAML: what they change says the new, and comments, order and style of all else stay."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.json_diff import json_diff
from sampan.schema.patch import json_patch
from sampan.schema.yaml_edits import edited

TEXT = """# a pod
kind: Pod   # the kind
spec:
  # who runs
  hostPID: true  # bad
  containers:
  - name: a   # the first
    image: "i:1"
    securityContext: {privileged: true, capabilities: {add: [CHOWN, KILL]}}
  - securityContext:
      privileged: true
    name: b
    args: [x, y]
    command:
    - sh
    - |
      echo hello

  # after the containers
  volumes: []
---
other: document
"""


def patched(text: str, new: Any, document: int = 0) -> str:
    old = list(yaml.safe_load_all(text))[document]
    result = edited(text, document, list(json_diff(old, new)), new)
    assert result is not None, f"it could not be edited: {list(json_diff(old, new))}"
    return result


def pod() -> Any:
    return next(iter(yaml.safe_load_all(TEXT)))


def test_all_else_stays() -> None:
    new = pod()
    del new["spec"]["hostPID"]
    one, two = new["spec"]["containers"]
    del one["securityContext"]["privileged"]
    one["securityContext"]["capabilities"] = {"add": ["CHOWN"], "drop": ["ALL"]}
    two["securityContext"] = {"allowPrivilegeEscalation": False}
    new["spec"]["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert (
        patched(TEXT, new)
        == """# a pod
kind: Pod   # the kind
spec:
  # who runs
  containers:
  - name: a   # the first
    image: "i:1"
    securityContext: {capabilities: {add: [CHOWN], drop: [ALL]}}
  - securityContext:
      allowPrivilegeEscalation: false
    name: b
    args: [x, y]
    command:
    - sh
    - |
      echo hello

  # after the containers
  volumes: []
  securityContext:
    runAsNonRoot: true
    seccompProfile:
      type: RuntimeDefault
---
other: document
"""
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["containers"].pop(),
        lambda spec: spec["containers"].pop(0),
        lambda spec: spec.pop("volumes"),
        lambda spec: spec["volumes"].append({"name": "v"}),
        lambda spec: spec["containers"][1].pop("securityContext"),
        lambda spec: spec["containers"][1]["command"].append("z"),
        lambda spec: spec["containers"][1]["args"].pop(0),
        lambda spec: spec["containers"][0].update(image="i:2", stdin=True),
        lambda spec: spec["containers"][0]["securityContext"].pop("privileged"),
        lambda spec: spec["containers"][1]["securityContext"].pop("privileged"),
        lambda spec: spec.update(hostPID=False, note="a: b # c"),
    ],
)
def test_one_change(change: Any) -> None:
    new = pod()
    change(new["spec"])
    text = patched(TEXT, new)
    assert list(yaml.safe_load_all(text)) == [new, {"other": "document"}]
    assert "# a pod\nkind: Pod   # the kind\n" in text


def test_the_second_document() -> None:
    assert patched(TEXT, {"other": "new"}, 1) == TEXT.replace("other: document", "other: new")


def test_what_cannot_be_edited_is_told() -> None:
    text = "a: &x {b: 1}\nc: *x\n"
    assert edited(text, 0, [{"op": "add", "path": "/c/d", "value": 2}], {"a": {"b": 1}, "c": {"b": 1, "d": 2}}) is None
    assert edited("a: [", 0, [], None) is None


SCALARS = st.booleans() | st.integers(-9, 9) | st.text("ab: #-", max_size=4)
KEYS = st.text("abc", min_size=1, max_size=2)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=4)


@given(OBJECTS, OBJECTS, st.booleans())
def test_the_outcome_is_right_or_none(old: Any, new: Any, in_flow: bool) -> None:
    text = yaml.safe_dump(old, default_flow_style=in_flow)
    operations = list(json_diff(old, new))
    result = edited(text, 0, operations, json_patch(old, operations))
    assert result is None or yaml.safe_load(result) == new
