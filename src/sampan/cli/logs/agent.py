"""``sampan logs agent``: read log files, join what belongs together, deliver it; until a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.logs.agent import Agent
    from sampan.logs.pods import Pods

SUMMARY = "read log files, join what belongs together, deliver it and forget nothing"
FORMATS = ("cri", "docker", "plain")
PATIENCE_SECONDS = 60.0
"""For the first list of pods."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--path", action="append", required=True, metavar="PATH", help="a folder, a pattern or a file; may be repeated")
    add(
        "--output",
        action="append",
        metavar="KIND:ADDRESS",
        help="json:FILE, text:FILE (FILE - is stdout), sqlite:FILE, http://…; may be repeated (default: json:-)",
    )
    add(
        "--state",
        default="/var/lib/sampan-logs",
        metavar="DIR",
        help="where it keeps how far it is (default: %(default)s)",
    )
    add("--format", choices=FORMATS, default="", help="of all files (default: found for each by its first lines)")
    add(
        "--flush-seconds",
        type=float,
        default=2.0,
        metavar="S",
        help="a record ends after so long (default: %(default)s)",
    )
    add("--rules", metavar="FILE", help="rules, by paths or by pods' annotations: ours, Fluent Bit's or Filebeat's")
    add("--poll", type=float, default=0.0, metavar="S", help="look every S seconds, do without inotify")
    add("--once", action="store_true", help="read what is there, deliver it, and end")
    add("--name", help="take labels and annotations of pods from this cluster of ours")
    add("--kubeconfig", metavar="FILE", help="take them from any Kubernetes (in a pod: by the pod's own account)")
    add("--node", default=os.environ.get("NODE_NAME", ""), help="of pods of this node only (default: $NODE_NAME)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.rules.rule import RuleError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(serve(options))
    except RuleError as error:
        raise ClusterError(f"{options.rules}: {error}") from error
    except ValueError as error:
        raise ClusterError(str(error)) from error
    except sqlite3.Error as error:
        raise ClusterError(f"the state or the index cannot be written: {error}", f"look at {options.state}") from error


async def serve(options: argparse.Namespace) -> int:
    async with pods_of(options) as pods:
        return await work_with(make(options, pods), once=options.once)


@contextlib.asynccontextmanager
async def pods_of(options: argparse.Namespace) -> AsyncIterator[Pods | None]:
    """Follow the pods while the agent works, if there is an API to be asked."""
    if not (options.kubeconfig or options.name or os.environ.get("KUBERNETES_SERVICE_HOST")):
        yield None
        return
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.pods import Pods

    async with reaching.api(options) as client:
        pods = Pods(client, options.node)
        following = asyncio.create_task(pods.informer.run(), name="pods")
        try:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await pods.informer.synced()
            except TimeoutError as error:
                raise ClusterError(f"the API did not list the pods within {PATIENCE_SECONDS:.0f} s") from error
            yield pods
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


def make(options: argparse.Namespace, pods: Pods | None) -> Agent:
    """Return the agent that the options describe. Raises ``ValueError``, ``OSError``, ``sqlite3.Error``."""
    from sampan.logs.agent import Agent
    from sampan.logs.assembling import Joins
    from sampan.logs.outputs.registry import outputs_of
    from sampan.logs.pod_paths import of_path
    from sampan.logs.reading.finding import Roots
    from sampan.logs.reading.following import SETTLING_SECONDS, Following
    from sampan.logs.reading.ledger import Ledger
    from sampan.logs.rules.file import joiner_for, read_rules

    rules = read_rules(Path(options.rules)) if options.rules else []
    names = {rule.name for rule in rules}

    def joiner(path: str) -> Joins:
        """Make a joiner when a stream's first line is there: by then the pod is known."""
        return joiner_for(rules, path, pods.rule_of(path, names) if pods is not None else "")()

    outputs = outputs_of(options.output or ["json:-"], None, Path(options.state))
    ledger = Ledger(Path(options.state) / "positions.db")
    following = Following(
        Roots(options.path),
        ledger.positions(),
        make_joiner=lambda path: lambda: joiner(path),
        format=options.format,
        settling_seconds=0 if options.once else SETTLING_SECONDS,
    )
    return Agent(
        following,
        ledger,
        outputs,
        flush_seconds=options.flush_seconds,
        poll_seconds=options.poll,
        labels_of=pods.labels_of if pods is not None else of_path,
    )


async def work_with(agent: Agent, *, once: bool) -> int:
    """Work until a signal; then give out what is held."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # records by the hundred thousand, and no cycle among them
    if once:
        await agent.once()
        await agent.close()
        return 0
    work = asyncio.create_task(agent.run(), name="agent")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    await agent.stop()
    if not work.cancelled():
        work.result()
    return 0
