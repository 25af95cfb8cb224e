"""What the verbs share: a transfer to and from the cluster's containerd, and the images that it holds."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.node.image_transfer import Transfer
    from sampan.node.image_uses import Held
    from sampan.node.runtime import Runtime

Found = TypeVar("Found")


def registry_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--plain-http", action="store_true", help="HTTP without TLS (loopback registries: always)")
    parser.add_argument("-k", "--insecure", action="store_true", help="do not check the registry's certificate")
    parser.add_argument("--ca", default="", metavar="FILE", help="certificate of the registry's authority")
    parser.add_argument("-u", "--user", default="", metavar="USER:PASSWORD", help="(default: what `docker login` kept)")


def transfer(options: argparse.Namespace) -> Transfer:
    """Return the way in and out of the running cluster that is named. Raises ``ClusterError``."""
    from sampan.cli.reaching import running
    from sampan.node.image_transfer import Transfer

    settings = running(options.name)
    return Transfer(
        settings.containerd_socket,
        settings.containerd_dir / "certs.d",
        plain_http=getattr(options, "plain_http", False),
        insecure=getattr(options, "insecure", False),
        ca=getattr(options, "ca", ""),
        user=getattr(options, "user", ""),
    )


def ask(options: argparse.Namespace, question: Callable[[Runtime], Awaitable[Found]]) -> Found:
    """Return what the runtime of the running cluster answers. Raises ``ClusterError``, ``RuntimeFailure``."""
    from sampan.cli.reaching import running
    from sampan.node.runtime import Runtime

    settings = running(options.name)

    async def answer() -> Found:
        runtime = Runtime(settings.containerd_socket)
        try:
            return await question(runtime)
        finally:
            runtime.close()

    return asyncio.run(answer())


async def holdings(runtime: Runtime, cluster: str) -> list[Held]:
    """Return the images of a cluster's node, with who uses them: containers, and pods with image volumes. Raises
    ``ClusterError`` where the API does not say which pods there are."""
    from sampan.client.resources import PODS
    from sampan.node.image_uses import held, volume_users

    async with reaching.api(argparse.Namespace(name=cluster, kubeconfig=None)) as client:
        volumes = volume_users((await client.list(PODS)).items)
    return held(await runtime.list_images(), await runtime.list_containers(), volumes)


def chosen(held: list[Held], name: str) -> Held:
    """Return the image of a name, or of the beginning of an id. Raises ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.images import ImageError, full_name

    try:
        full = full_name(name)
    except ImageError:
        full = name
    found = [one for one in held if full in one.names or name in one.names]
    digits = name.removeprefix("sha256:")
    by_id = [one for one in held if len(digits) >= 6 and one.id.removeprefix("sha256:").startswith(digits)]
    if len(found or by_id) != 1:
        raise ClusterError(f"the cluster has no image {name!r}", "`sampan image ls` shows them")
    return (found or by_id)[0]
