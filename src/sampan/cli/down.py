"""``sampan down``: the cluster and every trace of it go."""

from __future__ import annotations

import argparse

SUMMARY = "remove a cluster and every trace of it"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="remove all clusters of this machine")
    parser.add_argument("--kubeconfig", metavar="FILE", help="the file that ``up`` put the context into")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import kubeconfig, lifecycle

    chosen = lifecycle.names() if options.all else [options.name]
    for name in chosen:
        settings = lifecycle.recover(name)
        if seconds := lifecycle.leave_seconds(settings):
            print(f"the pods of {name} have up to {seconds} s to end", flush=True)
        lifecycle.down(settings, kubeconfig.user_file(options.kubeconfig))
        print(f"cluster {name} is gone")
    if not chosen:
        print("there is no cluster")
    return 0
