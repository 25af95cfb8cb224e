"""``sampan image tag``: one more name for an image."""

from __future__ import annotations

import argparse

from sampan.cli.image import holding

SUMMARY = "give an image one more name"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("new", metavar="NAME")


def run(options: argparse.Namespace) -> int:
    from sampan.node.images import full_name

    name = holding.chosen(
        holding.ask(options, lambda runtime: holding.holdings(runtime, options.name)), options.image
    ).names[0]
    holding.transfer(options).tag(name, full_name(options.new))
    print(full_name(options.new))
    return 0
