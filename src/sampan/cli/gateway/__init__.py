"""``sampan gateway VERB``: the gateway's tools. One file a verb, of the shape of ``sampan``'s own verbs.

A verb is a module with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``; adding one touches its file and
the list.
"""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

SUMMARY = "the gateway's tools: convert, plugin, plugins, run"
VERBS = ("convert", "plugin", "plugins", "run")
FILES = {"run": "running"}
"""Verbs whose file has another name: a module ``run`` would take the place of the function."""


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        module = module_of(verb)
        one = verbs.add_parser(verb, help=module.SUMMARY, description=module.SUMMARY)
        module.arguments(one)
        one.set_defaults(run=module.run)


def module_of(verb: str) -> ModuleType:
    return importlib.import_module(f"sampan.cli.gateway.{FILES.get(verb, verb)}")


def run(options: argparse.Namespace) -> int:
    return int(options.run(options))
