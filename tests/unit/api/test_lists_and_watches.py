"""LIST and WATCH: pages, selectors, revisions, tables, frames, bookmarks; and the same through the in-process client."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sampan.api.local import LocalClient
from sampan.client.errors import ApiError
from sampan.client.resources import CONFIG_MAPS as CONFIG_MAPS_TYPE
from sampan.client.resources import PODS as PODS_TYPE

spec = importlib.util.spec_from_file_location("api_unit_conftest", Path(__file__).parent / "conftest.py")
assert spec and spec.loader
conftest = importlib.util.module_from_spec(spec)
sys.modules["api_unit_conftest"] = conftest
spec.loader.exec_module(conftest)

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def config_map(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels or {"app": name}},
        "data": {},
    }


async def fill(http: Any, count: int) -> None:
    for index in range(count):
        assert (await http("POST", CONFIG_MAPS, config_map(f"c{index}"))).status == 201


@asynccontextmanager
async def watching(api: Any, path: str) -> AsyncIterator[Any]:
    """Yield a function that returns the next event of a watch."""
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"accept", b"application/json")],
    }
    frames: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        for line in message.get("body", b"").splitlines():
            frames.put_nowait(json.loads(line))
        if message["type"] == "http.response.body" and not message.get("more_body"):
            frames.put_nowait(None)

    async def next_event() -> Any:
        async with asyncio.timeout(60):
            return await frames.get()

    task = asyncio.create_task(api(scope, receive, send))
    try:
        yield next_event
    finally:
        gone.set()
        async with asyncio.timeout(60):
            await task


async def test_pages_are_one_consistent_list(http: Any) -> None:
    await fill(http, 5)
    first = (await http("GET", f"{CONFIG_MAPS}?limit=2")).json
    assert [item["metadata"]["name"] for item in first["items"]] == ["c0", "c1"]
    assert first["metadata"]["remainingItemCount"] == 3
    await http("DELETE", f"{CONFIG_MAPS}/c3")
    await http("POST", CONFIG_MAPS, config_map("c9"))
    token = first["metadata"]["continue"]
    second = (await http("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")).json
    assert [item["metadata"]["name"] for item in second["items"]] == ["c2", "c3"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = (await http("GET", f"{CONFIG_MAPS}?limit=2&continue={second['metadata']['continue']}")).json
    assert [item["metadata"]["name"] for item in third["items"]] == ["c4"] and "continue" not in third["metadata"]


async def test_expired_continue(http: Any, api: Any) -> None:
    await fill(http, 4)
    token = (await http("GET", f"{CONFIG_MAPS}?limit=2")).json["metadata"]["continue"]
    await fill_more(http)
    await api.store.compact(api.store.revision)
    answer = await http("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
    assert answer.status == 410 and answer.json["reason"] == "Expired"
    rest = await http("GET", f"{CONFIG_MAPS}?continue={answer.json['metadata']['continue']}")
    assert [item["metadata"]["name"] for item in rest.json["items"]] == ["c2", "c3", "d"]


async def fill_more(http: Any) -> None:
    await http("POST", CONFIG_MAPS, config_map("d"))


async def test_exact_and_future_revisions(http: Any) -> None:
    await fill(http, 2)
    version = (await http("GET", CONFIG_MAPS)).json["metadata"]["resourceVersion"]
    await http("DELETE", f"{CONFIG_MAPS}/c0")
    exact = await http("GET", f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert len(exact.json["items"]) == 2
    newer = await http("GET", f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
    assert len(newer.json["items"]) == 1
    future = await http("GET", f"{CONFIG_MAPS}?resourceVersion=99999")
    assert future.status == 504 and future.json["details"]["retryAfterSeconds"] == 1
    assert future.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=x", 400),
        ("continue=nonsense", 400),
        ("resourceVersion=-1", 400),
        ("resourceVersion=a", 400),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersionMatch=Exact&resourceVersion=0", 422),
        ("resourceVersionMatch=No&resourceVersion=1", 422),
        ("labelSelector=a%20b%20c", 400),
        ("fieldSelector=spec.nothing=x", 400),
        ("fieldSelector=x", 400),
        ("watch=true&sendInitialEvents=true", 422),
        ("watch=true&resourceVersion=zzz", 400),
        ("watch=true&timeoutSeconds=zzz", 400),
    ],
)
async def test_bad_queries(http: Any, query: str, status: int) -> None:
    answer = await http("GET", f"{CONFIG_MAPS}?{query}")
    assert answer.status == status and answer.json["kind"] == "Status", answer.body


async def test_selectors(http: Any) -> None:
    await fill(http, 3)

    async def names(query: str) -> list[str]:
        return [item["metadata"]["name"] for item in (await http("GET", f"{CONFIG_MAPS}?{query}")).json["items"]]

    assert await names("labelSelector=app%3Dc1") == ["c1"]
    assert await names("labelSelector=app%20in%20(c0,c2)&limit=1") == ["c0"]
    assert await names("fieldSelector=metadata.name%3Dc2") == ["c2"]
    assert await names("fieldSelector=metadata.name!%3Dc2,metadata.namespace%3Ddefault") == ["c0", "c1"]
    assert await names("fieldSelector=metadata.name%3Dnone") == []


async def test_tables_and_partial_metadata(http: Any) -> None:
    await fill(http, 2)
    table = (await http("GET", CONFIG_MAPS, headers=TABLE)).json
    assert table["kind"] == "Table" and [c["name"] for c in table["columnDefinitions"]] == ["Name", "Age"]
    assert table["rows"][0]["cells"][0] == "c0"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    bare = (await http("GET", f"{CONFIG_MAPS}/c1?includeObject=None", headers=TABLE)).json
    assert bare["rows"][0]["cells"][0] == "c1" and "object" not in bare["rows"][0]
    accept = {"accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    partial = (await http("GET", CONFIG_MAPS, headers=accept)).json
    assert partial["kind"] == "PartialObjectMetadataList" and "data" not in partial["items"][0]


async def test_large_lists_are_compressed(http: Any) -> None:
    for index in range(3):
        await http("POST", CONFIG_MAPS, {**config_map(f"c{index}"), "data": {"k": "x" * 60_000}})
    answer = await http("GET", CONFIG_MAPS, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(gzip.decompress(answer.body))["items"]) == 3


async def test_watch_from_the_present(http: Any, api: Any) -> None:
    await fill(http, 1)
    async with watching(api, f"{CONFIG_MAPS}?watch=true") as event:
        first = await event()
        assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "c0")
        await http("POST", CONFIG_MAPS, config_map("n"))
        await http("POST", "/api/v1/namespaces/other/configmaps", config_map("unseen"))
        merge = {"content-type": "application/merge-patch+json"}
        await http("PATCH", f"{CONFIG_MAPS}/n", {"data": {"a": "b"}}, headers=merge)
        await http("DELETE", f"{CONFIG_MAPS}/n")
        seen = [await event() for _ in range(3)]
        assert [e["type"] for e in seen] == ["ADDED", "MODIFIED", "DELETED"]
        versions = [int(e["object"]["metadata"]["resourceVersion"]) for e in seen]
        assert versions == sorted(set(versions))


async def test_watch_from_a_revision_and_after_compaction(http: Any, api: Any) -> None:
    await fill(http, 1)
    version = (await http("GET", CONFIG_MAPS)).json["metadata"]["resourceVersion"]
    await http("POST", CONFIG_MAPS, config_map("later"))
    async with watching(api, f"{CONFIG_MAPS}?watch=true&resourceVersion={version}") as event:
        assert (await event())["object"]["metadata"]["name"] == "later"
    await api.store.compact(api.store.revision)
    async with watching(api, f"{CONFIG_MAPS}?watch=true&resourceVersion={version}") as event:
        error = await event()
        assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
        assert await event() is None


async def test_watch_list(http: Any, api: Any) -> None:
    await fill(http, 2)
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with watching(api, f"{CONFIG_MAPS}?{query}") as event:
        assert [(await event())["type"] for _ in range(2)] == ["ADDED", "ADDED"]
        bookmark = await event()
        assert bookmark["type"] == "BOOKMARK"
        assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert bookmark["object"]["metadata"]["resourceVersion"] == str(api.store.revision)


async def test_watch_with_selectors(http: Any, api: Any) -> None:
    async with watching(api, f"{CONFIG_MAPS}?watch=true&labelSelector=on%3Dyes") as event:
        merge = {"content-type": "application/merge-patch+json"}
        await http("POST", CONFIG_MAPS, config_map("x"))
        for value in ("yes", "no"):
            await http("PATCH", f"{CONFIG_MAPS}/x", {"metadata": {"labels": {"on": value}}}, headers=merge)
        assert (await event())["type"] == "ADDED"
        gone = await event()
        assert gone["type"] == "DELETED" and gone["object"]["metadata"]["labels"]["on"] == "yes"
        assert gone["object"]["metadata"]["resourceVersion"] == str(api.store.revision)


async def test_watch_times_out_with_a_bookmark(http: Any, api: Any) -> None:
    async with watching(api, f"{CONFIG_MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true") as event:
        assert (await event())["type"] == "BOOKMARK"
        assert await event() is None


async def test_local_client(api: Any) -> None:
    client = LocalClient(api, conftest.ADMIN)
    made = await client.create(CONFIG_MAPS_TYPE, config_map("a"), "default")
    assert (await client.get(CONFIG_MAPS_TYPE, "a", "default"))["metadata"]["uid"] == made["metadata"]["uid"]
    listed = await client.list(CONFIG_MAPS_TYPE, label_selector="app=a")
    assert len(listed.items) == 1 and listed.resource_version
    events = client.watch(CONFIG_MAPS_TYPE, "default", resource_version=listed.resource_version)
    await client.patch(CONFIG_MAPS_TYPE, "a", {"data": {"k": "v"}}, "default")
    async with asyncio.timeout(60):
        event = await anext(events)
    assert event.type == "MODIFIED" and event.object["data"] == {"k": "v"}
    assert event.object is await client.get(CONFIG_MAPS_TYPE, "a", "default")
    await events.aclose()
    applied = await client.patch(
        CONFIG_MAPS_TYPE, "b", config_map("b"), "default", type="apply", field_manager="m", force=True
    )
    assert applied["metadata"]["name"] == "b"
    await client.delete(CONFIG_MAPS_TYPE, "a", "default")
    with pytest.raises(ApiError) as missing:
        await client.get(CONFIG_MAPS_TYPE, "a", "default")
    assert missing.value.is_not_found
    assert await client.raw("GET", "/readyz") == (200, b"ok")
    stranger = LocalClient(api, conftest.User("eve"))
    with pytest.raises(ApiError) as denied:
        await stranger.list(PODS_TYPE)
    assert denied.value.code == 403


async def test_a_websocket_watch_is_one_message_an_event(http: Any, api: Any) -> None:
    await fill(http, 1)
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await incoming.put({"type": "websocket.connect"})
    scope = {
        "type": "websocket",
        "path": CONFIG_MAPS,
        "query_string": b"watch=true",
        "headers": [],
        "subprotocols": [],
    }
    watch = asyncio.create_task(api(scope, incoming.get, sent.put))
    async with asyncio.timeout(60):
        assert (await sent.get())["type"] == "websocket.accept"
        added = json.loads((await sent.get())["text"])
        await http("DELETE", f"{CONFIG_MAPS}/c0")
        deleted = json.loads((await sent.get())["text"])
        assert (added["type"], deleted["type"]) == ("ADDED", "DELETED")
        await incoming.put({"type": "websocket.disconnect", "code": 1000})
        await watch


async def test_a_watcher_that_does_not_read_is_ended_and_costs_the_others_nothing(
    http: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sampan.store.watchers.BUFFERED_EVENTS", 3)
    reading, began = asyncio.Event(), asyncio.Event()
    frames: list[Any] = []

    async def slow(message: Any) -> None:
        await reading.wait()
        frames.append(message)
        if message.get("body"):
            began.set()

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()

    scope = {"type": "http", "method": "GET", "path": CONFIG_MAPS, "query_string": b"watch=true", "headers": []}
    await fill(http, 1)
    stuck = asyncio.create_task(api(scope, receive, slow))
    async with asyncio.timeout(60), watching(api, f"{CONFIG_MAPS}?watch=true") as event:
        assert (await event())["type"] == "ADDED"
        reading.set()
        await began.wait()
        reading.clear()
        for index in range(6):
            await http("POST", CONFIG_MAPS, config_map(f"n{index}"))
            assert (await event())["object"]["metadata"]["name"] == f"n{index}"
        reading.set()
        await stuck
    last = [message["body"] for message in frames if message.get("body")][-1]
    error = json.loads(last.splitlines()[-1])
    assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")


async def test_watches_of_a_field_are_found_by_its_value(http: Any, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    pods = api.catalog.get("", "v1", "pods")
    get = pods.resource.field_selectors["spec.nodeName"]

    def counted(pod: Any) -> str:
        nonlocal asked
        asked += 1
        return str(get(pod))

    monkeypatch.setitem(pods.resource.field_selectors, "spec.nodeName", counted)
    query = "watch=true&fieldSelector=spec.nodeName%3D"
    spec = {"containers": [{"name": "c", "image": "i"}]}
    merge = {"content-type": "application/merge-patch+json"}
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(watching(api, f"{PODS}?{query}n{n}")) for n in range(2, 50)]
        mine = await stack.enter_async_context(watching(api, f"{PODS}?{query}n1"))
        await http(
            "POST",
            PODS,
            {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {**spec, "nodeName": "n1"}},
        )
        assert (await mine())["type"] == "ADDED"
        assert asked <= 3  # once for all watches, and once by the one that it concerns
        await http("PATCH", f"{PODS}/p", {"spec": {"nodeName": "n7"}}, headers=merge)
        assert (await mine())["type"] == "DELETED"
        assert (await others[5]())["type"] == "ADDED"
    assert not api.store._watchers._concerned
