"""``sampan lab apply``: a running laboratory becomes another by what differs."""

from __future__ import annotations

import argparse

SUMMARY = "change a running laboratory to a topology; what is the same in both is not touched"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="the topology (YAML)")
    parser.add_argument("--no-check", action="store_true", help="do not ask every node whether it reaches all others")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.address import running
    from sampan.lab.calls import call
    from sampan.lab.handle import topology_message
    from sampan.lab.reading import load

    name = options.name
    if not name and (declared := load(options.file).name) in running():
        name = declared
    message = {"ask": "apply", "check": not options.no_check, **topology_message(options.file)}
    answer, _ = call(name or name_of(options), message)
    for kind in ("added", "removed", "changed"):
        for thing in answer[kind]:
            print(f"{kind:8} {thing}")
    if not any(answer[kind] for kind in ("added", "removed", "changed")):
        print("nothing differs")
    if answer["faults"] and not options.no_check:
        print(f"not checked, because faults are in force: {'; '.join(answer['faults'])}")
    return 0
