"""``sampan dns check``: a Corefile read and judged, without a cluster; or the one of a cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sampan.dns import wire
from sampan.dns.corefile.configuration import Configuration, read
from sampan.dns.corefile.grammar import CorefileError

SUMMARY = "read a Corefile and say what it does, or in which line it is wrong"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a Corefile, - for stdin")
    parser.add_argument("--port", type=int, default=53, help="where the server listens (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
    try:
        configuration = read(text, port=options.port)
    except CorefileError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines(configuration)))
    return 0


def lines(configuration: Configuration) -> list[str]:
    """Return what each block does, in the order of a question's way."""
    said = []
    for block in configuration.blocks:
        said.append(", ".join(wire.wire_to_name(zone) or "." for zone in block.zones))
        if block.rewrites:
            said.append(f"  rewrite      {len(block.rewrites)} rules")
        if block.autopath:
            said.append("  autopath     the search of the pod that asks is walked by the server")
        if block.hosts is not None:
            said.append(
                f"  hosts        {len(block.hosts.lines)} lines{f', {block.hosts.file}' if block.hosts.file else ''}"
            )
        if block.gateway is not None:
            said.append(f"  k8s_gateway  {', '.join(sorted(block.gateway.resources))}")
        if block.kubernetes is not None:
            one = block.kubernetes
            extra = [name for name in ("endpoint_pod_names", "zonal") if getattr(one, name)]
            said.append(f"  kubernetes   {one.domain}, pods {one.pods}, ttl {one.ttl}, {', '.join(extra) or 'no more'}")
        for forward in block.forwards:
            to = ", ".join([*map(str, forward.addresses), *map(str, forward.files)])
            said.append(f"  forward      {wire.wire_to_name(forward.zone) or '.'} to {to} ({forward.policy})")
        if block.cache is not None:
            cache = block.cache
            said.append(
                f"  cache        at most {cache.success.longest_seconds} s, denials {cache.denial.longest_seconds} s"
            )
    for name, where in configuration.listening._asdict().items():
        if isinstance(where, tuple):
            said.append(f"{name:14} {where[0] or '*'}:{where[1]}")
    return said
