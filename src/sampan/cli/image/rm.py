"""``sampan image rm``: takes a name away; with the last name goes the image. One that containers use stays."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sampan.cli.image import holding

if TYPE_CHECKING:
    from sampan.node.runtime import Runtime

SUMMARY = "remove images"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("-f", "--force", action="store_true", help="those that containers use, too")


def run(options: argparse.Namespace) -> int:
    async def remove(runtime: Runtime) -> int:
        for name in options.images:
            await remove_one(runtime, name, options.name, force=options.force)
        return 0

    return holding.ask(options, remove)


async def remove_one(runtime: Runtime, name: str, cluster: str, *, force: bool) -> None:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.images import ImageError, full_name

    one = holding.chosen(await holding.holdings(runtime, cluster), name)
    try:
        full = full_name(name)
    except ImageError:
        full = name
    if full in one.names and len(one.names) > 1:
        await runtime.untag_image(full)
        print(f"untagged {full}")
        return
    if one.needed and not force:
        users = ", ".join(one.users) or "the node itself"
        raise ClusterError(f"{name} is used by {users}", "--force removes it all the same")
    await runtime.remove_image(one.id)
    print(f"removed {one.names[0] if one.names else one.id}")
