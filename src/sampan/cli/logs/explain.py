"""``sampan logs explain``: which rule joined which lines of a file, why each record ended, and what was learned."""

from __future__ import annotations

import argparse
import re
import sys

SUMMARY = "show which rule joined which lines, why records ended, and what was learned, as a rule"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a log file, also with .gz, or - for stdin")
    parser.add_argument(
        "--format", choices=("cri", "docker", "plain"), default="", help="(default: found by its lines)"
    )
    parser.add_argument("--all", action="store_true", help="show records of one line too")


def run(options: argparse.Namespace) -> int:
    from sampan.logs.assembling import single
    from sampan.logs.joining.explaining import Explaining, explanation
    from sampan.logs.reading.stream import open_stream

    joiners: list[Explaining] = []

    def make() -> Explaining:
        joiners.append(Explaining())
        return joiners[-1]

    file = open_stream(options.file, options.format, make)
    counts: dict[str, int] = {}
    try:
        ended = False
        while not ended:
            records = file.read()
            ended = records is None
            taken = dict.fromkeys(file.assembler.joiners, 0)
            for stream, record in single(file.finish() if records is None else records):
                joiner = file.assembler.joiners[stream]
                assert isinstance(joiner, Explaining)
                reasons = joiner.explained[taken[stream]] if stream in taken else []
                taken[stream] = taken.get(stream, 0) + 1
                counts[record.rule] = counts.get(record.rule, 0) + 1
                if options.all or record.lines > 1 or record.id:
                    where = f"{stream.decode()}: " if stream else ""
                    sys.stdout.write(f"{where}{explanation(record, reasons)}\n\n")
            for joiner in joiners:
                joiner.explained.clear()
    finally:
        file.close()
    sys.stdout.write(summary(file.format, counts))
    for stream, each in file.assembler.joiners.items():
        if isinstance(each, Explaining) and each.learned:
            sys.stdout.write(learned(stream, each.learned))
    return 0


def summary(format: str, counts: dict[str, int]) -> str:
    parts = [f"{count} by {rule}" for rule, count in sorted(counts.items()) if rule]
    of = f", {', '.join(parts)}" if parts else ""
    return f"format {format or 'unknown'}; records: {counts.get('', 0)} of one line{of}\n"


def learned(stream: bytes, pattern: bytes) -> str:
    """Return what was learned of a stream as a rule for ``--rules``."""
    name = f"learned{'-' + stream.decode() if stream else ''}"
    quoted = re.sub("'", "''", pattern.decode("utf-8", "replace"))
    return f"rules:\n- name: {name}\n  multiline: {{type: pattern, pattern: '^{quoted}', negate: true, match: after}}\n"
