"""The HTTP client against a real API: verbs, errors, watches, connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.http import HttpClient, lines_of, retry_after
from sampan.client.informer import Informer
from sampan.client.kubeconfig import Connection, load
from sampan.client.resources import CONFIG_MAPS, NAMESPACES, PODS, SERVICE_ACCOUNTS


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


@pytest.fixture
async def client(api_server: Any) -> AsyncIterator[HttpClient]:
    client = HttpClient(load(api_server.kubeconfig), agent="test")
    yield client
    for obj in (await client.list(CONFIG_MAPS, "default")).items:
        if obj["metadata"]["name"] != "kube-root-ca.crt":
            await client.delete(CONFIG_MAPS, obj["metadata"]["name"], "default")
    await client.close()


async def test_the_life_of_an_object(client: HttpClient) -> None:
    made = await client.create(CONFIG_MAPS, config_map("life", a="1"))
    assert made["metadata"]["managedFields"][0]["manager"] == "test"
    made["data"]["b"] = "2"
    made = await client.update(CONFIG_MAPS, made)
    made = await client.patch(CONFIG_MAPS, "life", {"data": {"a": None}}, "default")
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"c": "3"}}
    made = await client.patch(CONFIG_MAPS, "life", applied, "default", type="apply", field_manager="other")
    assert made["data"] == {"b": "2", "c": "3"}
    made = await client.patch(CONFIG_MAPS, "life", [{"op": "remove", "path": "/data/b"}], "default", type="json")
    assert (await client.get(CONFIG_MAPS, "life", "default"))["data"] == {"c": "3"}
    listed = await client.list(CONFIG_MAPS, "default", field_selector="metadata.name=life")
    assert [(o["kind"], o["apiVersion"]) for o in listed.items] == [("ConfigMap", "v1")]
    with pytest.raises(ApiError) as wrong:
        await client.delete(CONFIG_MAPS, "life", "default", uid="another")
    assert wrong.value.is_conflict
    await client.delete(CONFIG_MAPS, "life", "default", uid=made["metadata"]["uid"])
    with pytest.raises(ApiError) as gone:
        await client.get(CONFIG_MAPS, "life", "default")
    assert gone.value.is_not_found
    assert str(gone.value) == 'configmaps "life" not found'


async def test_errors_carry_the_status(client: HttpClient) -> None:
    await client.create(CONFIG_MAPS, config_map("twice"))
    with pytest.raises(ApiError) as twice:
        await client.create(CONFIG_MAPS, config_map("twice"))
    assert twice.value.already_exists
    with pytest.raises(ApiError) as bad:
        await client.create(CONFIG_MAPS, config_map("Not A Name"))
    assert (bad.value.code, bad.value.reason) == (422, "Invalid")
    assert bad.value.status["details"]["causes"][0]["field"] == "metadata.name"
    status, body = await client.raw("GET", "/nothing/here")
    assert status == 404
    assert body


async def test_subresources(client: HttpClient) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"}}
    await client.create(SERVICE_ACCOUNTS, account)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    answer = await client.create(SERVICE_ACCOUNTS, request, "default", name="robot", subresource="token")
    assert answer["status"]["token"].count(".") == 2
    await client.delete(SERVICE_ACCOUNTS, "robot", "default")


async def test_a_watch_sees_large_objects_whole(client: HttpClient) -> None:
    start = (await client.list(CONFIG_MAPS, "default")).resource_version
    text = "x" * 900_000
    await client.create(CONFIG_MAPS, config_map("large", text=text))
    events = client.watch(CONFIG_MAPS, "default", resource_version=start)
    async with asyncio.timeout(60):
        async for event in events:
            assert event.type == "ADDED"
            assert event.object["data"]["text"] == text
            break


async def test_of_partial_objects_only_the_metadata_comes(client: HttpClient) -> None:
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "partial"}, "data": {"a": "b"}}
    await client.create(CONFIG_MAPS, made, "default")
    found = await client.list(CONFIG_MAPS, "default", partial=True)
    (listed,) = [item for item in found.items if item["metadata"]["name"] == "partial"]
    assert listed["kind"] == "PartialObjectMetadata" and "data" not in listed and listed["metadata"]["uid"]
    async for event in client.watch(CONFIG_MAPS, "default", field_selector="metadata.name=partial", partial=True):
        assert event.object["kind"] == "PartialObjectMetadata" and "data" not in event.object
        break
    await client.delete(CONFIG_MAPS, "partial", "default")


async def test_nobody_listens(api_server: Any) -> None:
    client = HttpClient(replace(load(api_server.kubeconfig), server="https://127.0.0.1:1"))
    with pytest.raises(ApiUnreachable):
        await client.get(NAMESPACES, "default")
    await client.close()


async def test_another_authority_is_not_trusted(api_server: Any) -> None:
    client = HttpClient(Connection(api_server.url))
    with pytest.raises(ApiUnreachable):
        await client.get(NAMESPACES, "default")
    await client.close()


class Wire:
    """A TCP relay that can be cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> int:
        self.server = await asyncio.start_server(self.relay, "127.0.0.1", port)
        return int(self.server.sockets[0].getsockname()[1])

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers |= {writer, back}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer))

    def cut(self) -> None:
        self.server.close()
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


