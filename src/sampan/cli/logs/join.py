"""``sampan logs join``: a file's lines, or stdin's, as records."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.logs.assembling import Joins

SUMMARY = "print the records of a file or of stdin, each as one line of JSON (or as text)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a log file, also with .gz, or - for stdin")
    parser.add_argument(
        "--format", choices=("cri", "docker", "plain"), default="", help="(default: found by its lines)"
    )
    parser.add_argument("--rules", metavar="FILE", help="rules: ours, Fluent Bit's or Filebeat's")
    parser.add_argument("--rule", default="", metavar="NAME", help="the one of them (default: the first for the file)")
    parser.add_argument(
        "--text", action="store_true", help="print text, a record's lines but the first with two spaces before them"
    )


def joiner_of(rules: str | None, path: str, name: str) -> Callable[[], Joins]:
    """Return what makes the joiners of a file. Raises ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.joining import Joiner
    from sampan.logs.rules.file import joiner_for, read_rules
    from sampan.logs.rules.rule import RuleError

    if rules is None:
        if name:
            raise ClusterError("--rule names a rule of --rules FILE, and there is no such file given")
        return Joiner
    try:
        known = read_rules(Path(rules))
    except RuleError as error:
        raise ClusterError(f"{rules}: {error}") from error
    if name and name not in (rule.name for rule in known):
        there = ", ".join(rule.name for rule in known) or "none"
        raise ClusterError(f"{rules} has no rule {name!r}", f"there is {there}")
    return joiner_for(known, path, name)


def run(options: argparse.Namespace) -> int:
    from sampan.logs.log_record import Labels
    from sampan.logs.outputs.output import json_line
    from sampan.logs.reading.stream import records_of

    make = joiner_of(options.rules, options.file, options.rule)
    labels = {stream: Labels({"stream": stream.decode()} if stream else {}) for stream in (b"", b"stdout", b"stderr")}
    for stream, record in records_of(options.file, options.format, make):
        if options.text:
            line = record.text.replace(b"\n", b"\n  ") + b"\n"
        else:
            line = json_line((labels[stream], record, 0, None))
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return 0
