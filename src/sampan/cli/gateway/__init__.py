"""``sampan gateway VERB``: the gateway's tools. One file a verb, of the shape of ``sampan``'s own verbs.

A verb is a module with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``; adding one touches its file and
the list.
"""

from __future__ import annotations

import argparse

from sampan.cli.verbs import add_verbs

SUMMARY = "the gateway's tools: convert, crds, plugin, plugins, run"
VERBS = ("convert", "crds", "plugin", "plugins", "run")
FILES = {"run": "running"}
"""Verbs whose file has another name: a module ``run`` would take the place of the function."""


def arguments(parser: argparse.ArgumentParser) -> None:
    add_verbs(parser, __name__, VERBS, FILES)


def run(options: argparse.Namespace) -> int:
    return int(options.run(options))
