"""``sampan image prune``: removes images without a name that nobody uses; with ``--all`` every one that no container and
no volume uses."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sampan.cli.image import holding

if TYPE_CHECKING:
    from sampan.node.runtime import Runtime

SUMMARY = "remove images that no container uses"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-a", "--all", action="store_true", help="those with names, too")
    parser.add_argument("--dry-run", action="store_true", help="only say which")


def run(options: argparse.Namespace) -> int:
    async def prune(runtime: Runtime) -> int:
        freed = 0
        for one in await holding.holdings(runtime, options.name):
            if one.needed or (one.names and not options.all):
                continue
            if not options.dry_run:
                await runtime.remove_image(one.id)
            freed += one.size
            print(f"{'would remove' if options.dry_run else 'removed'} {one.names[0] if one.names else one.id}")
        print(f"{freed / 1e6:.1f} MB")
        return 0

    return holding.ask(options, prune)
