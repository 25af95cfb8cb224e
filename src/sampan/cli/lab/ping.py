"""``sampan lab ping``: does one node reach another; without names: does everyone reach whom they must?"""

from __future__ import annotations

import argparse
import sys

from sampan.cli.numbers import whole

COUNT_MAX = 65536
"""The sequence number of an echo has 16 bits (RFC 792)."""
SUMMARY = "ask all pairs, or one node another, by ICMP"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", help="the node that asks")
    parser.add_argument("target", nargs="?", help="the node that is asked")
    most = f"echoes, at most {COUNT_MAX} (default: %(default)s)"
    parser.add_argument("-c", "--count", type=lambda text: whole(text, COUNT_MAX), default=3, help=most)


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call
    from sampan.lab.errors import LabError

    name = name_of(options)
    if options.source is None:
        answer, _ = call(name, {"ask": "check"})
        if answer["well"]:
            print(f"all as planned: {answer['checked']} echoes, every node to every address")
            return 0
        print("\n".join(answer["lines"]), file=sys.stderr)
        return 1
    if options.target is None:
        raise LabError("whom shall it ask?", "sampan lab ping SOURCE TARGET, or no name for all pairs")
    message = {"ask": "ping", "source": options.source, "target": options.target, "count": options.count}
    answer, _ = call(name, message)
    failed = not answer["targets"]
    for target in answer["targets"]:
        times = [time for time in target["answers"] if time is not None]
        failed = failed or not times
        said = f"{len(times)}/{options.count} answered"
        if times:
            said += f", {min(times):.3f}/{sum(times) / len(times):.3f}/{max(times):.3f} ms"
        planned = "" if target["expected"] else "  (the plan has no way)"
        print(f"{options.source} → {target['address']}: {said}  by {' → '.join(target['path'])}{planned}")
    return 1 if failed else 0
