"""What the gateway keeps of an object: all that it reads, and what many say once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway import copies

WORDS = st.sampled_from(("", "True", "a", "x" * 40))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from((0.0, 1.0)) | WORDS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(WORDS, children, max_size=3),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """Return a value in which 1, True and 1.0 differ, as they do in JSON."""
    if isinstance(value, dict):
        return {name: typed(entry) for name, entry in value.items()}
    return [typed(entry) for entry in value] if isinstance(value, list) else (value.__class__.__name__, value)


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_shared_values_are_equal_to_what_they_were_made_of(values: list[Any]) -> None:
    made = [copies.shared(value) for value in values]
    assert typed(made) == typed(values)


def route(name: str, **metadata: Any) -> dict[str, Any]:
    spec = {"parentRefs": [{"name": "front"}], "hostnames": [f"{name}.example"]}
    return {"kind": "HTTPRoute", "metadata": {"name": name, "namespace": "shop", **metadata}, "spec": spec}


def test_fields_managers_and_what_was_applied_are_left_out_and_nothing_else() -> None:
    annotations = {copies.APPLIED: "{}", "other": "stays"}
    obj = route("a", managedFields=[{"manager": "kubectl"}], annotations=annotations, resourceVersion="7", uid="u-1")
    kept = copies.lean(obj)
    assert kept == route("a", annotations={"other": "stays"}, resourceVersion="7", uid="u-1")
    assert obj["metadata"]["annotations"] == annotations, "the object itself stays as it was"


def test_what_two_objects_say_is_there_once() -> None:
    one, two = copies.lean(route("a")), copies.lean(route("b"))
    assert one["spec"]["parentRefs"] is two["spec"]["parentRefs"]
    assert one["spec"]["hostnames"] != two["spec"]["hostnames"]


def test_not_more_is_remembered_than_there_is_room_for() -> None:
    for number in range(copies.MOST_SHARED * 2):
        copies.shared([number])
        assert len(copies.SHARED) <= copies.MOST_SHARED
