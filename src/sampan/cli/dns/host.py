"""``sampan dns host``: how a browser on this machine can use the cluster's names, and the same done.

Three ways: systemd-resolved asks the cluster's server for its names, by settings of the link that go with the link;
dnsmasq (and NetworkManager's) by a line of its configuration; /etc/hosts by a marked block that ``sampan down`` takes out.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.client.http import HttpClient
    from sampan.cluster.settings import Settings
    from sampan.dns.gateway_names import Named

SUMMARY = "how this machine can use the cluster's names; --use does it"
RESOLVED = Path("/run/systemd/resolve")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")
    parser.add_argument("--use", choices=("resolvectl", "hosts"), help="do it, by this way")
    parser.add_argument("--undo", action="store_true", help="take it back (`sampan down` does, too)")
    parser.set_defaults(kubeconfig=None)


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import host_names, lifecycle

    settings = reaching.running(options.name)
    zones, names = asyncio.run(look(options))
    commands = resolvectl(settings, zones)
    if options.undo:
        host_names.remove(settings.name)
        if shutil.which("resolvectl") and RESOLVED.exists():
            subprocess.run(["resolvectl", "revert", link(settings)], check=False)
        print(f"this machine uses no names of cluster {settings.name} any more")
    elif options.use == "hosts":
        host_names.put(settings.name, names)
        print(f"{host_names.FILE} has {len(names)} names of cluster {settings.name}; run it again after a change")
    elif options.use == "resolvectl":
        if not shutil.which("resolvectl") or not RESOLVED.exists():
            raise lifecycle.ClusterError("systemd-resolved does not run here", "use --use hosts")
        for command in commands:
            subprocess.run(command, check=True)
        print(f"names below {', '.join(zones)} are asked of {settings.node_ip}, as long as the cluster is up")
    else:
        print("\n".join(told(settings, zones, names, commands)))
    return 0


def told(settings: Settings, zones: list[str], names: list[tuple[str, str]], commands: list[list[str]]) -> list[str]:
    here = shutil.which("resolvectl") and RESOLVED.exists()
    return [
        f"The DNS server of cluster {settings.name} answers this machine at {settings.node_ip}:",
        f"    dig @{settings.node_ip} kubernetes.default.svc.{settings.cluster_domain}",
        "",
        f"systemd-resolved ({'it runs here' if here else 'it does not run here'}; gone with `sampan down`):",
        *(f"    {' '.join(map(quoted, command))}" for command in commands),
        f"    or: sampan dns host --name {settings.name} --use resolvectl",
        "",
        "dnsmasq, also NetworkManager's (/etc/NetworkManager/dnsmasq.d/, yours to take out):",
        *(f"    server=/{zone}/{settings.node_ip}" for zone in zones),
        "",
        f"/etc/hosts (a marked block of {len(names)} names, taken out by `sampan down`):",
        f"    sampan dns host --name {settings.name} --use hosts",
        *([] if len(zones) > 1 else ["", *GATEWAYS]),
    ]


GATEWAYS = (
    "Host names of Gateways, routes, Ingresses and LoadBalancer Services are served when the Corefile has them",
    "(kubectl -n kube-system edit configmap coredns):",
    "    k8s_gateway shop.example",
)


def quoted(word: str) -> str:
    return f"'{word}'" if word.startswith("~") else word


def link(settings: Settings) -> str:
    return f"smp{settings.index}"


def resolvectl(settings: Settings, zones: list[str]) -> list[list[str]]:
    return [
        ["resolvectl", "dns", link(settings), str(settings.node_ip)],
        ["resolvectl", "domain", link(settings), *(f"~{zone}" for zone in zones)],
        ["resolvectl", "default-route", link(settings), "false"],
    ]


async def look(options: argparse.Namespace) -> tuple[list[str], list[tuple[str, str]]]:
    """Return the zones that the server answers for, and every name with its address."""
    from sampan.client.resources import SERVICES
    from sampan.dns import wire
    from sampan.dns.corefile.configuration import read
    from sampan.dns.corefile.grammar import CorefileError
    from sampan.dns.explaining.world import corefile_of
    from sampan.dns.gateway_names import hosts_of

    async with reaching.api(options) as client:
        try:
            configuration = read(*(await corefile_of(client, "kube-system/coredns", "cluster.local"))[:1])
        except CorefileError as error:
            print(f"sampan: {error}", file=sys.stderr)
            from sampan.dns.corefile.configuration import DEFAULT

            configuration = read(DEFAULT)
        kubernetes = configuration.kubernetes
        domain = kubernetes.domain if kubernetes else "cluster.local"
        settings = [block.gateway for block in configuration.blocks if block.gateway is not None]
        extra = [wire.wire_to_name(zone) for one in settings for zone in one.zones]
        names = {}
        for service in (await client.list(SERVICES)).items:
            metadata, address = service["metadata"], service["spec"].get("clusterIP")
            if address and address != "None":
                names[f"{metadata['name']}.{metadata['namespace']}.svc.{domain}"] = str(address)
        for host, ip, _ in hosts_of(await gateway_objects(client), extra):
            if not host.startswith("*"):
                names.setdefault(host, str(ip))
    return [domain, *(zone for zone in extra if zone)], sorted(names.items())


async def gateway_objects(client: HttpClient) -> dict[str, dict[str, Named]]:
    from sampan.dns.explaining.world import listed
    from sampan.dns.gateway_names import RESOURCES, named

    found: dict[str, dict[str, Named]] = {}
    for kind in RESOURCES:
        for obj in await listed(client, kind):
            one = named(kind, obj)
            if one is not None:
                metadata = obj["metadata"]
                found.setdefault(kind, {})[f"{metadata.get('namespace')}/{metadata['name']}"] = one
    return found
