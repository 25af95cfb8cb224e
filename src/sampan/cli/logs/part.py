"""``sampan logs PART``: what a part of the cluster has written (``sampan kubectl logs`` shows pods)."""

from __future__ import annotations

import argparse
import sys

SUMMARY = "show the log of a part (api, node, dns, gateway, containerd, envoy, supervisor)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("part", help="the part, as `sampan status` names it")
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    settings = lifecycle.load(options.name)
    path = settings.log_dir / f"{options.part}.log"
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in settings.log_dir.glob("*.log")))
        raise lifecycle.ClusterError(f"there is no log of {options.part!r}", f"logs: {there}")
    with path.open(errors="replace") as log:
        for line in log:
            sys.stdout.write(line)
    return 0
