"""JSON values written as YAML are read back as they were, by our reader and by PyYAML's."""

from __future__ import annotations

from typing import Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.schema import yaml, yaml_text

TEXTS = [
    *(
        "",
        "a",
        "true",
        "No",
        "y",
        "~",
        "null",
        "1",
        "0x1f",
        "1e3",
        "1_000",
        ".5",
        "12:30:45",
        "2026-01-01",
        "a: b",
        "a:b",
    ),
    *(
        " a",
        "a ",
        "a #b",
        "#a",
        "- a",
        "-",
        "?",
        "? a",
        "*a",
        "&a",
        "!a",
        "%a",
        "@a",
        "`a`",
        "{a",
        "[a",
        "a,b",
        "<<",
        "=",
    ),
    *(
        "a\nb",
        "a\nb\n",
        "a\n\n",
        "\na",
        "a\n\nb",
        " a\nb",
        "a \nb",
        "a\tb",
        "\ta\nb",
        "a\r\nb",
        "\n",
        "---",
        "...",
        "a\n---\nb",
    ),
    *(
        "\x00",
        "\x7f",
        "\x85",
        "\u2028",
        "\ufeff",
        "\ufffe",
        "é",
        "日本",
        "😀",
        "x" * 200,
        "k" * 1100,
        "a\\b",
        '"',
        "'",
        "|",
        ">",
    ),
]
texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=15
)


def check(value: Any) -> None:
    text = yaml_text.dump(value)
    assert pyyaml.safe_load(text) == value
    again, repeated = yaml.load(text.encode())
    assert (again, repeated) == (value, [])


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text: str) -> None:
    for value in (
        text,
        {"k": text},
        {text: 1},
        [text],
        {"a": {"b": [{"c": text, "d": text}], "e": text}},
        [[text, [text]]],
    ):
        check(value)


@given(values)
@settings(max_examples=500)
def test_what_is_written_is_read_back(value: Any) -> None:
    check(value)


@given(st.lists(values, max_size=4))
def test_items_make_a_list(found: list[Any]) -> None:
    text = "items:\n" + "".join(map(yaml_text.item, found)) if found else "items: []\n"
    assert pyyaml.safe_load(text) == {"items": found}


def test_it_looks_as_people_write_it() -> None:
    pod = {
        "apiVersion": "v1",
        "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x", "on": "true"}, "annotations": {}},
        "spec": {"containers": [{"name": "c", "args": ["--a=b", "-v"], "image": "r.io/i:1"}], "text": "one\ntwo\n"},
        "size": 1.5,
    }
    assert (
        yaml_text.dump(pod)
        == """apiVersion: v1
metadata:
  name: a
  labels:
    app.kubernetes.io/name: x
    "on": "true"
  annotations: {}
spec:
  containers:
  - name: c
    args:
    - "--a=b"
    - "-v"
    image: r.io/i:1
  text: |
    one
    two
size: 1.5
"""
    )
