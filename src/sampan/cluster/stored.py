"""What is stored of a cluster, running or not: records at a revision, the history of a key, changes as they happen.

A running API is asked (``/sampan/store/…``). Of a stopped cluster the database is read: a copy of SQLite's file, which is
never touched itself, or etcd.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import orjson

from sampan.api.flags import parse
from sampan.api.store_routes import described, told
from sampan.cluster import lifecycle
from sampan.cluster.lifecycle import ClusterError
from sampan.cluster.settings import Settings
from sampan.store import Store, StoreError


class Stored(Protocol):
    """Records and events are as ``store_routes`` describes them: ``{"key", "revision", "value"}``."""

    async def records(
        self, prefix: str, revision: int = 0, values: bool = True
    ) -> tuple[int, list[dict[str, Any]]]: ...

    async def history(self, key: str) -> list[dict[str, Any]]: ...

    def watch(self, prefix: str) -> AsyncIterator[dict[str, Any]]: ...


@asynccontextmanager
async def stored(settings: Settings) -> AsyncIterator[Stored]:
    """What a cluster has stored. Raises ``ClusterError``."""
    if lifecycle.ask(settings, "status") is not None:
        async with running(settings) as client:
            yield RunningStore(client)
        return
    with tempfile.TemporaryDirectory(prefix="sampan-store-") as directory:
        try:
            store = await opened(settings, Path(directory))
        except StoreError as error:
            raise ClusterError(str(error), f"`sampan status --name {settings.name}`") from error
        try:
            yield StoppedStore(store)
        finally:
            await store.close()


async def opened(settings: Settings, directory: Path) -> Store:
    """Return the store of a stopped cluster: a copy of its file. Raises ``StoreError``."""
    from sampan.store import encryption
    from sampan.store.opening import open_store

    flags = parse(settings.api_flags)
    sealing = encryption.read(flags.encryption_provider_config) if flags.encryption_provider_config else None
    if settings.store_url:
        return await open_store(settings.store_url, encryption=sealing)
    path = settings.store_path
    if not path.exists():
        raise StoreError(f"{path} is not there: the cluster has never run")
    for file in (path, path.with_name(path.name + "-wal")):
        if file.exists():
            shutil.copy(file, directory / file.name)
    return await open_store(path=directory / path.name, encryption=sealing)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[AdminClient]:
    """A client of a running cluster's API, as its administrator."""
    from sampan.client.http import HttpClient
    from sampan.client.kubeconfig import load

    client = HttpClient(load(settings.kubeconfig("admin")))
    try:
        yield AdminClient(client)
    finally:
        await client.close()


class AdminClient:
    """Requests on paths that are no resource; refusals are ``ClusterError``."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def __call__(self, method: str, path: str, query: dict[str, str] | None = None, body: Any = None) -> Any:
        status, answer = await self.client.raw(method, path, query=query or {}, body=body)
        if status >= 400:
            try:
                message = orjson.loads(answer)["message"]
            except (ValueError, KeyError, TypeError):
                message = answer.decode(errors="replace")
            raise ClusterError(message.removeprefix("Internal error occurred: "))
        return orjson.loads(answer)


class RunningStore:
    def __init__(self, client: AdminClient) -> None:
        self.client = client

    async def records(self, prefix: str, revision: int = 0, values: bool = True) -> tuple[int, list[dict[str, Any]]]:
        query = {"prefix": prefix, "revision": str(revision), **({} if values else {"keys": "true"})}
        answer = await self.client("GET", "/sampan/store/records", query)
        return answer["revision"], answer["records"]

    async def history(self, key: str) -> list[dict[str, Any]]:
        answer = await self.client("GET", "/sampan/store/history", {"key": key})
        found: list[dict[str, Any]] = answer["events"]
        return found

    async def watch(self, prefix: str) -> AsyncIterator[dict[str, Any]]:
        from sampan.client.http import lines_of

        http = self.client.client
        async with http.session.get(f"{http.server}/sampan/store/watch", params={"prefix": prefix}) as answer:
            if answer.status >= 400:
                raise ClusterError(f"the API refuses: {(await answer.read()).decode(errors='replace')}")
            async for line in lines_of(answer.content):
                event = orjson.loads(line)
                if "error" in event:
                    raise ClusterError(event["error"], "start the watch again")
                if "record" in event:
                    yield event


class StoppedStore:
    def __init__(self, store: Store) -> None:
        self.store = store

    async def records(self, prefix: str, revision: int = 0, values: bool = True) -> tuple[int, list[dict[str, Any]]]:
        try:
            page = await self.store.page(prefix, revision=revision)
        except StoreError as error:
            raise ClusterError(str(error)) from error
        return page.revision, [orjson.loads(described(record, values)) for record in page.records]

    async def history(self, key: str) -> list[dict[str, Any]]:
        events = self.store.history(key)
        return [orjson.loads(told(event, self.store.time_of(event.revision))) for event in events]

    async def watch(self, prefix: str) -> AsyncIterator[dict[str, Any]]:
        raise ClusterError("the cluster is stopped: nothing happens", "`sampan up` continues it")
        yield {}
