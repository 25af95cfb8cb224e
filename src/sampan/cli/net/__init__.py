"""``sampan net VERB``: where a packet goes and who may send it. One file a verb, of the shape of ``sampan``'s own verbs.

A verb is a module with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``; adding one touches its file and
the list.
"""

from __future__ import annotations

import argparse

from sampan.cli.verbs import add_verbs

SUMMARY = "where a packet goes and who may send it: trace, policies, proxy, agent, cni"
VERBS = ("trace", "policies", "proxy", "agent", "cni")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_verbs(parser, __name__, VERBS)


def run(options: argparse.Namespace) -> int:
    return int(options.run(options))
