"""``sampan lab up``: a laboratory is made, checked and left running."""

from __future__ import annotations

import argparse

SUMMARY = "make a laboratory of a topology file"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="the topology (YAML)")
    parser.add_argument("--no-check", action="store_true", help="do not ask every node whether it reaches all others")


def run(options: argparse.Namespace) -> int:
    import dataclasses
    import time
    from pathlib import Path

    from sampan.lab import keeper
    from sampan.lab.errors import TopologyError
    from sampan.lab.fields import Fields
    from sampan.lab.reading import load

    begun = time.perf_counter()
    topology = load(options.file)
    if options.name:
        fields = Fields()
        topology = dataclasses.replace(topology, name=fields.name(options.name, "--name"))
        if fields.problems:
            raise TopologyError(fields.problems)
    chosen = keeper.Options(topology.name, not options.no_check, cwd=str(Path.cwd()))
    said = keeper.fork(topology, chosen)
    took = time.perf_counter() - begun
    counted = f"{said['nodes']} nodes, {said['links']} links"
    checked = "not checked" if options.no_check else f"all pairs as planned ({said['checked']} echoes)"
    print(f"laboratory {said['name']} is up: {counted}, {checked}, in {took:.2f} s, keeper {said['pid']}")
    return 0
