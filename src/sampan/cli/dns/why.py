"""``sampan dns why``: the search that a pod's resolver makes for a name, and the object behind each answer."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.client.http import HttpClient
    from sampan.dns.explaining.why import Resolver, Why
    from sampan.dns.forwarding.exchange import Address
    from sampan.schema.objects import Object

SUMMARY = "why a pod gets the answer it gets: its search, the objects, endpoints and TTL"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "question", metavar="NAME", help="as the program in the pod asks for it; with a closing dot: no search"
    )
    who = "the pod that asks, NAME or NAMESPACE/NAME (default: nobody, so no search)"
    parser.add_argument("--from", dest="pod", metavar="POD", help=who)
    parser.add_argument("--type", default="A", help="of the records (default: %(default)s)")
    parser.add_argument(
        "--server", metavar="ADDRESS[:PORT]", help="ask this server too (default: that of a cluster of ours)"
    )
    parser.add_argument("--cluster-domain", default="cluster.local", metavar="DOMAIN")
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    from sampan.dns import wire
    from sampan.dns.corefile.grammar import CorefileError

    kind = next((number for number, name in wire.TYPES.items() if name == options.type.upper()), None)
    if kind is None:
        print(f"sampan: --type {options.type}: there are {', '.join(wire.TYPES.values())}", file=sys.stderr)
        return 2
    if not options.question:
        print("sampan: NAME is empty: which name is asked for? ('.' is the root)", file=sys.stderr)
        return 2
    try:
        wire.name_to_wire(options.question)
    except wire.WireError as error:
        print(f"sampan: {options.question!r} is no name of DNS: {error}", file=sys.stderr)
        return 1
    try:
        found = asyncio.run(look(options, kind))
    except (wire.WireError, CorefileError, ValueError) as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines(options, found)))
    return 0 if found.steps[-1].code == "NOERROR" and found.steps[-1].answers else 1


async def look(options: argparse.Namespace, kind: int) -> Why:
    from sampan.client.errors import ApiError
    from sampan.client.resources import PODS
    from sampan.cluster.lifecycle import ClusterError
    from sampan.dns.entries import pod_entry
    from sampan.dns.explaining.why import Resolver, why
    from sampan.dns.explaining.world import World

    async with reaching.api(options) as client:
        world = await World.of(client, "kube-system/coredns", options.cluster_domain)
        resolver, source = Resolver((), (), 1), None
        if options.pod:
            namespace, _, name = reaching.pod_key(options.pod, options.namespace).partition("/")
            try:
                pod = await client.get(PODS, name, namespace)
            except ApiError as error:
                if not error.is_not_found:
                    raise
                hint = f"`{reaching.kubectl(options)} get pods -A` shows them"
                raise ClusterError(f"there is no pod {namespace}/{name}", hint) from error
            resolver = await resolver_of(client, options, pod)
            entry = pod_entry(pod)
            source = entry.addresses[0] if entry is not None and not entry.host_network else None
        return await why(world, options.question, kind, resolver, source, server_of(options))


async def resolver_of(client: HttpClient, options: argparse.Namespace, pod: Object) -> Resolver:
    """Return what the pod's resolv.conf says, as its node writes it."""
    from sampan.cli.dns.serve import service_ips_of
    from sampan.dns.explaining.why import Resolver
    from sampan.node.pod_dns import DnsSettings, dns_config, read_resolv_conf

    servers = await service_ips_of(client)
    # the node of a cluster of ours is this machine
    host = read_resolv_conf(hosts_resolv_conf() if not options.kubeconfig else "")
    made = dns_config(pod, DnsSettings(servers[0] if servers else "", options.cluster_domain, *host))
    ndots = next((one.partition(":")[2] for one in made.options if one.startswith("ndots:")), "1")
    return Resolver(tuple(made.servers), tuple(made.searches), int(ndots) if ndots.isdigit() else 1)


def hosts_resolv_conf() -> str:
    file = Path("/etc/resolv.conf")
    return file.read_text() if file.exists() else ""


def server_of(options: argparse.Namespace) -> Address | None:
    """Return the server that is asked too. Raises ``ValueError``."""
    from sampan.cli.dns.serve import listening
    from sampan.cluster import lifecycle
    from sampan.dns.forwarding.exchange import Address

    if options.server:
        (host, *_), port = listening([options.server], "--server")
        return Address(host, port)
    if options.kubeconfig:
        return None
    settings = lifecycle.load(options.name)
    return Address(str(settings.node_ip)) if settings.pods == "real" else None


def lines(options: argparse.Namespace, found: Why) -> list[str]:
    who = f"Pod {reaching.pod_key(options.pod, options.namespace)}" if options.pod else "nobody in particular"
    said = [f"{options.question} {options.type.upper()}, asked by {who}"]
    if options.pod:
        servers = ", ".join(found.resolver.servers) or "none"
        said.append(
            f"  nameserver {servers}; ndots {found.resolver.ndots}; search {' '.join(found.resolver.searches) or '-'}"
        )
    if found.at_once:
        said.append(
            f"  one round trip: the server walks the search and answers its first question with {found.at_once}"
        )
    for number, step in enumerate(found.steps, 1):
        ttl = f"  TTL {step.ttl}" if step.ttl is not None else ""
        by = f"  by {step.by}" if step.by else ""
        what = ", ".join(step.answers) or ("no data" if step.code == "NOERROR" else step.code)
        said.append(f"  {number}. {step.name}  {what}{ttl}{by}")
        said += [f"       {line}" for line in step.because]
        if step.server:
            said.append(f"       but the server says {step.server}")
    return said
