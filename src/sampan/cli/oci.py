"""``sampan oci explain POD``: the chain that a pod stands on, side by side.

PodSpec, the CRI requests as the runtime was sent them, containerd's container and task, the OCI runtime's ``config.json``
from the bundle, and what the kernel holds for the process. Everything is read where it lies; docs/oci.md tells the way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.node.inspection import Inspection, PodOnNode, Running
    from sampan.node.oci_chain import Link, Row

SUMMARY = "show the chain a pod stands on: PodSpec, CRI, containerd, OCI, kernel"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    explain = verbs.add_parser("explain", help="show the chain, topic by topic, side by side")
    explain.add_argument("pod", metavar="POD")
    explain.add_argument("-c", "--container", help="only this container")
    explain.add_argument(
        "-o", "--output", choices=("text", "json"), default="text", help="json has the documents whole"
    )
    reaching.arguments(explain)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(explain(options))


async def explain(options: argparse.Namespace) -> int:
    from sampan.client.resources import PODS
    from sampan.cluster.lifecycle import ClusterError

    name = options.pod.rpartition("/")[2]
    async with reaching.api(options) as client:
        pod = await client.get(PODS, name, options.namespace)
    async with reaching.node(options) as node:
        here = await node.pod(pod["metadata"]["uid"])
        if here is None:
            raise ClusterError(
                f"the runtime has nothing of pod {name!r}", f"`sampan kubectl describe pod {name}` says why"
            )
        if options.container:
            here = here._replace(containers=[one for one in here.containers if one.name == options.container])
        links = {one.name: node.link(pod, here, one) for one in here.containers if one.pid}
        if options.output == "json":
            print(json.dumps(whole(pod, here, links, node), indent=2))
        else:
            show(pod, here, links, node)
    return 0


def show(pod: Any, here: PodOnNode, links: dict[str, Link], node: Inspection) -> None:
    from sampan.node.oci_chain import rows, table

    metadata, sandbox = pod["metadata"], here.sandbox
    print(f"Pod {metadata['namespace']}/{metadata['name']}  uid {metadata['uid']}")
    process = f"pid {sandbox.pid}" if sandbox.pid else "no process of its own"
    print(f"└ RunPodSandbox → {sandbox.id[:13]}  {sandbox.info.get('image', '')}  {process}")
    if "config" in sandbox.info:
        print(f"  │ cgroup_parent {sandbox.info['config'].get('linux', {}).get('cgroup_parent')}")
    if not here.containers:
        print("  └ no container has been made")
    for one in here.containers:
        info = one.info
        snapshot = (
            f"  snapshot {info['snapshotter']}/{info.get('snapshotKey', '')[:13]}" if "snapshotter" in info else ""
        )
        print(f"  └ CreateContainer {one.name} → {one.id[:13]}{snapshot}")
        if one.name not in links:
            print("    └ no task: it has ended, and its bundle and process with it\n")
            continue
        if "runtimeType" in info:
            print(f"    └ task {info['runtimeType']}  bundle {node.bundle(one)}")
        print(f"      └ process {one.pid}  {links[one.name].command}\n")
        found: list[Row] = list(rows(links[one.name]))
        print("\n".join(table(found, max(shutil.get_terminal_size((160, 24)).columns, 120))))
        print()


def whole(pod: Any, here: PodOnNode, links: dict[str, Link], node: Inspection) -> Any:
    """Return the chain as one document: each layer's own, and the rows."""
    from sampan.node.oci_chain import rows

    def layer(one: Running) -> Any:
        link = links[one.name]
        task = {key: value for key, value in one.info.items() if key not in ("config", "runtimeSpec")}
        process = {**link.process._asdict(), "cgroups": link.cgroups, "limits": link.limits, "command": link.command}
        return {
            "name": one.name,
            "podSpec": link.container,
            "createContainer": link.cri,
            "containerd": {"id": one.id, **task, "bundle": str(node.bundle(one))},
            "oci": link.oci,
            "kernel": {key: sorted(value) if isinstance(value, frozenset) else value for key, value in process.items()},
            "mounts": [mount._asdict() for mount in link.mounts],
            "rows": [row._asdict() for row in rows(link)],
        }

    sandbox = {
        "id": here.sandbox.id,
        "runPodSandbox": here.sandbox.info.get("config", {}),
        "oci": here.sandbox.info["runtimeSpec"],
    }
    return {"pod": pod, "sandbox": sandbox, "containers": [layer(one) for one in here.containers if one.name in links]}
