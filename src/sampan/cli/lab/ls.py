"""``sampan lab ls``: the laboratories that run."""

from __future__ import annotations

import argparse

SUMMARY = "list laboratories"
NAMES_ITSELF = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults()


def run(options: argparse.Namespace) -> int:
    from sampan.lab.address import running
    from sampan.lab.calls import call
    from sampan.lab.errors import LabError

    print(f"{'NAME':24} {'NODES':>5} {'LINKS':>5} {'FAULTS':>6} {'KEEPER':>8} {'SINCE':>8}  FILE")
    for name in running():
        try:
            status, _ = call(name, {"ask": "status"})
        except LabError as error:
            print(f"{name:24} {error}")
            continue
        counted = f"{len(status['nodes']):>5} {len(status['links']):>5} {len(status['faults']):>6}"
        print(f"{name:24} {counted} {status['pid']:>8} {status['seconds']:>7.0f}s  {status['source']}")
    return 0
