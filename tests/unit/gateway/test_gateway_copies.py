"""What the gateway keeps of an object: all that it reads, and what many say once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.client.resources import NAMESPACES
from sampan.gateway import copies
from sampan.gateway.alone.memory import MemoryClient, api_in_memory
from sampan.gateway.alone.running import USER
from sampan.gateway.kinds.resources import HTTP_ROUTES
from sampan.gateway.model.world import World

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


def test_what_is_kept_of_an_object_is_its_bytes() -> None:
    client = LocalClient(cast("Api", None), USER)  # which the informer asks for nothing here
    told: list[tuple[str, Any, Any]] = []
    informer = copies.LeanInformer(client, HTTP_ROUTES)
    informer.add_handler(lambda change, old, new: told.append((change, old, new)))
    one, two = route("a", resourceVersion="1"), route("a", resourceVersion="2", managedFields=[{"manager": "kubectl"}])
    informer.replace([informer.reduced(one)])
    assert informer.get("shop/a") == one == informer.all()[0] and informer.get("shop/b") is None
    informer.take(informer.reduced(two))
    informer.forget(two)
    after = route("a", resourceVersion="2")
    assert told == [("ADDED", None, one), ("MODIFIED", one, after), ("DELETED", after, two)]
    assert informer.all() == []
    world = World()
    world.add_index("by host", "HTTPRoute", lambda obj: obj["spec"]["hostnames"])
    assert world.put_object("HTTPRoute", "shop/a", informer.reduced(one))
    assert world.get("HTTPRoute", "shop/a") == one and world.find("by host", "a.example") == [one]
    assert not world.put_object("HTTPRoute", "shop/a", informer.reduced(two)), "it means the same"
    assert isinstance(world.all("HTTPRoute")["shop/a"], copies.Packed)
    assert world.put_object("HTTPRoute", "shop/a", None) and world.find("by host", "a.example") == []


async def test_files_are_in_memory_as_bytes_of_the_api_and_no_more(tmp_path: Path) -> None:
    api = await api_in_memory(tmp_path)
    try:
        client = MemoryClient(api, USER)
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        listed = await client.list(NAMESPACES)
        record = api.store.get("/registry/namespaces/shop")
        found = next(obj for obj in listed.items if obj["metadata"]["name"] == "shop")
        assert record is not None and isinstance(found, copies.Lean) and found.packed.value is record.value
        assert copies.unpack(found.packed) == found
    finally:
        await api.close()


def reader(number: int) -> tuple[str, int]:
    return "route", number


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=60))
def test_who_reads_something_is_known_however_many_they_are(steps: list[tuple[bool, int]]) -> None:
    world, reading = World(), set()
    for reads, number in steps:
        with world.computing(reader(number)):
            if reads:
                world.get("Service", "shop/web")
        (reading.add if reads else reading.discard)(reader(number))
        world.dirty.clear()
        world.put("Service", "shop/web", object())
        assert world.dirty == reading


def test_not_more_is_remembered_than_there_is_room_for() -> None:
    for number in range(copies.MOST_SHARED * 2):
        copies.shared([number])
        assert len(copies.SHARED) <= copies.MOST_SHARED


def numbered(number: int, **more: object) -> dict[str, Any]:
    metadata = {"name": f"r{number}", "namespace": "shop", "uid": f"{number * 7919:036d}", "managedFields": [{"a": 1}]}
    spec = {"hostnames": [f"h{number}.example"], "rules": [{"backendRefs": [{"name": "s", "port": 80, "weight": 1}]}]}
    return {"apiVersion": "v1", "kind": "Numbered", "metadata": metadata, "spec": {**spec, **more}}


def test_of_many_that_are_alike_what_differs_is_kept() -> None:
    copies.LIKES.pop("Numbered", None)
    objects = [numbered(number) for number in range(2 * copies.ALIKE + 3)]
    objects[copies.ALIKE + 1] = numbered(1, other="text of another shape " * 20)
    kept = [copies.pack(one).packed for one in objects]
    assert len({id(one.like) for one in kept}) == 3, "what they look like is looked at anew"
    plain = sum(len(one.text) for one in kept)
    assert sum(len(one.value) for one in kept) < plain / 5
    for one, packed in zip(objects, kept, strict=True):
        assert copies.unpack(packed) == copies.lean(one)
        assert "managedFields" not in copies.unpack(packed)["metadata"]


def test_what_is_long_or_somebody_elses_is_kept_as_it_is() -> None:
    long = copies.pack(numbered(1, text="x" * copies.LONGEST_ALIKE)).packed
    assert long.like is None and long.value == long.text
    text = b'{"kind":"Numbered","metadata":{"name":"a"}}'
    assert copies.pack({"kind": "Numbered", "metadata": {"name": "a"}}, text).packed.value is text


@given(st.dictionaries(st.text(max_size=3), st.one_of(st.text(max_size=9), st.integers(0, 9)), max_size=5))
def test_whatever_an_object_says_it_comes_back(spec: dict[str, Any]) -> None:
    one = {"kind": "Anything", "metadata": {"name": "a"}, "spec": spec}
    assert copies.unpack(copies.pack(one).packed) == one
