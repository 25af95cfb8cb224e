"""``sampan dns VERB``: the cluster's names, from the host, explained, and served on any Kubernetes. One file a verb.

A verb is a module with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``; adding one touches its file and
the list.
"""

from __future__ import annotations

import argparse
import importlib

SUMMARY = "the cluster's names: from the host, why an answer is so, a Corefile, a server on any Kubernetes"
VERBS = ("host", "why", "check", "serve")


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB")
    # without a verb: how this machine can use the names
    host = importlib.import_module("sampan.cli.dns.host")
    parser.set_defaults(run=host.run, name="default", use=None, undo=False, kubeconfig=None)
    for verb in VERBS:
        module = importlib.import_module(f"sampan.cli.dns.{verb}")
        one = verbs.add_parser(verb, help=module.SUMMARY, description=module.SUMMARY)
        module.arguments(one)
        one.set_defaults(run=module.run)


def run(options: argparse.Namespace) -> int:
    return int(options.run(options))
