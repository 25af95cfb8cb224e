"""``sampan image pull``: images from a registry, in the host's network: a registry on loopback is in reach."""

from __future__ import annotations

import argparse

from sampan.cli.image import holding

SUMMARY = "fetch images from a registry, as seen from this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    holding.registry_arguments(parser)


def run(options: argparse.Namespace) -> int:
    from sampan.node.images import full_name

    way = holding.transfer(options)
    for image in options.images:
        way.pull(full_name(image))
        print(full_name(image))
    return 0
