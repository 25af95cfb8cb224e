"""``sampan image push``: an image of the cluster to a registry, under its own name or another."""

from __future__ import annotations

import argparse

from sampan.cli.image import holding

SUMMARY = "send an image to a registry"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("remote", nargs="?", default="", metavar="NAME", help="its name there, if it is another")
    holding.registry_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from sampan.node.images import full_name

    name = holding.chosen(
        holding.ask(options, lambda runtime: holding.holdings(runtime, options.name)), options.image
    ).names[0]
    remote = full_name(options.remote) if options.remote else name
    holding.transfer(options).push(name, remote)
    print(remote)
    return 0
