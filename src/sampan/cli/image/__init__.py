"""``sampan image VERB``: container images of a cluster's containerd. One file a verb, of the shape of `sampan`'s own."""

from __future__ import annotations

import argparse

from sampan.cli.verbs import add_verbs

SUMMARY = "container images of a cluster: build, load, save, pull, push, ls, inspect, …"
VERBS = ("build", "load", "save", "pull", "push", "tag", "ls", "inspect", "rm", "prune")


def arguments(parser: argparse.ArgumentParser) -> None:
    for _, one in add_verbs(parser, __name__, VERBS):
        one.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    """Run the verb; an image that cannot be had is one line."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.images import ImageError
    from sampan.node.runtime import RuntimeFailure

    try:
        return int(options.run(options))
    except ImageError as error:
        raise ClusterError(f"{error.reason}: {error}") from error
    except RuntimeFailure as error:
        raise ClusterError(f"the runtime refuses: {error}") from error
