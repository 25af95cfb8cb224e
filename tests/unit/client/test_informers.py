"""Informers against a scripted API: resuming, listing anew, indexes, order of changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.informer import Informer, split_key
from sampan.client.protocol import ListResult, WatchEvent
from sampan.client.resources import CONFIG_MAPS
from sampan.schema.objects import Object


def config_map(name: str, version: int, uid: str = "", **labels: str) -> Object:
    metadata = {"namespace": "ns", "name": name, "uid": uid or name, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


class ScriptedClient:
    """Answers lists and watches from a script; a watch is a list of events, the last may be an exception. When the
    script is over, a watch stays open."""

    def __init__(self, lists: list[Any], watches: list[list[Any]], *, streams: bool = False) -> None:
        self.lists, self.watches, self.streams_lists = lists, watches, streams
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def list(self, resource: Any, namespace: Any = None, **_: Any) -> ListResult:
        self.asked.append("list")
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return ListResult(*answer)

    async def watch(
        self,
        resource: Any,
        namespace: Any = None,
        *,
        resource_version: str = "",
        send_initial_events: bool = False,
        **_: Any,
    ) -> AsyncIterator[WatchEvent]:
        self.asked.append("stream" if send_initial_events else f"watch {resource_version}")
        if not self.watches:
            self.over.set()
            await asyncio.get_running_loop().create_future()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield WatchEvent(*event)


async def follow(client: ScriptedClient) -> tuple[Informer, list[tuple[str, str]]]:
    informer = Informer(client, CONFIG_MAPS)  # type: ignore[arg-type]
    informer.add_index("colour", lambda obj: [c] if (c := obj["metadata"]["labels"].get("colour")) else [])
    changes: list[tuple[str, str]] = []
    informer.add_handler(
        lambda change, old, new: changes.append((change, f"{new['metadata']['name']}@{new['metadata']['uid']}"))
    )
    task = asyncio.create_task(informer.run())
    done, _ = await asyncio.wait(
        {task, asyncio.create_task(client.over.wait())}, timeout=60, return_when=asyncio.FIRST_COMPLETED
    )
    assert done, f"the script did not end: {client.asked}"
    if task in done:
        task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return informer, changes


async def test_a_broken_watch_goes_on_where_it_was() -> None:
    client = ScriptedClient(
        [([config_map("a", 1)], "5")],
        [
            [("ADDED", config_map("b", 6)), ApiUnreachable("reset")],
            [("BOOKMARK", {"metadata": {"resourceVersion": "9"}})],
            [("DELETED", config_map("a", 10))],
        ],
    )
    informer, changes = await follow(client)
    assert client.asked == ["list", "watch 5", "watch 6", "watch 9", "watch 10"]
    assert changes == [("ADDED", "a@a"), ("ADDED", "b@b"), ("DELETED", "a@a")]
    assert list(informer.objects) == ["ns/b"]


async def test_after_a_410_the_difference_is_told() -> None:
    expired = ApiError(410, {"reason": "Expired", "message": "too old resource version"})
    client = ScriptedClient(
        [([config_map("a", 1), config_map("b", 2), config_map("c", 3)], "5"),
         ([config_map("b", 2), config_map("c", 7, uid="other")], "9")],
        [[expired]],
    )  # fmt: skip
    informer, changes = await follow(client)
    assert client.asked == ["list", "watch 5", "list", "watch 9"]
    assert changes[3:] == [("DELETED", "a@a"), ("DELETED", "c@c"), ("ADDED", "c@other")]
    assert sorted(informer.objects) == ["ns/b", "ns/c"]


async def test_it_keeps_asking_an_api_that_is_not_there_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    refused = ApiUnreachable("refused")
    client = ScriptedClient([refused, refused, refused, ([config_map("a", 1)], "5")], [])
    informer, _ = await follow(client)
    assert informer.has_synced
    assert [record.message for record in caplog.records] == [
        "watch of configmaps: ApiUnreachable: refused; trying again"
    ]


async def test_a_watch_that_ends_at_once_is_not_asked_in_a_tight_loop() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    client = ScriptedClient([([], "5")], [[], [], []])
    await follow(client)
    assert loop.time() - start > 0.2


async def test_indexes_follow_the_objects() -> None:
    client = ScriptedClient(
        [([config_map("a", 1, colour="red"), config_map("b", 2, colour="red")], "5")],
        [[("MODIFIED", config_map("a", 6, colour="blue")), ("DELETED", config_map("b", 7, colour="red"))]],
    )
    informer, _ = await follow(client)
    assert [obj["metadata"]["name"] for obj in informer.by_index("colour", "blue")] == ["a"]
    assert informer.by_index("colour", "red") == []


async def test_a_late_handler_and_a_late_index_see_what_is_there() -> None:
    informer, _ = await follow(ScriptedClient([([config_map("a", 1)], "5")], []))
    seen: list[str] = []
    informer.add_handler(lambda change, old, new: seen.append(change))
    informer.add_index("name", lambda obj: [obj["metadata"]["name"]])
    assert seen == ["ADDED"]
    assert len(informer.by_index("name", "a")) == 1


def test_keys() -> None:
    assert split_key("ns/a") == ("ns", "a")
    assert split_key("node") == (None, "node")


END = ("BOOKMARK", {"metadata": {"resourceVersion": "7", "annotations": {"k8s.io/initial-events-end": "true"}}})


async def test_a_list_that_comes_as_a_stream() -> None:
    script = [[("ADDED", config_map("a", 1)), ("ADDED", config_map("b", 2)), END, ("DELETED", config_map("a", 8))]]
    client = ScriptedClient([], script, streams=True)
    informer, changes = await follow(client)
    assert client.asked == ["stream", "watch 8"] and informer.has_synced
    assert changes == [("ADDED", "a@a"), ("ADDED", "b@b"), ("DELETED", "a@a")]


async def test_a_stream_that_breaks_before_its_end_is_not_believed() -> None:
    script = [
        [("ADDED", config_map("old", 1)), ApiUnreachable("reset")],
        [("ADDED", config_map("a", 3)), END],
    ]
    client = ScriptedClient([], script, streams=True)
    informer, _ = await follow(client)
    assert client.asked == ["stream", "stream", "watch 7"] and list(informer.objects) == ["ns/a"]


async def test_an_older_server_is_asked_for_a_list() -> None:
    refused = ApiError(422, {"reason": "Invalid", "message": "sendInitialEvents is forbidden"})
    client = ScriptedClient([([config_map("a", 1)], "5")], [[refused]], streams=True)
    informer, _ = await follow(client)
    assert client.asked == ["stream", "list", "watch 5"] and list(informer.objects) == ["ns/a"]


async def test_a_server_that_ignores_the_wish_is_asked_for_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.client.reflector.STREAM_SECONDS", 0.02)
    client = ScriptedClient([([config_map("a", 1)], "5")], [], streams=True)
    informer = Informer(client, CONFIG_MAPS)  # type: ignore[arg-type]
    task = asyncio.create_task(informer.run())
    async with asyncio.timeout(60):
        await informer.synced()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert client.asked[:2] == ["stream", "list"]
