"""``sampan lab down``: a laboratory and everything of it goes."""

from __future__ import annotations

import argparse

SUMMARY = "remove a laboratory"
NAMES_ITSELF = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="laboratories (default: the only one that runs)")
    parser.add_argument("--all", action="store_true", help="remove all laboratories of this user")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.address import running
    from sampan.lab.ending import end

    names = running() if options.all else options.names or [name_of(argparse.Namespace(name=None))]
    for name in names:
        end(name)
        print(f"laboratory {name} is gone")
    if not names:
        print("no laboratory runs")
    return 0
