"""``sampan lab show``: the nodes of a laboratory, what runs in them, and its faults."""

from __future__ import annotations

import argparse
import json

SUMMARY = "show nodes, services that ended, links with their counters, faults"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call

    status, _ = call(name_of(options), {"ask": "status"})
    if options.output == "json":
        print(json.dumps(status, indent=2))
        return 0
    width = max(len(node["name"]) for node in status["nodes"])
    for node in status["nodes"]:
        role = "router" if node["router"] else "node"
        running = f"{node['processes']} processes" if node["processes"] else ""
        print(f"{node['name']:{width}}  {role:6}  {' '.join(node['addresses'])}  {running}".rstrip())
        for ended in node["ended"]:
            print(f"{'':{width}}  ended: {ended}")
    print()
    width = max((len(link["name"]) for link in status["links"]), default=4)
    for link in status["links"]:
        print(f"{link['name']:{width}}  {link['state']:6}  {link['packets']:>9} packets  {link['bytes']:>12} bytes")
    for fault in status["faults"]:
        print(f"fault: {fault}")
    return 0
