"""``sampan lab graph``: a picture of a laboratory, with its faults."""

from __future__ import annotations

import argparse

SUMMARY = "draw a laboratory: text for the terminal, SVG for a file"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="?", help="a topology that need not run")
    parser.add_argument("--svg", metavar="FILE", help="write an SVG picture ('-': standard output)")


def run(options: argparse.Namespace) -> int:
    import sys
    from pathlib import Path

    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call

    form = "svg" if options.svg else "text"
    if options.file:
        from sampan.lab import graph
        from sampan.lab.planning import plan
        from sampan.lab.reading import load

        planned = plan(load(options.file))
        text = graph.svg(planned) if options.svg else graph.text(planned)
    else:
        text = str(call(name_of(options), {"ask": "graph", "form": form})[0]["text"])
    if options.svg and options.svg != "-":
        Path(options.svg).write_text(text)
        print(f"{options.svg}: {len(text)} bytes")
    else:
        sys.stdout.write(text)
    return 0
