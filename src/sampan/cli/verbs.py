"""Verbs below a verb (``sampan security check``): each a module of a package, found by its name when its parser is made.

A module has ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``, which stands in ``options.run`` afterwards.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType


def add_verbs(
    parser: argparse.ArgumentParser,
    package: str,
    verbs: Sequence[str],
    files: Mapping[str, str] | None = None,
    *,
    required: bool = True,
) -> list[tuple[ModuleType, argparse.ArgumentParser]]:
    """Add the verbs of a package to its parser; return each with the parser of its own, for what all of them have.

    ``files``: verbs whose module has another name than theirs (with ``_`` for ``-``)."""
    group = parser.add_subparsers(dest="verb", required=required, metavar="VERB")
    added = []
    for verb in verbs:
        module = importlib.import_module(f"{package}.{(files or {}).get(verb) or verb.replace('-', '_')}")
        one = group.add_parser(verb, help=module.SUMMARY, description=module.SUMMARY)
        module.arguments(one)
        one.set_defaults(run=module.run)
        added.append((module, one))
    return added
