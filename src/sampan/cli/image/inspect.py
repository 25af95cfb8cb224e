"""``sampan image inspect``: configuration, layers with what made them, names, and who uses it."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching
from sampan.cli.image import holding

if TYPE_CHECKING:
    from sampan.node.image_content import ImageContent
    from sampan.node.image_uses import Held

SUMMARY = "show an image: configuration, layers, history, who uses it"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(options: argparse.Namespace) -> int:
    import asyncio

    return asyncio.run(inspect(options))


async def inspect(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError

    options.kubeconfig = None
    async with reaching.node(options) as node:
        held = holding.chosen(await holding.holdings(node.runtime, options.name), options.image)
        content = await node.content(held.names[0] if held.names else held.id)
    if content is None:
        raise ClusterError(f"containerd has no content of {options.image!r}")
    found = described(held, content)
    print(json.dumps(found, indent=2) if options.output == "json" else "\n".join(lines(found)))
    return 0


def described(held: Held, content: ImageContent) -> dict[str, Any]:
    config = content.config.get("config") or {}
    return {
        "names": held.names,
        "id": held.id,
        "manifest": content.manifest_digest,
        "platform": f"{content.config.get('os')}/{content.config.get('architecture')}",
        "created": content.config.get("created"),
        "config": {key: value for key, value in config.items() if value},
        "layers": steps(content),
        "usedBy": held.users,
    }


def steps(content: ImageContent) -> list[dict[str, Any]]:
    """Return the steps that made an image, each with the layer that it left (steps that left none are in history alone)."""
    layers = iter(content.layers)
    found = []
    for step in content.config.get("history") or ():
        made = {"createdBy": step.get("created_by", ""), "created": step.get("created")}
        layer = None if step.get("empty_layer") else next(layers, None)
        found.append({**made, "digest": layer.digest, "size": layer.size} if layer else made)
    return [*found, *({"createdBy": "", "digest": layer.digest, "size": layer.size} for layer in layers)]


def lines(found: dict[str, Any]) -> list[str]:
    told = [f"{name}:" for name in found["names"]] or ["(no name)"]
    told += [f"  {key:10} {found[key]}" for key in ("id", "manifest", "platform", "created")]
    told += [
        f"  {key:10} {value if isinstance(value, str) else json.dumps(value)}" for key, value in found["config"].items()
    ]
    told.append("layers, from the bottom:")
    for step in found["layers"]:
        size = f"{step['size'] / 1e6:8.2f} MB  {step['digest'][7:19]}" if "digest" in step else f"{'-':>8}     {'':12}"
        told.append(f"  {size}  {' '.join(str(step['createdBy']).split())[:100]}")
    return [*told, "used by:", *(f"  {user}" for user in found["usedBy"] or ["nobody"])]
