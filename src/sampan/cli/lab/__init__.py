"""``sampan lab VERB``: network laboratories. One file a verb, of the shape of `sampan`'s own."""

from __future__ import annotations

import argparse
import sys

from sampan.cli.verbs import add_verbs

SUMMARY = "network laboratories of namespaces: up, exec, ping, capture, faults, …"
VERBS = (
    "up", "down", "ls", "show", "exec", "ping", "graph", "capture", "logs", "apply", "fault", "heal", "restart",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    for module, one in add_verbs(parser, __name__, VERBS):
        if not getattr(module, "NAMES_ITSELF", False):
            one.add_argument("--name", help="the laboratory (default: the only one that runs)")


def run(options: argparse.Namespace) -> int:
    """Run the verb; what is wrong with a laboratory is told line by line."""
    from sampan.lab.errors import LabError, TopologyError

    if sys.platform != "linux":
        print(f"sampan: laboratories are made of Linux namespaces; this is {sys.platform}", file=sys.stderr)
        return 1
    try:
        return int(options.run(options))
    except TopologyError as error:
        for problem in error.problems:
            print(f"sampan: {problem}", file=sys.stderr)
        return 1
    except LabError as error:
        print(f"sampan: {error}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return 1