async def test_an_informer_survives_an_api_that_is_away_for_a_while(api_server: Any, client: HttpClient) -> None:
    wire = Wire(int(api_server.url.rpartition(":")[2]))
    port = await wire.start()
    other = HttpClient(replace(load(api_server.kubeconfig), server=f"https://127.0.0.1:{port}"))
    informer = Informer(other, CONFIG_MAPS, "default")
    task = asyncio.create_task(informer.run())
    await asyncio.wait_for(informer.synced(), 60)
    await client.create(CONFIG_MAPS, config_map("before"))
    seen = asyncio.Event()
    changes: list[tuple[str, str]] = []

    def on_change(change: str, old: object, new: Any) -> None:
        changes.append((change, new["metadata"]["name"]))
        if new["metadata"]["name"] == "after":
            seen.set()

    informer.add_handler(on_change)
    wire.cut()
    await client.create(CONFIG_MAPS, config_map("short"))
    await client.delete(CONFIG_MAPS, "short", "default")
    await asyncio.sleep(0.3)
    assert not task.done()
    await wire.start(port)
    await client.create(CONFIG_MAPS, config_map("after"))
    await asyncio.wait_for(seen.wait(), 60)
    assert ("ADDED", "short") in changes
    assert ("DELETED", "short") in changes
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    wire.cut()
    await other.close()


async def test_lines_cut_anywhere() -> None:

    class Chunks:
        def __init__(self) -> None:
            self.chunks = [b'{"a"', b":1}\n{", b'"b":2}\n\n', b'{"c":3}\n', b"half", b""]

        async def readany(self) -> bytes:
            return self.chunks.pop(0)

    lines = [line async for line in lines_of(Chunks())]  # type: ignore[arg-type]
    assert lines == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


async def test_pods_are_refused_without_a_namespace_that_exists(client: HttpClient) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    with pytest.raises(ApiError) as missing:
        await client.create(PODS, pod, "nowhere")
    assert missing.value.code in (404, 422)


@pytest.mark.parametrize(
    ("status", "header", "pause"),
    [(429, "1", 1.0), (503, "2", 2.0), (500, "", None), (409, "1", None), (429, "soon", None), (429, "9999", 30.0)],
)
def test_what_is_to_be_sent_again(status: int, header: str, pause: float | None) -> None:
    assert retry_after(status, header) == pause


class Busy:
    """A server that has no time at first, and knows one token at a time."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.token = "one"

    async def __call__(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.query_string}")
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "code": 401, "reason": "Unauthorized"}, status=401)
        if len(self.asked) == 1:
            return web.json_response({"kind": "Status", "code": 429}, status=429, headers={"Retry-After": "0"})
        page = int(request.query.get("continue", "0"))
        metadata = {"resourceVersion": "5", **({"continue": str(page + 1)} if page < 2 else {})}
        return web.json_response({"metadata": metadata, "items": [{"metadata": {"name": f"p{page}"}}]})


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[tuple[Busy, HttpClient]]:
    server = Busy()
    runner = web.ServerRunner(web.Server(server))  # type: ignore[arg-type]
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (tmp_path / "token").write_text("one")
    client = HttpClient(
        Connection(f"http://127.0.0.1:{runner.addresses[0][1]}", token="one", token_file=tmp_path / "token")
    )
    yield server, client
    await client.close()
    await runner.cleanup()


async def test_a_busy_server_is_asked_again_and_lists_come_in_pages(busy: tuple[Busy, HttpClient]) -> None:
    server, client = busy
    found = await client.list(PODS, "default", label_selector="a=b")
    assert [item["metadata"]["name"] for item in found.items] == ["p0", "p1", "p2"] and found.resource_version == "5"
    first = "GET labelSelector=a%3Db&limit=500"
    assert server.asked == [first, first, f"{first}&continue=1", f"{first}&continue=2"]


async def test_a_token_that_was_replaced_is_read_anew(busy: tuple[Busy, HttpClient], tmp_path: Path) -> None:
    server, client = busy
    server.asked.append("")
    server.token = "two"
    with pytest.raises(ApiError) as refused:
        await client.list(PODS)
    assert refused.value.code == 401
    (tmp_path / "token").write_text("two\n")
    assert len((await client.list(PODS)).items) == 3
