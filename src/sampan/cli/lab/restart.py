"""``sampan lab restart``: a node goes down and comes up again."""

from __future__ import annotations

import argparse

SUMMARY = "restart a node: its programs and its network begin anew, its links stay the ones they are"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call

    call(name_of(options), {"ask": "restart", "node": options.node})
    print(f"node {options.node} is up again")
    return 0
