"""``sampan dns [VERB]``: the cluster's names, from the host, explained, and served on any Kubernetes. One file a verb.

A verb is a module with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``; adding one touches its file and
the list. Without a verb it is ``host``.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from sampan.cli.verbs import add_verbs

SUMMARY = "the cluster's names: from the host, why an answer is so, a Corefile, a server on any Kubernetes"
VERBS = ("host", "why", "check", "serve")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", dest="cluster", help="the cluster's name, where there is no VERB (default: default)")
    add_verbs(parser, __name__, VERBS, required=False)


def run(options: argparse.Namespace) -> int:
    if options.verb is None:
        host = importlib.import_module("sampan.cli.dns.host")
        whole = argparse.Namespace(name=options.cluster or "default", use=None, undo=False, kubeconfig=None)
        return int(host.run(whole))
    if options.cluster:
        print(
            f"sampan: --name goes behind the verb: sampan dns {options.verb} --name {options.cluster}", file=sys.stderr
        )
        return 2
    return int(options.run(options))
