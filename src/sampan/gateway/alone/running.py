"""A gateway from a directory: in the foreground, with an Envoy that ends with it; or only the judgement on it.

files ──inotify──▶ Loader ──▶ API in memory ──▶ Agent ──▶ Envoy
                     └─ errors          └─ statuses, Events ──▶ lines
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sampan.api.request import User
from sampan.gateway.agent import Agent
from sampan.gateway.alone.complaints import complaints
from sampan.gateway.alone.files import Problem, Reader, folders
from sampan.gateway.alone.loading import Loader
from sampan.gateway.alone.memory import MemoryClient, api_in_memory
from sampan.gateway.configuration import GatewayConfig
from sampan.gateway.install import install
from sampan.gateway.status import STATUSES
from sampan.gateway.watched import RESOURCES, WATCHED
from sampan.node.inotify import changes_of, first_of, quiet
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

NOT_TRIED = ("Programmed",)
"""What is only known when there is an Envoy."""
USER = User("system:sampan-gateway", ("system:masters", "system:authenticated"))
QUIET_SECONDS = 0.05
"""An editor writes in several steps, a checkout many files: the directory is read when it has been quiet for so long."""


class Done(Exception):
    """All that was asked for is done."""


@dataclass(frozen=True)
class AloneConfig:
    directory: Path
    address: str = "0.0.0.0"
    """The host's address that Gateways listen on which name none."""
    metrics_port: int = 0
    """Where Envoy's counters are served; 0: nowhere."""
    workers: int = 1
    """Envoy's threads that serve requests."""
    log_dir: Path | None = None
    """Of ``envoy.log`` and ``access.log``; None: in a folder that goes with the process."""


async def run(config: AloneConfig, ready: Callable[[list[Problem]], None]) -> None:
    """Serve what the directory says, and what it says later, until cancelled. ``ready`` is called with what is wrong at the
    beginning when Envoy has been told. Raises ``OSError`` where there is no such directory."""
    async with gateway(config, envoy=True) as (agent, loader):
        reader = Reader(config.directory)
        problems = await loader.load(reader.read())
        tell(problems)
        agent.group.create_task(follow(reader, loader, problems), name="files")
        for kind in STATUSES:
            agent.informers[RESOURCES[kind]].add_handler(teller(loader, kind))
        agent.telling.on_problem = lambda obj, text: logger.warning("%s", Problem(where_of(loader, obj), text))
        await agent.run(lambda: ready(problems))
        await asyncio.get_running_loop().create_future()


async def check(config: AloneConfig) -> list[Problem]:
    """Return what is wrong with a directory: what cannot be read, and what would not be served. Nothing is started but what
    tries the plugins."""
    async with gateway(config, envoy=False) as (agent, loader):
        problems = await loader.load(Reader(config.directory).read())
        agent.telling.on_problem = lambda obj, text: problems.append(Problem(where_of(loader, obj), text))
        await agent.run(lambda: None)
        await agent.settled()
        for kind in STATUSES:
            for obj in agent.informers[RESOURCES[kind]].all():
                problems += [Problem(where_of(loader, obj), text) for text in complaints(obj, NOT_TRIED)]
        return problems


@asynccontextmanager
async def gateway(config: AloneConfig, *, envoy: bool) -> AsyncIterator[tuple[Agent, Loader]]:
    """Give an agent of an API in memory, and what loads into that."""
    folder = Path(tempfile.mkdtemp(prefix="sampan-gateway-"))
    try:
        api = await api_in_memory(folder)
        try:
            client = MemoryClient(api, USER)
            await install(client)
            loader = Loader(client, WATCHED)
            of_agent = GatewayConfig(
                node_ip=config.address,
                run_dir=folder,
                state_dir=folder,
                log_dir=config.log_dir or folder,
                on_host=True,
                owns_envoy=True,
                starts_envoy=envoy,
                workers=config.workers,
                metrics_port=config.metrics_port,
            )
            of_agent.make_folders()
            try:
                async with asyncio.TaskGroup() as group:
                    yield Agent(of_agent, client, group), loader
                    raise Done  # which ends the agent's tasks
            except* Done:
                pass
        finally:
            await api.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def follow(reader: Reader, loader: Loader, told: list[Problem]) -> None:
    """Load the directory again whenever something in it has changed, and say what is newly wrong."""
    while True:
        async with contextlib.AsyncExitStack() as stack:
            watched = [folder for folder in folders(reader.directory) if not folder.name.startswith(".")]
            events = [await stack.enter_async_context(changes_of(folder)) for folder in watched]
            problems = await loader.load(reader.read())  # also what changed before it was watched
            tell([problem for problem in problems if problem not in told])
            told = problems
            await first_of(events)
            await quiet(events, QUIET_SECONDS)


def teller(loader: Loader, kind: str) -> Callable[[str, Object | None, Object], None]:
    """Return a handler that says what the status of an object begins to say against it."""

    def changed(change: str, old: Object | None, new: Object) -> None:
        if change == "DELETED":
            return
        before = complaints(old) if old is not None else []
        for text in complaints(new):
            if text not in before:
                logger.warning("%s", Problem(where_of(loader, new), text))

    return changed


def where_of(loader: Loader, obj: Object) -> str:
    metadata = obj["metadata"]
    return loader.where(str(obj.get("kind", "")), str(metadata.get("namespace") or ""), str(metadata["name"]))


def tell(problems: list[Problem]) -> None:
    for problem in problems:
        logger.error("%s", problem)
