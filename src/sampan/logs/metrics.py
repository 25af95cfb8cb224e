"""What ``/metrics`` of the agent shows: what became of each file's bytes (``account.py``), each step's counts, each output's.

Names are Prometheus' (prometheus.io, "Metric and label naming"). Of files that are followed no more the totals remain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from sampan.api.metrics.exposition import Family, Sample, lines
from sampan.api.metrics.process import of_process
from sampan.logs.account import Account
from sampan.logs.pod_paths import of_path
from sampan.logs.timestamps import NANO, written

if TYPE_CHECKING:
    from sampan.logs.agent import Agent

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SUMS = {
    "read_bytes": "Bytes of log files that were read, in whole lines.",
    "resumed_bytes": "Bytes that an agent before this one, or the reader of a copied file, held.",
    "overhead_bytes": "Bytes around the texts of lines: times, streams, escapes, line ends.",
    "given_bytes": "Bytes of lines in records that went on to the outputs.",
    "moved_bytes": "Bytes that were held and taken over by the reader of a copy.",
    "records": "Records that lines were joined to.",
    "joined": "Records of several lines.",
}
NAMES = {"joined": "joined_records"}
OUTPUT_COUNTS = ("records", "refused", "retries", "faults", "set_aside", "waiting_records", "waiting_bytes")


def of_agent(agent: Agent) -> Iterator[Family]:
    """Yield all metrics."""
    following = agent.following
    files = list(following.files.values())
    totals = Account()
    totals.add(following.gone)
    for file in files:
        totals.add(file.account)
    yield gauge("sampan_logs_build_info", "What is running.", [Sample({"version": version("sampan")}, 1)])
    yield gauge("sampan_logs_open_files", "Log files that are held open.", [Sample({}, len(files))])
    held = sum(file.assembler.held_bytes for file in files)
    yield from of_account("sampan_logs", [({}, totals, held)])
    yield gauge(
        "sampan_logs_lag_bytes",
        "Bytes of log files that are not read yet.",
        [Sample({}, sum(file.lag_bytes for file in files))],
    )
    each = [(of_file(file.path), file.account, file.assembler.held_bytes) for file in files]
    yield from of_account("sampan_logs_file", each)
    lag = [Sample(of_file(file.path), file.lag_bytes) for file in files]
    yield gauge("sampan_logs_file_lag_bytes", "Bytes of a log file that are not read yet.", lag)
    yield from of_steps(agent)
    yield from of_outputs(agent)
    yield from of_process()


def of_file(path: str) -> dict[str, str]:
    of = of_path(path)
    return {"file": path, **{name: of[name] for name in ("namespace", "pod", "container") if name in of}}


def of_account(prefix: str, accounts: Sequence[tuple[Mapping[str, str], Account, int]]) -> Iterator[Family]:
    for name, told in SUMS.items():
        samples = [Sample(labels, getattr(account, name)) for labels, account, _ in accounts]
        yield counter(f"{prefix}_{NAMES.get(name, name)}_total", told, samples)
    dropped = [
        (labels, reason, count, account.dropped_bytes[reason])
        for labels, account, _ in accounts
        for reason, count in sorted(account.dropped.items())
    ]
    yield counter(
        f"{prefix}_dropped_records_total",
        "Records that went no further, by the reason.",
        [Sample({**labels, "reason": reason}, count) for labels, reason, count, _ in dropped],
    )
    yield counter(
        f"{prefix}_dropped_bytes_total",
        "Bytes of lines in records that went no further, by the reason.",
        [Sample({**labels, "reason": reason}, size) for labels, reason, _, size in dropped],
    )
    held = [Sample(labels, held) for labels, _, held in accounts]
    yield gauge(f"{prefix}_held_bytes", "Bytes of lines that wait for what belongs to them.", held)


def of_steps(agent: Agent) -> Iterator[Family]:
    """Yield what steps have counted; what was redacted is counted by its kind, and shown nowhere."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for step in agent.pipeline.steps:
        for what, count in step.tally.items():
            counts[step.field, step.kind, what] += count
    for what, count in agent.pipeline.asked.items():
        counts["annotations", "annotation", what] += count
    yield counter(
        "sampan_logs_processing_total",
        "What steps of the processing have counted: parsed, unparsed, kinds of secrets that were redacted, errors.",
        [
            Sample({"step": step, "kind": kind, "what": what}, count)
            for (step, kind, what), count in sorted(counts.items())
        ],
    )


def of_outputs(agent: Agent) -> Iterator[Family]:
    counts = sorted(agent.totals.outputs.items())
    for name, shown, told in (
        ("records", "records", "Records that an output has acknowledged."),
        ("refused", "refused_records", "Records that an output has refused for good."),
        ("retries", "retries", "Attempts that an output did not take."),
        ("faults", "faults", "Attempts that a fault of the agent has ended."),
        ("set_aside", "aside_records", "Records that an output fails at, and that were put aside in a file."),
    ):
        family = f"sampan_logs_output_{shown}_total"
        yield counter(family, told, [Sample({"output": output}, getattr(each, name)) for output, each in counts])
    for name, told in (
        ("waiting_records", "Records that wait in an output's spool."),
        ("waiting_bytes", "Bytes that wait in an output's spool."),
        ("full", "Whether an output's spool is full, and nothing more is read."),
    ):
        shown = f"spool_{name}" if name == "full" else name
        yield gauge(
            f"sampan_logs_output_{shown}",
            told,
            [Sample({"output": output}, getattr(each, name)) for output, each in counts],
        )

    yield gauge(
        "sampan_logs_output_quarantined",
        "Whether an output takes nothing because of a fault of the agent.",
        [Sample({"output": output}, int(each.state == "quarantined")) for output, each in counts],
    )


def status_of(agent: Agent) -> dict[str, Any]:
    """Return how the agent and its outputs are: ``state`` is working, waiting (with the ``reason`` that the output gives) or
    quarantined (with the place of the fault)."""
    outputs = [
        {
            "name": name,
            "state": each.state,
            **({"reason": each.reason} if each.reason else {}),
            **({"since": written(int(each.since * NANO))} if each.since else {}),
            **{count: getattr(each, count) for count in OUTPUT_COUNTS},
        }
        for name, each in sorted(agent.totals.outputs.items())
    ]
    files = agent.following.files.values()
    return {"files": len(files), "lag_bytes": sum(file.lag_bytes for file in files), "outputs": outputs}


def counter(name: str, told: str, samples: list[Sample]) -> Family:
    return Family(name, "counter", told, samples)


def gauge(name: str, told: str, samples: list[Sample]) -> Family:
    return Family(name, "gauge", told, samples)


class Server:
    """``/metrics``, ``/status`` (JSON, ``status_of``), and ``/healthz``, which answers while the agent's loop turns."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; return the port. Raises ``OSError``."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        app.router.add_get("/healthz", self._healthz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        text = "\n".join((*lines(of_agent(self._agent)), ""))
        return web.Response(body=text.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, request: web.Request) -> web.Response:
        return web.Response(body=orjson.dumps(status_of(self._agent)), content_type="application/json")

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")
