"""``sampan logs agent``: read log files, join what belongs together, deliver it; until a signal."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.logs.agent import Agent
    from sampan.logs.outputs.output import Output
    from sampan.logs.pods import Pods
    from sampan.logs.processing.pipeline import Pipeline
    from sampan.logs.reading.encodings import Encoded
    from sampan.logs.rules.rule import Rule

SUMMARY = "read log files, join what belongs together, deliver it and forget nothing"
FORMATS = ("cri", "docker", "plain")
PATIENCE_SECONDS = 60.0
"""For the first list of pods."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--path", action="append", metavar="PATH", help="a folder, a pattern or a file; may be repeated")
    add(
        "--config",
        metavar="FILE",
        help="paths, rules, processing and outputs (docs/logs.md); the options are added to it",
    )
    add("--check", action="store_true", help="judge the configuration, the rules and the outputs, and end")
    add(
        "--output",
        action="append",
        metavar="KIND:ADDRESS",
        help="json:FILE, text:FILE (FILE - is stdout), sqlite:FILE, http://…, otlp+http://…, elasticsearch+https://…, "
        "loki+http://…, kafka://…, syslog+tls://… (docs/logs-outputs.md); may be repeated (default: json:-)",
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
    add("--metrics", metavar="[HOST:]PORT", help="serve /metrics for Prometheus, and /healthz (HOST: 127.0.0.1)")
    add("--once", action="store_true", help="read what is there, deliver it, and end")
    add("--name", help="take labels and annotations of pods from this cluster of ours")
    add("--kubeconfig", metavar="FILE", help="take them from any Kubernetes (in a pod: by the pod's own account)")
    add("--node", default=os.environ.get("NODE_NAME", ""), help="of pods of this node only (default: $NODE_NAME)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        plan = planned(options)
        if options.check:
            sys.stdout.write(plan.told())
            return 0
        return asyncio.run(serve(options, plan))
    except ValueError as error:
        raise ClusterError(str(error)) from error
    except sqlite3.Error as error:
        raise ClusterError(f"the state or the index cannot be written: {error}", f"look at {options.state}") from error


@dataclass
class Plan:
    """What the options and the configuration ask for together."""

    paths: list[str]
    rules: list[Rule]
    encodings: list[Encoded]
    outputs: list[Output]
    pipeline: Pipeline

    def told(self) -> str:
        steps = ", ".join(step.kind for step in self.pipeline.steps)
        parts = {
            "paths": ", ".join(self.paths),
            "rules": ", ".join(rule.name for rule in self.rules),
            "processing": steps,
            "outputs": ", ".join(output.name for output in self.outputs),
        }
        return "".join(f"{name}: {said or '-'}\n" for name, said in parts.items())


def planned(options: argparse.Namespace) -> Plan:
    """Return what is to be done. Raises ``ValueError``, ``OSError``, ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.configuration import Configuration, read_configuration
    from sampan.logs.outputs.registry import outputs_of
    from sampan.logs.rules.file import read_rules

    configuration, rules = Configuration(), []
    file = options.config
    try:
        if file:
            configuration = read_configuration(Path(file))
        addresses = options.output or ([] if configuration.outputs else ["json:-"])
        outputs = outputs_of(addresses, configuration.outputs, Path(options.state))
        configuration.pipeline.check_outputs(output.name for output in outputs)
        file = options.rules
        if file:
            rules = read_rules(Path(file))
    except ValueError as error:
        raise ClusterError(f"{file}: {error}" if file else str(error)) from error
    paths = [*configuration.paths, *(options.path or ())]
    if not paths:
        raise ClusterError("there is nothing to read", "name it by --path, or in the file of --config by paths")
    return Plan(paths, [*configuration.rules, *rules], configuration.encodings, outputs, configuration.pipeline)


async def serve(options: argparse.Namespace, plan: Plan) -> int:
    async with pods_of(options) as pods:
        agent = make(options, plan, pods)
        async with metrics_of(agent, options.metrics):
            return await work_with(agent, once=options.once)


@contextlib.asynccontextmanager
async def metrics_of(agent: Agent, address: str | None) -> AsyncIterator[None]:
    """Serve an agent's metrics while it works, if that is wanted."""
    if not address:
        yield
        return
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.metrics import Server

    host, _, port = address.rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ClusterError(f"--metrics {address}: [HOST:]PORT is wanted")
    server = Server(agent)
    try:
        there = await server.start(host.strip("[]") or "127.0.0.1", int(port))
    except OSError as error:
        raise ClusterError(f"--metrics {address}: {error.strerror or error}") from error
    logging.getLogger("sampan.logs").info("metrics are served at port %d", there)
    try:
        yield
    finally:
        await server.close()


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


def make(options: argparse.Namespace, plan: Plan, pods: Pods | None) -> Agent:
    """Return the agent of a plan. Raises ``OSError``, ``sqlite3.Error``."""
    from sampan.logs.agent import Agent
    from sampan.logs.assembling import Joins
    from sampan.logs.log_record import nothing_wished
    from sampan.logs.outputs.registry import aside_of
    from sampan.logs.pod_paths import of_path
    from sampan.logs.reading.encodings import encoding_for
    from sampan.logs.reading.finding import Roots
    from sampan.logs.reading.following import SETTLING_SECONDS, Following
    from sampan.logs.reading.ledger import Ledger
    from sampan.logs.rules.file import joiner_for

    names = {rule.name for rule in plan.rules}
    cut_at = plan.pipeline.cut_at

    def joiner(path: str) -> Joins:
        """Make a joiner when a stream's first line is there: by then the pod is known."""
        return joiner_for(plan.rules, path, pods.rule_of(path, names) if pods is not None else "", cut_at)()

    ledger = Ledger(Path(options.state) / "positions.db")
    following = Following(
        Roots(plan.paths),
        ledger.positions(),
        make_joiner=lambda path: lambda: joiner(path),
        format=options.format,
        encoding_of=encoding_for(plan.encodings),
        settling_seconds=0 if options.once else SETTLING_SECONDS,
    )
    return Agent(
        following,
        ledger,
        plan.outputs,
        flush_seconds=options.flush_seconds,
        poll_seconds=options.poll,
        labels_of=pods.labels_of if pods is not None else of_path,
        wishes_of=pods.wishes_of if pods is not None else nothing_wished,
        pipeline=plan.pipeline,
        aside_of=lambda name: aside_of(name, Path(options.state)),
    )


async def work_with(agent: Agent, *, once: bool) -> int:
    """Work until a signal; then give out what is held."""
    from sampan.logs import memory

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each file that is followed is held open
    memory.keep()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)  # records by the hundred thousand, and no cycle among them
    if once:
        try:
            await agent.once()
        except BaseExceptionGroup as errors:
            raise cause_of(errors) from errors
        finally:
            await agent.close()
        return 0
    work = asyncio.create_task(agent.run(), name="agent")
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    waiting = asyncio.create_task(stopped.wait(), name="signal")
    await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if work.done() and (error := work.exception()) is not None:  # it cannot go on: what it holds is read again
        await agent.close()
        raise cause_of(error)
    await agent.stop()
    if not work.cancelled():
        work.result()
    return 0


def cause_of(error: BaseException) -> BaseException:
    """Return the first error of those that came together."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
