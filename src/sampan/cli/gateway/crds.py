"""``sampan gateway crds``: the kinds that the gateway reads, for those who put them into a cluster by themselves."""

from __future__ import annotations

import argparse

SUMMARY = "print the CustomResourceDefinitions of what the gateway reads"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--own", action="store_true", help="only Sampan's own kinds, where Gateway API's and Traefik's are there"
    )


def run(options: argparse.Namespace) -> int:
    import yaml

    from sampan.gateway.kinds import definitions
    from sampan.gateway.kinds.resources import OWN_GROUP

    found = [one for one in definitions() if not options.own or one["spec"]["group"] == OWN_GROUP]
    print(yaml.safe_dump_all(found, sort_keys=False, default_flow_style=False), end="")
    return 0
