"""``sampan logs agent``: read log files, join what belongs together, deliver it; until a signal."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sqlite3
import sys
from pathlib import Path

SUMMARY = "read log files, join what belongs together, deliver it and forget nothing"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path", action="append", required=True, metavar="PATH", help="a folder, a pattern or a file; may be repeated"
    )
    parser.add_argument(
        "--output",
        action="append",
        metavar="KIND:ADDRESS",
        help="json:FILE, text:FILE (FILE - is stdout), sqlite:FILE, http://…; may be repeated (default: json:-)",
    )
    parser.add_argument(
        "--state",
        default="/var/lib/sampan-logs",
        metavar="DIR",
        help="where it keeps how far it is (default: %(default)s)",
    )
    parser.add_argument(
        "--format", choices=("cri", "docker", "plain"), default="", help="(default: found for each file)"
    )
    parser.add_argument(
        "--flush-seconds",
        type=float,
        default=2.0,
        metavar="S",
        help="a record ends after so long (default: %(default)s)",
    )
    parser.add_argument(
        "--rules", metavar="FILE", help="rules for files by their paths: ours, Fluent Bit's or Filebeat's"
    )
    parser.add_argument("--poll", type=float, default=0.0, metavar="S", help="look every S seconds, do without inotify")
    parser.add_argument("--once", action="store_true", help="read what is there, deliver it, and end")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        return asyncio.run(serve(options))
    except ValueError as error:
        raise ClusterError(str(error)) from error
    except sqlite3.Error as error:
        raise ClusterError(f"the state or the index cannot be written: {error}", f"look at {options.state}") from error


async def serve(options: argparse.Namespace) -> int:
    """Work until a signal; then give out what is held."""
    from sampan.logs.agent import Agent
    from sampan.logs.outputs.named import output_named
    from sampan.logs.reading.finding import Roots
    from sampan.logs.reading.following import Following
    from sampan.logs.reading.ledger import Ledger
    from sampan.logs.rules.file import joiner_for, read_rules

    rules = read_rules(Path(options.rules)) if options.rules else []
    outputs = [output_named(address) for address in options.output or ["json:-"]]
    ledger = Ledger(Path(options.state) / "positions.db")
    following = Following(
        Roots(options.path), ledger.positions(), make_joiner=lambda path: joiner_for(rules, path), format=options.format
    )
    agent = Agent(following, ledger, outputs, flush_seconds=options.flush_seconds, poll_seconds=options.poll)
    if options.once:
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
