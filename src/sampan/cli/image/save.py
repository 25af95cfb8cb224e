"""``sampan image save``: images of the cluster as an archive that ``docker load`` and OCI tools read."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "write images as an archive"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the archive")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.image.holding import ask, chosen, holdings, transfer

    held = ask(options, lambda runtime: holdings(runtime, options.name))
    names = [chosen(held, name).names[0] for name in options.images]
    transfer(options).export(names, Path(options.output).absolute())
    return 0
