"""``sampan lab heal``: faults end."""

from __future__ import annotations

import argparse

SUMMARY = "take away the faults of a link or node, or all"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="?", default="", help="a link or node (default: everything)")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call

    answer, _ = call(name_of(options), {"ask": "heal", "name": options.what})
    print(f"{answer['healed']} fault{'s' if answer['healed'] != 1 else ''} healed")
    return 0
