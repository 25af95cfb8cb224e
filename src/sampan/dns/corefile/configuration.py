"""What a Corefile asks for, judged: directives to settings; pure but for the files that ``hosts`` names.

A directive that this server cannot do as CoreDNS does it is refused with its line, never passed over. ``DIRECTIVES`` is the
list of what there is; one entry reads one directive. Source: the manuals of CoreDNS's plugins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sampan.dns import wire
from sampan.dns.corefile.grammar import CorefileError, Directive, ServerBlock, parse
from sampan.dns.forwarding.cache import CacheSettings
from sampan.dns.forwarding.upstreams import ForwardSettings
from sampan.dns.gateway_names import GatewaySettings
from sampan.dns.hosts import HostsSettings
from sampan.dns.records import Options
from sampan.dns.rewrite import Rule

DEFAULT = """\
.:53 {
    errors
    health :9153
    ready :9153
    prometheus :9153
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        endpoint_pod_names
        zonal
        ttl 5
        fallthrough in-addr.arpa ip6.arpa
    }
    autopath @kubernetes
    forward . /etc/resolv.conf {
        max_concurrent 1000
    }
    cache 30 {
        prefetch 10
        serve_stale 1h verify 1s
    }
    loop
    reload
    loadbalance
}
"""
"""What a cluster of ours begins with."""


@dataclass(slots=True)
class Block:
    """One server block: for names below its zones it alone says what is done. The order of a question's way is CoreDNS's:
    rewrite, autopath, hosts, k8s_gateway, kubernetes, forward through the cache."""

    zones: tuple[bytes, ...]
    kubernetes: Options | None = None
    autopath: bool = False
    rewrites: list[Rule] = field(default_factory=list)
    hosts: HostsSettings | None = None
    gateway: GatewaySettings | None = None
    forwards: list[ForwardSettings] = field(default_factory=list)
    cache: CacheSettings | None = None
    loop: bool = False
    loadbalance: bool = False
    log: bool = False
    udp_size: int = 0
    """The longest UDP answer, whatever a client takes; 0: what it takes."""


class Listening(NamedTuple):
    """Where HTTP is answered: ``(host, port)``, the host "" for any."""

    health: tuple[str, int] | None = None
    ready: tuple[str, int] | None = None
    metrics: tuple[str, int] | None = None
    lameduck_seconds: float = 0.0


@dataclass(slots=True)
class Configuration:
    blocks: list[Block]
    listening: Listening = field(default_factory=Listening)
    reload: bool = True

    @property
    def kubernetes(self) -> Options | None:
        return next((block.kubernetes for block in self.blocks if block.kubernetes), None)

    @property
    def is_plain(self) -> bool:
        """Whether a name of the cluster's is answered from its zone and nothing else is to be thought of."""
        (first, *others) = self.blocks
        beside = first.rewrites or first.hosts or first.gateway or first.log or first.udp_size
        return not others and not beside and first.kubernetes is not None

    @property
    def watches_pods(self) -> bool:
        options = self.kubernetes
        return options is not None and (options.pods == "verified" or any(block.autopath for block in self.blocks))

    def block_of(self, name: bytes) -> Block | None:
        """Return the block that a name falls under: the one with the longest zone."""
        best, found = -1, None
        for block in self.blocks:
            for zone in block.zones:
                if len(zone) > best and wire.is_below(name, zone):
                    best, found = len(zone), block
        return found


class Reading:
    """What one server block comes to, directive by directive."""

    def __init__(self, zones: tuple[str, ...], files: Mapping[str, str], configuration: Configuration) -> None:
        self.zones = zones
        self.files = files
        """Files by their path, where they come with the Corefile (the keys of its ConfigMap)."""
        self.configuration = configuration
        self.block = Block(tuple(map(wire.name_to_wire, zones)))

    def listen(self, directive: Directive, **where: tuple[str, int] | float) -> None:
        for name in where:
            if name != "lameduck_seconds" and getattr(self.configuration.listening, name) is not None:
                raise directive.refuse("it is said twice")
        self.configuration.listening = self.configuration.listening._replace(**where)  # type: ignore[arg-type]


Reader = Callable[[Reading, Directive], None]


def read(text: str, *, port: int = 53, files: Mapping[str, str] | None = None) -> Configuration:
    """Return what a Corefile asks for. ``port``: where this server listens; ``files``: what ``hosts`` may name beside the
    files of the disk. Raises ``CorefileError``."""
    from sampan.dns.corefile.directives import DIRECTIVES

    blocks = parse(text)
    if not blocks:
        raise CorefileError(1, "no server block")
    configuration = Configuration([])
    seen: dict[str, int] = {}
    for block in blocks:
        zones = _zones(block, port)
        for zone in zones:
            if zone in seen:
                raise CorefileError(block.line, f"the zone {zone or '.'} has a block already, in line {seen[zone]}")
            seen[zone] = block.line
        reading = Reading(zones, files or {}, configuration)
        once: set[str] = set()
        for directive in block.directives:
            reader = DIRECTIVES.get(directive.name)
            if reader is None:
                known = ", ".join(sorted(DIRECTIVES))
                raise directive.refuse(f"there is no such directive here; there are {known}")
            if directive.name in once and directive.name not in ("rewrite", "forward"):
                raise directive.refuse("it stands in this block already")
            once.add(directive.name)
            reader(reading, directive)
        _judge(block, reading.block, configuration)
        configuration.blocks.append(reading.block)
    return configuration


def _judge(block: ServerBlock, made: Block, configuration: Configuration) -> None:
    if made.kubernetes and configuration.kubernetes and made.kubernetes != configuration.kubernetes:
        raise CorefileError(block.line, "kubernetes: another block has it with other options; there is one cluster")
    if made.autopath and made.kubernetes is None:
        raise CorefileError(block.line, "autopath: it needs kubernetes in the same block")
    if made.loop and not made.forwards:
        made.loop = False


def _zones(block: ServerBlock, port: int) -> tuple[str, ...]:
    found: list[str] = []
    for key in block.keys:
        text = key.removeprefix("dns://")
        if "://" in text:
            raise CorefileError(block.line, f"{key}: DNS over UDP and TCP is served, nothing else")
        name, _, given = text.rpartition(":") if _has_port(text) else (text, "", "")
        if given and given != str(port):
            raise CorefileError(block.line, f"{key}: this server listens on port {port}")
        found += zones_of(name, lambda message, key=key: CorefileError(block.line, f"{key}: {message}"))  # type: ignore[misc]
    return tuple(found)


def _has_port(text: str) -> bool:
    return text.rpartition(":")[2].isdigit() and "/" not in text.rpartition(":")[2] and text.count(":") == 1


def zones_of(text: str, refuse: Callable[[str], Exception]) -> list[str]:
    """Return a zone without its closing dot, "" for the root; of a range of addresses, its reverse zones."""
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise refuse(str(error)) from error
        step = 8 if network.version == 4 else 4
        whole = -(-network.prefixlen // step) * step
        return [
            piece.network_address.reverse_pointer.split(".", (network.max_prefixlen - whole) // step)[-1]
            for piece in network.subnets(new_prefix=whole)
        ]
    name = text.rstrip(".").lower()
    try:
        wire.name_to_wire(name)
    except wire.WireError as error:
        raise refuse(str(error)) from error
    return [name]
