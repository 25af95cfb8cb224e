"""``sampan security VERB``: what pods may do, and who may do what. One file a verb, of the shape of ``sampan``'s own verbs.

A verb is a module with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``; adding one touches its file and
the list.
"""

from __future__ import annotations

import argparse

from sampan.cli.verbs import add_verbs

SUMMARY = "what pods may do, and who may do what: effective, check, fix, least, who-can, role, webhook"
VERBS = ("effective", "check", "fix", "least", "who-can", "role", "webhook")


def arguments(parser: argparse.ArgumentParser) -> None:
    add_verbs(parser, __name__, VERBS)


def run(options: argparse.Namespace) -> int:
    return int(options.run(options))
