"""A server that is killed at any moment has kept every write that it answered, and showed no watcher anything else.

Each round starts a real HTTPS server on the store that the last one left, lets clients create, update and delete objects
and watch them, and kills the server with SIGKILL at a random moment (some while it starts). Then the database is read, as
the next server would: every answered write and every event that a watcher saw must be there, byte for byte.
``SAMPAN_KILLS=1000`` asks for more rounds than the few that always run.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import shutil
import socket
import sqlite3
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import orjson

from sampan.api.server import ApiConfig, serve
from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.http import HttpClient
from sampan.client.kubeconfig import Connection
from sampan.client.protocol import ResourceType
from tests.conftest import Authority

KILLS = int(os.environ.get("SAMPAN_KILLS", "25"))
ROUNDS_A_STORE = 20
WRITERS = 6
LOAD_SECONDS = 0.25
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["sampan.api.server", "sampan.api.assembly", "sampan.api.tls", "uvicorn"])


def server(listener: socket.socket, pki: Path, store: Path, started: Any) -> None:
    """The process that is killed."""
    config = ApiConfig(pki_dir=pki, store_path=store, sockets=(listener,), advertise=listener.getsockname())
    asyncio.run(serve(config, started.set))


class Round:
    """What the clients of one server's life have seen."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.connection = connection
        self.number = number
        self.answered: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.writing = asyncio.Event()

    async def load(self) -> None:
        """Write and watch until the server is gone."""
        clients = [HttpClient(self.connection) for _ in range(3)]
        try:
            work = [self.writer(clients[index % 2], index) for index in range(WRITERS)]
            await asyncio.gather(*work, self.watcher(clients[2]))
        finally:
            for client in clients:
                await client.close()

    async def writer(self, client: HttpClient, writer: int) -> None:
        with contextlib.suppress(ApiUnreachable, ConnectionError):
            for index in range(100_000):
                name = f"r{self.number}-{writer}-{index}"
                made = await client.create(CONFIG_MAPS, config_map(name, str(index)))
                self.answered.append(made)
                self.writing.set()
                shared = config_map(f"shared-{writer % 2}", f"{name}")
                self.answered.append(await self.put(client, shared))
                if index % 2 == 0:
                    await client.delete(CONFIG_MAPS, name, "default")
                    self.deleted.append(name)

    async def put(self, client: HttpClient, obj: dict[str, Any]) -> dict[str, Any]:
        try:
            return await client.update(CONFIG_MAPS, obj)
        except ApiError as error:
            if error.code != 404:
                raise
        try:
            return await client.create(CONFIG_MAPS, obj)
        except ApiError as error:
            if not error.already_exists:
                raise
            return await client.update(CONFIG_MAPS, obj)

    async def watcher(self, client: HttpClient) -> None:
        with contextlib.suppress(ApiUnreachable, ConnectionError):
            async for event in client.watch(CONFIG_MAPS, "default"):
                if event.type != "BOOKMARK":
                    self.seen.append((event.type, event.object))


def config_map(name: str, value: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value, "fill": "x" * 300}}


class Stored:
    """What is in the database, read from a copy as the next server would: SQLite recovers its log."""

    def __init__(self, path: Path, copy: Path) -> None:
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in path.parent.glob(path.name + "*"):
            shutil.copy(file, copy / file.name)
        self.rows: dict[int, tuple[str, bool, Any]] = {}
        self.newest: dict[str, Any] = {}
        with contextlib.closing(sqlite3.connect(copy / path.name)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'log'").fetchone():
                return  # killed before it had made its table
            for id, key, deleted, value in connection.execute("SELECT id, key, deleted, value FROM log ORDER BY id"):
                name, obj = key.rpartition("/")[2], orjson.loads(value)
                self.rows[id] = (name, bool(deleted), obj)
                if deleted:
                    self.newest.pop(name, None)
                else:
                    self.newest[name] = obj

    def check(self, round: Round) -> None:
        for obj in round.answered:
            row = self.rows.get(int(obj["metadata"]["resourceVersion"]))
            assert row is not None and row[2] == obj, f"an answered write is not there: {obj} {row}"
        for name in round.deleted:
            assert name not in self.newest, f"an answered deletion is not there: {name}"
        for type, obj in round.seen:
            row = self.rows.get(int(obj["metadata"]["resourceVersion"]))
            assert row == (obj["metadata"]["name"], type == "DELETED", obj), f"seen, and not stored: {type} {obj} {row}"


def start(pki: Path, store: Path) -> tuple[BaseProcess, Any, int]:
    """Return a new server, the event of its start, and its port. Nobody else keeps its socket open."""
    started = FORKS.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        process = FORKS.Process(target=server, args=(listener, pki, store, started), daemon=True)
        process.start()
        return process, started, int(listener.getsockname()[1])


async def one_life(number: int, authority: Authority, store: Path, chance: random.Random) -> Round:
    """Start a server, put it under load, kill it; return what its clients saw."""
    process, started, port = await asyncio.to_thread(start, authority.directory, store)
    certificate, key = ((authority.directory / f"admin.{end}").read_bytes() for end in ("crt", "key"))
    round = Round(Connection(f"https://127.0.0.1:{port}", authority.ca, certificate, key), number)
    if chance.random() < 0.1:  # while it starts
        await asyncio.sleep(chance.random() * 0.3)
    else:
        assert await asyncio.to_thread(started.wait, 60), "the server does not start"
        load = asyncio.create_task(round.load())
        waiting = asyncio.create_task(round.writing.wait())
        await asyncio.wait([load, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert round.writing.is_set(), load
        await asyncio.sleep(chance.random() * LOAD_SECONDS)
        process.kill()
        await load
    process.kill()
    await asyncio.to_thread(process.join)
    return round


async def test_killed_servers_have_kept_what_they_answered(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    authority.write("admin", "admin", ("system:masters",))
    chance = random.Random(os.environ.get("SAMPAN_KILLS_SEED", "sampan"))
    answered = deleted = seen = lives = 0
    for number in range(KILLS):
        folder = tmp_path / f"store-{number // ROUNDS_A_STORE}"
        if number % ROUNDS_A_STORE == 0:
            shutil.rmtree(tmp_path / f"store-{number // ROUNDS_A_STORE - 1}", ignore_errors=True)
            folder.mkdir()
        round = await one_life(number, authority, folder / "store.db", chance)
        if (folder / "store.db").exists():
            Stored(folder / "store.db", tmp_path / "copy").check(round)
        answered, deleted, seen = (
            answered + len(round.answered),
            deleted + len(round.deleted),
            seen + len(round.seen),
        )
        lives += 1
    print(f"{lives} kills: {answered} answered writes, {deleted} deletions, {seen} events seen; all stored")
    assert lives == KILLS and answered > KILLS and seen > KILLS, "how many more: that is the machine's matter"
