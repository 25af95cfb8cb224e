"""``sampan net agent``: NetworkPolicy on a node of any Kubernetes, whose CNI plugin routes its pods' packets."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal

from sampan.cli import reaching

SUMMARY = "enforce NetworkPolicies on this node of any Kubernetes, beside another CNI plugin"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--node", default="", help="the node whose pods are subject to policies here (default: every pod)"
    )
    reaching.arguments(parser, namespace=False)


def run(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    return asyncio.run(serve(options))


async def serve(options: argparse.Namespace) -> int:
    """Work until a signal; the table stays, so that a restart opens nothing."""
    from sampan.network.policy_agent import PolicyAgent

    async with reaching.api(options) as client:
        agent = PolicyAgent(client, options.node)
        work = asyncio.create_task(agent.run(), name="policies")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        ready = asyncio.create_task(agent.listed(), name="listed")
        await asyncio.wait({work, ready}, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            print("ready", flush=True)
        try:
            await work
        except asyncio.CancelledError:
            return 0
        finally:
            ready.cancel()
    return 0
