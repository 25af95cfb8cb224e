"""``sampan net trace --from POD --to DESTINATION``: the way of a packet, step by step, and what stops it.

The exit code is 0 when every endpoint that may be picked is reached, 1 when one is not. ``--live`` sends a real packet
from the pod, and its outcome is the exit code then.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.cli import reaching
from sampan.cli.numbers import positive

if TYPE_CHECKING:
    from sampan.network.trace import Branch, Links, Trace
    from sampan.network.trace_live import Live, Packet

SUMMARY = "the way of a packet from a pod to a destination, and which policy stops it"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from", dest="client", required=True, metavar="POD", help="NAME or NAMESPACE/NAME")
    places = "SERVICE[.NAMESPACE]:PORT, pod/NAME:PORT, IP:PORT, or a name of DNS with a port"
    parser.add_argument("--to", required=True, metavar="DESTINATION", help=places)
    parser.add_argument("--protocol", choices=("tcp", "udp", "sctp"), default="tcp")
    parser.add_argument(
        "-6", dest="version", action="store_const", const=6, default=0, help="by IPv6 where there is a choice"
    )
    parser.add_argument(
        "--live", action="store_true", help="send a packet and tell which rules it met (root, cluster of ours)"
    )
    parser.add_argument(
        "--timeout", type=positive, default=3.0, metavar="SECONDS", help="of --live (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(show(options))


async def show(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.network.trace import YES, document, trace
    from sampan.network.trace_target import TraceError
    from sampan.network.trace_world import read_world

    if options.live and options.kubeconfig:
        raise ClusterError(
            "--live needs the node's kernel, and so a cluster of ours", "use --name, or leave --live out"
        )
    client = reaching.pod_key(options.client, options.namespace)
    async with reaching.api(options) as api:
        world = await read_world(api, "cluster.local" if options.kubeconfig else domain_of(options.name))
    try:
        found = trace(world, client, options.to, options.protocol, options.version, links_of(options))
    except TraceError as error:
        raise ClusterError(str(error), error.hint.replace("`kubectl", f"`{reaching.kubectl(options)}")) from error
    live = await send(options, world.pods[client], found) if options.live else None
    if options.output == "json":
        shown = document(found)
        if live is not None:
            shown["live"] = live_document(live)
        print(json.dumps(shown, indent=2))
    else:
        print("\n".join(text(found)))
        if live is not None:
            print("\n".join(live_text(live)))
    return 0 if (live.arrived if live else found.reached == YES) else 1


def domain_of(name: str) -> str:
    from sampan.cluster import lifecycle

    return str(lifecycle.load(name).cluster_domain)


def links_of(options: argparse.Namespace) -> Links:
    """Return the links of the node of a cluster of ours, where this user may look at them."""
    import ipaddress
    import os

    from sampan.cluster import lifecycle
    from sampan.network.cluster_link import NODE_INTERFACE
    from sampan.network.route_netlink import Netlink
    from sampan.network.trace import NO_LINKS, Links

    if options.kubeconfig:
        return NO_LINKS
    settings = lifecycle.load(options.name)
    if settings.pods != "real":
        return NO_LINKS
    try:
        descriptor = os.open(settings.netns_path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return NO_LINKS
    try:
        with Netlink(descriptor) as node:
            listed = node.links()
            bridge = node.link("sampan0")
            gateways = tuple(
                address
                for address in (node.addresses(bridge.number) if bridge else ())
                if not (isinstance(address, ipaddress.IPv6Address) and address.is_link_local)
            )
    except OSError:
        return NO_LINKS
    finally:
        os.close(descriptor)
    of_pods = {"/".join(link.alias.split("/")[:2]): link.name for link in listed if link.alias.count("/") == 2}
    return Links(of_pods, "sampan0", NODE_INTERFACE, gateways)


async def send(options: argparse.Namespace, pod: Any, found: Trace) -> Live:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.network.trace_live import LiveError, probe

    if not found.target.addresses:
        raise ClusterError(f"there is no address to send to: {found.target.problem}", "leave --live out")
    settings = reaching.running(options.name)
    netns = settings.netns_path
    if not pod["spec"].get("hostNetwork"):
        async with reaching.node(options) as node:
            here = await node.pod(pod["metadata"]["uid"])
        if here is None or not here.sandbox.pid:
            raise ClusterError(f"pod {found.client} has no sandbox that runs")
        netns = Path(f"/proc/{here.sandbox.pid}/ns/net")
    to = found.target.addresses[0]
    try:
        return await asyncio.to_thread(
            probe,
            settings.netns_path,
            netns,
            found.address,
            to,
            found.target.port,
            found.target.protocol,
            options.timeout,
        )
    except LiveError as error:
        raise ClusterError(str(error)) from error


# words


def text(found: Trace) -> list[str]:
    from sampan.network.trace import NO, YES

    target = found.target
    protocol = target.protocol.upper()
    to = f"{target.name} {target.port}/{protocol}" if target.name else f"{target.asked} {protocol}"
    lines = [f"{found.client} ({found.address}) to {to}", ""]
    where = ", ".join(map(str, target.addresses)) or "no address"
    lines.append(f"  {'name' if target.name else 'address':9} {target.name or target.asked} is {target.what}: {where}")
    if target.problem:
        lines.append(f"  {'':9} {target.problem}")
    lines += [f"  {'':9} {note}" for note in target.notes]
    if target.translated:
        count = len(target.endpoints)
        lines.append(
            f"  {'service':9} DNAT to {'one of ' if count > 1 else ''}{count} endpoint{'' if count == 1 else 's'}"
        )
        lines += [f"  {'':9} - {endpoint}: {why}, not used" for endpoint, why in target.unused]
    for branch in found.branches:
        lines += branch_text(branch, found)
    word = {YES: "reached", NO: "not reached"}.get(
        found.reached, "reached sometimes: it depends on the endpoint that is picked"
    )
    return [*lines, "", f"{word}{f': {target.problem}' if target.problem else ''}"]


def branch_text(branch: Branch, found: Trace) -> list[str]:
    from sampan.network.trace import explain, remedy

    share = f", {branch.share:.0%} of connections" if len(found.branches) > 1 else ""
    lines = [f"  {'to':9} {branch.endpoint} ({branch.where}{share})"]
    if branch.exempt:
        lines.append(f"    {'policies':9} {branch.exempt}")
    for verdict in branch.said:
        lines.append(f"    {verdict.way:9} {explain(verdict, branch, found.client)}")
        if not verdict.allowed:
            lines.append(f"    {'':9} {remedy(verdict, branch, found)}")
    if branch.links and branch.allowed:
        lines.append(f"    {'links':9} {' > '.join(branch.links)}")
    if branch.allowed and branch.source_seen != str(found.address):
        lines.append(f"    {'seen as':9} {branch.source_seen}")
    return lines


def live_text(live: Live) -> list[str]:
    said = {
        "connected": "it answered",
        "refused": "it was refused (a reset, or ICMP)",
        "silent": "nothing answered",
        "sent": "sent; nothing answered, which UDP need not",
        "unreachable": "it was refused: unreachable",
    }[live.outcome]
    packet = live.deciding
    went = f", it went to {packet.went}" if packet and packet.went else ""
    lines = ["", f"live: {said} after {live.seconds * 1000:.0f} ms{went}"]
    if lost := sum(1 for one in live.packets if one.dropped):
        lines.append(f"  {lost} packet{'' if lost == 1 else 's'} dropped")
    if packet is None:
        return [*lines, "  no rule of the node's kernel saw it"]
    for step in packet.steps:
        on_the_way = step.verdict == "policy accept" or step.verdict.startswith(("jump ", "goto ", "continue"))
        if not on_the_way:
            verdict = "" if step.rule.endswith(step.verdict) or not step.rule else f": {step.verdict}"
            lines.append(f"  {step.table} {step.chain}: {step.rule or step.verdict}{verdict}")
    return lines


def live_document(live: Live) -> dict[str, Any]:
    def packet(one: Packet) -> dict[str, Any]:
        rules = [{"table": s.table, "chain": s.chain, "rule": s.rule, "verdict": s.verdict} for s in one.steps]
        return {"went": one.went, "dropped": one.dropped, "rules": rules}

    deciding = live.deciding
    return {
        "outcome": live.outcome,
        "seconds": round(live.seconds, 4),
        "translatedTo": deciding.went if deciding else "",
        "rules": packet(deciding)["rules"] if deciding else [],
        "packets": [packet(one) for one in live.packets],
    }
