"""``sampan image ls``: the images of the cluster, and how many containers use each."""

from __future__ import annotations

import argparse
import json

from sampan.cli.image import holding

SUMMARY = "list images"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("text", "json", "name"), default="text")


def run(options: argparse.Namespace) -> int:
    found = holding.ask(options, lambda runtime: holding.holdings(runtime, options.name))
    if options.output == "json":
        print(json.dumps([one._asdict() for one in found], indent=2))
        return 0
    if options.output == "name":
        print("\n".join(name for one in found for name in one.names))
        return 0
    print(f"{'IMAGE':60} {'SIZE':>10}  {'DIGEST':19}  USED BY")
    for one in found:
        more = f" +{len(one.users) - 1}" if len(one.users) > 1 else ""
        used = f"{one.users[0]}{more}" if one.users else ""
        for name in one.names or ["<no name>"]:
            print(f"{name:60} {one.size / 1e6:>7.1f} MB  {one.id[:19]}  {used}".rstrip())
    return 0
