"""The graph of owners: what it keeps of objects, from lists, changes, and lists that are read anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sampan.client.protocol import ListResult, ResourceType, WatchEvent
from sampan.controllers.graph import Graph, Nodes
from sampan.schema.objects import Object

WIDGETS = ResourceType("example.com", "v1", "widgets", "Widget")


class NoClient:
    streams_lists = False

    async def list(self, *_: Any, partial: bool = False, **__: Any) -> ListResult:
        assert partial
        return ListResult([], "1")

    async def watch(self, *_: Any, partial: bool = False, **__: Any) -> AsyncIterator[WatchEvent]:
        assert partial
        await asyncio.get_running_loop().create_future()
        yield WatchEvent("BOOKMARK", {})


class NoInformer:
    def add_handler(self, handler: Any) -> None: ...


def widget(name: str, version: int, *, uid: str = "", owners: tuple[str, ...] = (), **more: Any) -> Object:
    metadata = {"namespace": "ns", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version), **more}
    if owners:
        metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "X", "name": o, "uid": o} for o in owners]
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"size": 3}}


class Told:
    """A graph of one resource that nobody else follows, and what it tells."""

    def __init__(self) -> None:
        client: Any = NoClient()
        informer: Any = NoInformer()
        self.graph = Graph(
            client,
            lambda _: None,
            lambda _: None,
            asyncio.get_running_loop().create_task,
            definitions=informer,
            services=informer,
        )
        self.graph._follow(WIDGETS)
        nodes = self.graph._followed[WIDGETS]
        assert isinstance(nodes, Nodes)
        self.nodes = nodes
        self.changes: list[str] = []
        self.graph.add_listener(lambda resource, change, old, new: self.changes.append(
            f"{change} {new['metadata']['name']} {[o['uid'] for o in (old or new)['metadata'].get('ownerReferences', ())]}"
        ))  # fmt: skip

    def names(self, pairs: Any) -> list[str]:
        return sorted(obj["metadata"]["name"] for _, obj in pairs)


async def test_only_what_matters_of_an_object_is_kept() -> None:
    told = Told()
    told.nodes.take(widget("a", 1, owners=("o",), finalizers=["f"], labels={"app": "x"}, deletionTimestamp="now"))
    found = told.graph.object_with("uid-a")
    assert found is not None and found[0] == WIDGETS
    assert found[1] == {
        "metadata": {
            "namespace": "ns",
            "name": "a",
            "uid": "uid-a",
            "resourceVersion": "1",
            "finalizers": ["f"],
            "deletionTimestamp": "now",
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "o", "uid": "o"}],
        }
    }


async def test_dependents_follow_their_owners() -> None:
    told = Told()
    for name in "ab":
        told.nodes.take(widget(name, 1, owners=("o", "p")))
    assert told.names(told.graph.dependents("o")) == ["a", "b"]
    told.nodes.take(widget("a", 2, owners=("p",)))
    assert told.names(told.graph.dependents("o")) == ["b"]
    told.nodes.forget(widget("b", 3, owners=("o", "p")))
    assert told.names(told.graph.dependents("o")) == []
    assert told.names(told.graph.dependents("p")) == told.names(told.graph.in_namespace("ns")) == ["a"]
    assert told.changes == [
        "ADDED a ['o', 'p']", "ADDED b ['o', 'p']", "MODIFIED a ['o', 'p']", "DELETED b ['o', 'p']",
    ]  # fmt: skip


async def test_a_list_that_is_read_anew_tells_the_difference() -> None:
    told = Told()
    told.nodes.replace(widget(name, 1, finalizers=["f"]) for name in "abc")
    told.changes.clear()
    told.nodes.replace([widget("a", 1, finalizers=["f"]), widget("b", 5, uid="other", finalizers=["f"])])
    assert told.changes == ["DELETED b []", "ADDED b []", "DELETED c []"]
    assert told.names(told.graph.in_namespace("ns")) == ["a", "b"]
    assert told.graph.object_with("uid-b") is None and told.graph.object_with("other") is not None


async def test_objects_that_nobody_owns_and_nothing_holds_are_found_by_their_names() -> None:
    told = Told()
    told.nodes.replace([widget("a", 1), widget("b", 2)])
    plain = {"metadata": {"namespace": "ns", "name": "a", "uid": "uid-a"}}
    assert told.graph.named(WIDGETS, "a", "ns") == plain and told.graph.object_with("uid-a") is None
    assert told.names(told.graph.in_namespace("ns")) == ["a", "b"]
    told.nodes.take(widget("a", 3, deletionTimestamp="now"))
    assert told.graph.object_with("uid-a") is not None
    told.nodes.forget(widget("a", 4))
    told.nodes.replace([widget("b", 5, uid="other")])
    assert told.graph.named(WIDGETS, "a", "ns") is None and told.names(told.graph.in_namespace("ns")) == ["b"]
    assert told.changes == [
        "ADDED a []", "ADDED b []", "MODIFIED a []", "DELETED a []", "DELETED b []", "ADDED b []",
    ]  # fmt: skip


async def test_a_resource_that_is_no_longer_served_takes_its_objects_along() -> None:
    told = Told()
    told.nodes.take(widget("a", 1, owners=("o",)))
    told.graph._unfollow(WIDGETS)
    told.nodes.take(widget("late", 2))
    assert told.graph.object_with("uid-a") is None and told.graph.object_with("uid-late") is None
    assert told.names(told.graph.dependents("o")) == told.names(told.graph.in_namespace("ns")) == []
    assert told.graph.resources == []
