"""``sampan security effective``: every setting of each container as it holds, and where it comes from.

Of a pod of the API, of what makes pods in a manifest, with the image's user and groups and the node's kernel where they can
be seen. With ``--live``, each is held against what the kernel says of the process; the exit code is 1 where they differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.security.table import Row

SUMMARY = "show the security context that holds for each container: value and source"


def arguments(parser: argparse.ArgumentParser) -> None:
    what = "a pod by its name, what makes pods (deployment/web), a manifest, or - for stdin"
    parser.add_argument("pod", metavar="POD|KIND/NAME|FILE", help=what)
    parser.add_argument("--live", action="store_true", help="compare with the processes as they run")
    parser.add_argument("--event", action="store_true", help="with --live: record differences as an Event of the pod")
    parser.add_argument("-c", "--container", help="only this container")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text")
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    is_file = options.pod == "-" or Path(options.pod).is_file()
    kind = options.pod.partition("/")[0].lower() if "/" in options.pod else "pod"
    if not is_file and kind in ("pod", "pods", "po"):
        return asyncio.run(of_pod(options))
    if options.live:
        print("sampan: only pods have processes: --live is for them", file=sys.stderr)
        return 2
    return asyncio.run(of_manifests(options, is_file=is_file))


async def of_pod(options: argparse.Namespace) -> int:
    from sampan.client.resources import PODS
    from sampan.security.host import ANY
    from sampan.security.image_user import ImageUser
    from sampan.security.table import rows

    name = options.pod.rpartition("/")[2]
    async with reaching.api(options) as client:
        pod = await client.get(PODS, name, options.namespace)
    if options.live:
        users, host, processes = await looked_at(options, pod)
    else:
        (users, host), processes = await seen_by_node(options, pod["spec"]), {}
    image_of = lambda one: users.get(one.get("image", ""), ImageUser())  # noqa: E731
    found = list(rows(pod["spec"], image_of, host or ANY, processes))
    if options.event and any(row.differs for row in found):
        await record(options, pod, found)
    return show([(f"pod/{name}", found)], options)


async def looked_at(options: argparse.Namespace, pod: Any) -> tuple[Any, Any, Any]:
    """Return users of images, host and processes of a pod that runs. Raises ``ClusterError`` where none does."""
    from sampan.cluster.lifecycle import ClusterError

    async with reaching.node(options) as node:
        here = await node.pod(pod["metadata"]["uid"])
        processes = node.processes(here) if here is not None else {}
        if not processes:
            raise ClusterError(f"no container of pod {pod['metadata']['name']!r} runs", "--live needs one that does")
        return await node.image_users(pod["spec"]), await node.host(), processes


async def record(options: argparse.Namespace, pod: Any, found: list[Row]) -> None:
    """Write an Event about what differs, so that `kubectl describe` and alerts know of it."""
    import uuid

    from sampan.client.events import reference_to, timestamp
    from sampan.client.resources import EVENTS
    from sampan.security.table import text_of

    said = [
        f"{row.container}: {row.setting} is {text_of(row.setting, row.live)}, not {text_of(row.setting, row.value)}"
        for row in found
        if row.differs
    ]
    now, metadata = timestamp(), pod["metadata"]
    event = {
        "metadata": {"name": f"{metadata['name']}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "involvedObject": reference_to(pod),
        "type": "Warning",
        "reason": "SecurityContextDiffers",
        "message": "; ".join(said)[:1024],
        "source": {"component": "sampan-security"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    async with reaching.api(options) as client:
        await client.create(EVENTS, event)


async def of_manifests(options: argparse.Namespace, *, is_file: bool) -> int:
    from sampan.cli.security.fix import of_api
    from sampan.cli.security.manifests import group_of, name_of, objects
    from sampan.security.host import ANY
    from sampan.security.image_user import ImageUser
    from sampan.security.table import rows
    from sampan.security.templates import pod_of

    tables = []
    try:
        for obj in [obj for _, obj in objects([options.pod])] if is_file else [await of_api(options.pod, options)]:
            pod = pod_of(group_of(obj), str(obj.get("kind") or ""), obj)
            if pod is None:
                continue
            users, host = await seen_by_node(options, pod[1])
            image_of = lambda one, users=users: users.get(one.get("image", ""), ImageUser())  # noqa: E731
            tables.append((name_of(obj), list(rows(pod[1], image_of, host or ANY))))
    except ValueError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2
    return show(tables, options)


async def seen_by_node(options: argparse.Namespace, spec: Any) -> tuple[dict[str, Any], Any]:
    """Return what a running cluster of ours knows of the images and of its own kernel; nothing where there is none."""
    from sampan.cluster.lifecycle import ClusterError

    try:
        async with reaching.node(options) as node:
            return await node.image_users(spec), await node.host()
    except ClusterError:
        return {}, None


def show(tables: list[tuple[str, list[Row]]], options: argparse.Namespace) -> int:
    from sampan.security.table import lines

    if options.container:
        tables = [(name, [row for row in rows if row.container == options.container]) for name, rows in tables]
    if options.output == "text":
        for name, rows in tables:
            print(f"{name}:" if len(tables) > 1 else "", end="\n" if len(tables) > 1 else "")
            print("\n".join(lines(rows, live=options.live)))
    else:
        print_as(options.output, [as_object(name, row, options.live) for name, rows in tables for row in rows])
    return 1 if any(row.differs for _, rows in tables for row in rows) else 0


def as_object(name: str, row: Row, live: bool) -> dict[str, Any]:
    made = {"object": name, **row._asdict()}
    if not live:
        del made["live"], made["differs"]
    return made


def print_as(output: str, value: Any) -> None:
    if output == "json":
        print(json.dumps(value, indent=2))
    else:
        import yaml

        print(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), end="")
