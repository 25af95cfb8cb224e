"""``sampan logs join``: a file's lines, or stdin's, as records."""

from __future__ import annotations

import argparse
import sys

SUMMARY = "print the records of a file or of stdin, each as one line of JSON (or as text)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a log file, also with .gz, or - for stdin")
    parser.add_argument(
        "--format", choices=("cri", "docker", "plain"), default="", help="(default: found by its lines)"
    )
    parser.add_argument(
        "--text", action="store_true", help="print text, a record's lines but the first with two spaces before them"
    )


def run(options: argparse.Namespace) -> int:
    from sampan.logs.outputs.output import Delivery, Labels, json_line
    from sampan.logs.reading.stream import records_of

    labels = {stream: Labels({"stream": stream.decode()} if stream else {}) for stream in (b"", b"stdout", b"stderr")}
    for stream, record in records_of(options.file, options.format):
        if options.text:
            line = record.text.replace(b"\n", b"\n  ") + b"\n"
        else:
            line = json_line(Delivery(labels[stream], record))
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return 0
