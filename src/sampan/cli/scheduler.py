"""``sampan scheduler``: the scheduler by itself on any Kubernetes, and a look at its configuration.

``serve`` schedules the pods of a cluster that a kubeconfig names; ``check`` reads a KubeSchedulerConfiguration, imports the
plugins it names, and prints who is asked at which point.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sampan.scheduler.configuration import Configuration

SUMMARY = "the scheduler by itself, on any Kubernetes"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    serve = verbs.add_parser("serve", help="schedule the pods of a cluster")
    serve.add_argument(
        "--kubeconfig", metavar="FILE", help="of the cluster (default: the configuration's, else $KUBECONFIG)"
    )
    serve.add_argument("--config", metavar="FILE", help="a KubeSchedulerConfiguration")
    check = verbs.add_parser("check", help="read a KubeSchedulerConfiguration and print its plugins")
    check.add_argument("config", metavar="FILE")


def run(options: argparse.Namespace) -> int:
    from sampan.scheduler.reading import ConfigurationError

    try:
        return check(Path(options.config)) if options.verb == "check" else serve(options)
    except ConfigurationError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2


def check(file: Path) -> int:
    from sampan.scheduler.configuration import profiles_of, read

    for profile in profiles_of(read(file)):
        print(f"profile {profile.name}")
        for point, plugins in profile.enabled.items():
            if plugins:
                names = [f"{p.name} {profile.weights[p.name]}" if point == "score" else p.name for p in plugins]
                print(f"  {point:11} {', '.join(names)}")
    return 0


def serve(options: argparse.Namespace) -> int:
    import asyncio
    import logging
    import os

    from sampan.client.errors import ApiError
    from sampan.client.kubeconfig import KubeconfigError, load
    from sampan.scheduler.configuration import Configuration, profiles_of, read
    from sampan.scheduler.serving import serve as serve_scheduler

    configuration: Configuration = read(Path(options.config)) if options.config else Configuration()
    profiles_of(configuration)  # what is wrong with it is said before anything starts
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    file = options.kubeconfig or configuration.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        asyncio.run(until_told(serve_scheduler(load(Path(file).expanduser()), configuration)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except (KubeconfigError, ApiError) as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    return 0


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run something until SIGTERM, which cancels it as ^C does: what it holds (a lease) is let go of in order."""
    import asyncio
    import signal

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await work
