"""The directive ``forward FROM TO...``: which resolvers are asked for what, and how."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from sampan.dns import wire
from sampan.dns.corefile.arguments import lines_of, number, only, seconds, zones
from sampan.dns.corefile.configuration import Reading, zones_of
from sampan.dns.corefile.grammar import Directive
from sampan.dns.forwarding.exchange import Address
from sampan.dns.forwarding.upstreams import ForwardSettings

MOST_UPSTREAMS = 15
OPTIONS = (
    "except", "force_tcp", "prefer_udp", "max_fails", "tls_servername", "policy", "health_check", "max_concurrent",
    "read_timeout", "failover", "failfast_all_unhealthy_upstreams",
)  # fmt: skip


def forward(reading: Reading, directive: Directive) -> None:
    if len(directive.arguments) < 2:
        raise directive.refuse("it takes FROM and at least one TO")
    zone, *to = directive.arguments
    if len(to) > MOST_UPSTREAMS:
        raise directive.refuse(f"it takes at most {MOST_UPSTREAMS} TO")
    addresses, files = [], []
    for text in to:
        if text.startswith("/"):
            files.append(Path(text))
        else:
            addresses.append(resolver(directive, text))
    found: dict[str, Any] = {}
    for line in lines_of(directive, OPTIONS):
        if line.name == "tls_servername":
            (name,) = only(line, 1, 1)
            addresses = [replace_name(one, name) for one in addresses]
        else:
            found |= option(line)
    names = zones_of(zone, directive.refuse)
    if len(names) > 1:
        raise directive.refuse(f"{zone} is more than one reverse zone: end it at a whole part of the address")
    settings = ForwardSettings(wire.name_to_wire(names[0]), tuple(addresses), tuple(files))
    reading.block.forwards.append(replace(settings, **found))


def option(line: Directive) -> dict[str, Any]:
    """Return what one line of its block sets."""
    if line.name == "except":
        return {"excluded": zones(line, line.arguments)}
    if line.name == "force_tcp":
        only(line, 0)
        return {"force_tcp": True}
    if line.name == "prefer_udp":  # it is always so: TCP is for what UDP cuts short
        only(line, 0)
        return {}
    if line.name == "failfast_all_unhealthy_upstreams":
        only(line, 0)
        return {"fail_fast": True}
    if line.name in ("max_fails", "max_concurrent"):
        return {line.name: number(line, only(line, 1, 1)[0])}
    if line.name == "read_timeout":
        return {"read_seconds": seconds(line, *only(line, 1, 1))}
    if line.name == "policy":
        (policy,) = only(line, 1, 1)
        if policy not in ("random", "round_robin", "sequential"):
            raise line.refuse(f"{policy!r} is none of random, round_robin, sequential")
        return {"policy": policy}
    if line.name == "failover":
        codes = []
        for text in only(line, 10, 1):
            if text not in wire.CODES or text == "NOERROR":
                raise line.refuse(f"{text!r} is none of {', '.join(wire.CODES[1:])}")
            codes.append(wire.CODES.index(text))
        return {"failover": frozenset(codes)}
    return health_check(line)


def health_check(line: Directive) -> dict[str, Any]:
    arguments = list(only(line, 4, 1))
    found: dict[str, Any] = {"check_seconds": seconds(line, arguments.pop(0))}
    while arguments:
        word = arguments.pop(0)
        if word == "no_rec":
            found["check_recursion"] = False
        elif word == "domain" and arguments:
            (found["check_name"],) = zones(line, [arguments.pop(0)])
        else:
            raise line.refuse(f"{word!r} is neither no_rec nor domain FQDN")
    return found


def resolver(directive: Directive, text: str) -> Address:
    """Return the address of a TO: ``IP``, ``IP:PORT``, ``[IPv6]:PORT``, with ``dns://`` or ``tls://`` before it."""
    scheme, found, rest = text.rpartition("://")
    if found and scheme not in ("dns", "tls"):
        raise directive.refuse(f"{text}: resolvers are asked by UDP, TCP and TLS, nothing else")
    tls = scheme == "tls"
    host, port = rest, 853 if tls else 53
    if rest.startswith("["):
        host, _, given = rest[1:].partition("]")
        port = number(directive, given.removeprefix(":"), 65535) if given else port
    elif rest.count(":") == 1:
        host, _, given = rest.partition(":")
        port = number(directive, given, 65535)
    host, _, name = host.partition("%")
    try:
        ip_address(host)
    except ValueError:
        raise directive.refuse(
            f"{text}: neither an address nor a file (a resolver's name would have to be resolved)"
        ) from None
    return Address(host, port, tls, name)


def replace_name(address: Address, name: str) -> Address:
    return address._replace(server_name=name) if address.tls and not address.server_name else address
