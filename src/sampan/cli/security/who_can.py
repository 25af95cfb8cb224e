"""``sampan security who-can VERB RESOURCE``: the subjects that can, and the binding by which.

``get secrets``, ``delete deployments.apps web -n shop``, ``create pods/exec``, ``get /metrics``. Who cannot, but may come to
it by ``escalate``, ``bind`` or ``impersonate``, is told after them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.api.rbac import Policy
    from sampan.api.who_can import Asked, Granted
    from sampan.client.http import HttpClient

SUMMARY = "who can do something, and by which binding"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("verb", help="get, list, create, …; or * for all")
    what = "pods, pods/log, deployments.apps, or a path: /metrics"
    parser.add_argument("resource", help=what)
    parser.add_argument("object", nargs="?", default="", help="the name of one object")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in whichever namespace")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(ask(options))


async def ask(options: argparse.Namespace) -> int:
    from sampan.api.who_can import roundabout, who_can

    async with reaching.api(options) as client:
        asked = await asked_of(client, options)
        policy = await read_policy(client)
    found = list(who_can(policy, asked))
    others = list(roundabout(policy, found, asked.namespace))
    if options.output == "json":
        escapes = [{"may": may, **one._asdict()} for may, one in others]
        print(json.dumps({"can": [one._asdict() for one in found], "couldTake": escapes}, indent=2))
        return 0
    print("\n".join(table(found)) if found else "nobody")
    if others:
        print("\nmay come to it by other rights:")
        width = max(len(may) for may, _ in others)
        for may, one in others:
            print(f"  {may:{width}}  {one.kind} {one.subject}  ({one.binding})")
    return 0


def table(found: list[Granted]) -> list[str]:
    lines = [("KIND", "SUBJECT", "WHERE", "BY", "ROLE", "ONLY")]
    for one in sorted(found):
        where = one.scope or "everywhere"
        lines.append((one.kind, one.subject, where, one.binding, one.role, ",".join(one.only)))
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    return [
        "  ".join([*(f"{cell:{w}}" for cell, w in zip(line, widths, strict=False)), line[5]]).rstrip() for line in lines
    ]


async def asked_of(client: HttpClient, options: argparse.Namespace) -> Asked:
    """Return what is asked, the resource found by discovery under any of its names."""
    from sampan.api.who_can import Asked
    from sampan.cluster.lifecycle import ClusterError

    if options.resource.startswith("/"):
        return Asked(options.verb, path=options.resource)
    word, _, subresource = options.resource.partition("/")
    plural, _, group = word.partition(".")
    async for at, one in resources(client):
        names = (one["name"], one.get("singularName"), one["kind"].lower(), *(one.get("shortNames") or ()))
        if plural.lower() in names and (not group or group == at):
            namespace = "" if options.all_namespaces or not one["namespaced"] else options.namespace
            return Asked(options.verb, at, one["name"], subresource, options.object, namespace)
    if word in ("users", "groups", "userextras"):  # nobody stores these; they are there for `impersonate`
        return Asked(options.verb, "", word, subresource, options.object)
    raise ClusterError(f"the API has no resource {word!r}", "`sampan kubectl api-resources` shows them")


async def resources(client: HttpClient) -> AsyncIterator[tuple[str, Any]]:
    """Yield ``(group, APIResource)`` of everything that the API serves, the core group first."""
    groups: list[tuple[str, str]] = [("", "/api/v1")]
    for group in (await get(client, "/apis"))["groups"]:
        groups.append((group["name"], f"/apis/{group['preferredVersion']['groupVersion']}"))
    for group, path in groups:
        for one in (await get(client, path))["resources"]:
            if "/" not in one["name"]:
                yield group, one


async def get(client: HttpClient, path: str) -> Any:
    import orjson

    return orjson.loads((await client.raw("GET", path))[1])


async def read_policy(client: HttpClient) -> Policy:
    from sampan.api.rbac import Policy
    from sampan.client.protocol import ResourceType

    group = ("rbac.authorization.k8s.io", "v1")
    kinds = {
        plural: ResourceType(*group, plural, kind, namespaced=not kind.startswith("Cluster"))
        for plural, kind in (
            ("clusterroles", "ClusterRole"),
            ("roles", "Role"),
            ("clusterrolebindings", "ClusterRoleBinding"),
            ("rolebindings", "RoleBinding"),
        )
    }
    read = {plural: (await client.list(resource)).items for plural, resource in kinds.items()}
    return Policy(
        {role["metadata"]["name"]: role for role in read["clusterroles"]},
        {(role["metadata"]["namespace"], role["metadata"]["name"]): role for role in read["roles"]},
        read["clusterrolebindings"],
        read["rolebindings"],
    )
