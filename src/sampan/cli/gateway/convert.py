"""``sampan gateway convert``: manifests of Ingress, Traefik and the first Service APIs as Gateway API v1, without a cluster.

YAML goes to stdout, ready for ``kubectl apply -f -``; what was changed or could not be converted goes to stderr, a line for
each field. With ``--strict`` the exit code is 1 where something was lost.
"""

from __future__ import annotations

import argparse
import sys

SUMMARY = "turn Ingress, IngressRoute and Service APIs manifests into Gateway API v1"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON, a directory of them, or - for stdin")
    parser.add_argument(
        "--gateway-class", default="sampan", metavar="NAME", help="of the Gateways made (default: sampan)"
    )
    parser.add_argument(
        "--entry-point",
        action="append",
        default=[],
        metavar="NAME=PORT",
        help="the port of one of Traefik's entry points, beside web=80, websecure=443 and traefik=8080",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 where something could not be converted")
    parser.add_argument("-q", "--quiet", action="store_true", help="tell only what could not be converted")


def run(options: argparse.Namespace) -> int:
    import yaml

    from sampan.cli.security.manifests import objects
    from sampan.gateway.convert import convert

    try:
        found = [obj for _, obj in objects(options.files)]
        result = convert(found, options.gateway_class, dict(map(entry_point, options.entry_point)))
    except ValueError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2
    if not result.objects:
        print(
            "sampan: nothing to convert: no Ingress, IngressRoute or networking.x-k8s.io object among the files",
            file=sys.stderr,
        )
        return 2
    print(yaml.safe_dump_all(result.objects, sort_keys=False, default_flow_style=False), end="")
    for note in result.notes:
        if note.lost or not options.quiet:
            print(note, file=sys.stderr)
    if result.left_out:
        print(f"{len(result.left_out)} objects of other kinds stay as they are and are not printed", file=sys.stderr)
    return 1 if options.strict and any(note.lost for note in result.notes) else 0


def entry_point(text: str) -> tuple[str, int]:
    name, _, port = text.partition("=")
    if not name or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"--entry-point {text}: NAME=PORT is expected, as metrics=9100")
    return name, int(port)
