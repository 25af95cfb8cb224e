"""``sampan lab logs``: what the services of a node wrote."""

from __future__ import annotations

import argparse
import sys

SUMMARY = "print what the services of a node wrote"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call

    sys.stdout.write(call(name_of(options), {"ask": "logs", "node": options.node})[0]["text"])
    return 0
