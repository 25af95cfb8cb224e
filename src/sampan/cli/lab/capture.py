"""``sampan lab capture``: what passes links, as pcapng."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import BinaryIO

from sampan.cli.numbers import positive, whole

SUMMARY = "write what passes links to a pcapng file (tcpdump, tshark, Wireshark read it)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("links", nargs="+", metavar="LINK[@END]", help="links; END is the node or bridge that listens")
    parser.add_argument("-w", "--write", metavar="FILE", required=True, help="the file ('-': standard output)")
    parser.add_argument("-c", "--count", type=whole, metavar="N", help="end after so many packets")
    parser.add_argument("--seconds", type=positive, metavar="S", help="end after so many seconds (default: Ctrl-C)")


def opened(path: str) -> BinaryIO:
    return sys.stdout.buffer if path == "-" else Path(path).open("wb")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.capture import Capture

    name = name_of(options)
    capture = Capture(name, options.links, lambda: opened(options.write))
    with capture.output:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: capture.stop())
        ends = ", ".join(f"{end['link']} at {end['end']}" for end in capture.ends)
        print(f"capturing {ends}", file=sys.stderr, flush=True)
        capture.run(options.seconds, options.count)
    for seen in capture.seen:
        lost = f", {seen.dropped} dropped" if seen.dropped else ""
        print(f"{seen.link} at {seen.end}: {seen.packets} packets{lost}", file=sys.stderr)
    return 0
