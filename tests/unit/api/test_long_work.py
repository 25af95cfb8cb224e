"""What takes long leaves the loop to others meanwhile: lists some objects at a time, large objects in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
import yaml

from sampan.api import turns
from sampan.api.app import Api
from sampan.api.turns import LARGE_BODY_BYTES, Threads, beside, in_turns
from sampan.schema.objects import Object

from .conftest import Asgi

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
COUNT = 200


class Others:
    """Counts the turns that others get."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


@pytest.fixture
async def others(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Others]:
    monkeypatch.setattr(turns, "TURN_SECONDS", -1.0)  # every turn is over when the clock is looked at
    monkeypatch.setattr("sampan.api.listing.TURN_SECONDS", -1.0)
    found = Others()
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("labelSelector=a%3Db", ""),
        ("fieldSelector=metadata.name%21%3Dx", ""),
        ("", TABLE),
        ("", PARTIAL),
        ("", "application/yaml"),
        ("", f"application/yaml;{PARTIAL.partition(';')[2]}"),
    ],
)
async def test_a_long_list_is_made_some_at_a_time(http: Asgi, others: Others, query: str, accept: str) -> None:
    for number in range(COUNT):
        body = {"metadata": {"name": f"c{number:03}", "labels": {"a": "b"}}, "data": {"text": "one\ntwo: #3\n"}}
        assert (await http("POST", CONFIGMAPS, body)).status == 201
    before = others.turns
    answer = await http("GET", CONFIGMAPS, query=query, headers={"accept": accept} if accept else {})
    assert answer.status == 200 and others.turns - before >= COUNT // turns.LOOKS
    found = yaml.safe_load(answer.body) if "yaml" in accept else answer.json
    items = found["rows"] if accept == TABLE else found["items"]
    assert len(items) == COUNT and found["metadata"]["resourceVersion"]
    plain = (await http("GET", CONFIGMAPS)).json
    if accept == TABLE:
        assert items[7]["cells"][0] == "c007" and items[7]["object"]["kind"] == "PartialObjectMetadata"
    elif accept and accept != "application/yaml":
        assert items[7]["metadata"] == plain["items"][7]["metadata"] and "data" not in items[7]
    else:
        assert found == plain


@pytest.mark.parametrize("accept", ["", TABLE, PARTIAL.replace("List", "")])
async def test_a_watch_begins_with_what_there_is_some_at_a_time(
    http: Asgi, others: Others, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    monkeypatch.setattr("sampan.api.watching.PORTION_EVENTS", 20)
    for number in range(COUNT):
        assert (await http("POST", CONFIGMAPS, {"metadata": {"name": f"c{number:03}"}})).status == 201
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    headers = [(b"accept", accept.encode())] if accept else []
    scope = {"type": "http", "method": "GET", "path": CONFIGMAPS, "query_string": query.encode(), "headers": headers}
    sent: list[bytes] = []
    before, ended = others.turns, asyncio.Event()

    async def receive() -> Any:
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        body = message.get("body", b"")
        sent.append(body)
        if b"initial-events-end" in body:
            ended.set()

    async with asyncio.timeout(60):
        await http.api(scope, receive, send)
    events = [orjson.loads(line) for line in b"".join(sent).splitlines()]
    assert [event["type"] for event in events] == ["ADDED"] * COUNT + ["BOOKMARK"]
    portions = [body.count(b"\n") for body in sent if body]
    assert max(portions) == 20 and others.turns - before >= COUNT // 20
    wanted = "Table" if accept == TABLE else "PartialObjectMetadata" if accept else "ConfigMap"
    assert {event["object"]["kind"] for event in events[:-1]} == {wanted}


async def test_empty_lists_are_lists(http: Asgi) -> None:
    for accept in ("application/yaml", TABLE, PARTIAL, f"application/yaml;{PARTIAL.partition(';')[2]}"):
        answer = await http("GET", CONFIGMAPS, headers={"accept": accept})
        found = yaml.safe_load(answer.body)
        assert found["rows" if accept == TABLE else "items"] == [] and found["metadata"]


async def test_work_in_turns_keeps_its_order(others: Others) -> None:
    before = others.turns
    assert await in_turns(lambda value: value * 2, range(100)) == list(range(0, 200, 2))
    assert others.turns - before >= 100 // turns.LOOKS


# large objects


@pytest.fixture
def judged(api: Api) -> list[str]:
    """The names of the threads that ConfigMaps are judged by."""
    threads: list[str] = []

    def validate(new: Object, old: Object | None) -> list[Any]:
        threads.append(threading.current_thread().name.partition("_")[0])
        return []

    served = api.catalog.get("", "v1", "configmaps")
    assert served is not None
    api.catalog.add(replace(served.resource, validate=validate))
    return threads


def config_map(size: int) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "x" * size}}


async def test_large_objects_are_judged_beside_the_loop(http: Asgi, judged: list[str]) -> None:
    main = threading.current_thread().name
    assert (await http("POST", CONFIGMAPS, config_map(10))).status == 201
    assert judged == [main]
    large = config_map(LARGE_BODY_BYTES)
    merge = {"content-type": "application/merge-patch+json"}
    apply = {"content-type": "application/apply-patch+yaml"}
    for method, query, headers in (
        ("PUT", "", {}),
        ("PATCH", "", merge),
        ("PATCH", "fieldManager=a&force=true", apply),
    ):
        judged.clear()
        large["data"]["a"] += "y"
        answer = await http(method, f"{CONFIGMAPS}/a", large, query=query, headers=headers)
        assert answer.status == 200 and answer.json["data"] == large["data"]
        assert judged == ["sampan-large"], method
    judged.clear()
    await http("DELETE", f"{CONFIGMAPS}/a")
    for method, path, query, headers in (
        ("PATCH", f"{CONFIGMAPS}/a", "fieldManager=a", apply),
        ("POST", CONFIGMAPS, "dryRun=All", {}),
    ):
        answer = await http(method, path, {**large, "metadata": {"name": "a"}}, query=query, headers=headers)
        assert answer.status == 201 or answer.json["reason"] == "AlreadyExists"
    assert judged == ["sampan-large", "sampan-large"]


async def test_what_is_wrong_with_a_large_object_is_told_as_of_a_small_one(http: Asgi) -> None:
    for size in (10, LARGE_BODY_BYTES):
        wrong = {**config_map(size), "metadata": {"name": "Not a name"}, "surprise": 1}
        answer = await http("POST", CONFIGMAPS, wrong, query="fieldValidation=Strict")
        assert answer.status == 400 and 'unknown field "surprise"' in answer.json["message"]
        answer = await http("POST", CONFIGMAPS, wrong)
        assert answer.status == 422 and answer.json["details"]["causes"][0]["field"] == "metadata.name"
        assert any("surprise" in warning for warning in answer.warnings)
        answer = await http("POST", CONFIGMAPS, orjson.dumps(config_map(size))[:-1])
        assert answer.status == 400


async def test_one_large_object_after_the_other() -> None:
    order: list[int] = []
    await asyncio.gather(*(beside(order.append, number) for number in range(20)))
    assert order == list(range(20))


def test_a_fork_has_a_thread_of_its_own() -> None:
    threads = Threads("sampan-test")
    assert threads.executor().submit(os.getpid).result(60) == os.getpid()
    child = os.fork()
    if not child:
        try:
            os._exit(0 if threads.executor().submit(os.getpid).result(60) == os.getpid() else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
