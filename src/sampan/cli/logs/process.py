"""``sampan logs process``: what a configuration makes of the records of a file or of stdin, without an agent."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.logs.joining import Record
    from sampan.logs.processing.pipeline import Pipeline

SUMMARY = (
    "try a configuration: show what its steps make of a file's records, and what becomes of those that go no further"
)


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("file", metavar="FILE", nargs="?", default="-", help="a log file, also with .gz, or - for stdin (the default)")
    add("--config", metavar="FILE", required=True, help="the agent's configuration")
    add("--format", choices=("cri", "docker", "plain"), default="", help="(default: found by its lines)")
    add("--before", action="store_true", help="show each record as it was, too")
    add(
        "--label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="what is known of the stream: namespace, pod, container, labels.NAME …; may be repeated",
    )
    add(
        "--annotation",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an annotation of the pod (logs.sampan.dev/…); may be repeated",
    )


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.configuration import read_configuration
    from sampan.logs.pod_paths import of_path
    from sampan.logs.processing import wishes
    from sampan.logs.reading.encodings import encoding_for
    from sampan.logs.reading.stream import records_of
    from sampan.logs.rules.file import joiner_for

    try:
        configuration = read_configuration(Path(options.config))
        if configuration.outputs is not None:
            configuration.pipeline.check_outputs(str(one.get("name")) for one in configuration.outputs if one)
    except ValueError as error:
        raise ClusterError(f"{options.config}: {error}") from error
    path = options.file if options.file == "-" else str(Path(options.file).absolute())
    known = {"file": path, **of_path(path), **pairs(options.label, "--label")}
    wanted = wishes.of_container(pairs(options.annotation, "--annotation"), known.get("container", ""))
    shown = Shown(configuration.pipeline, known, wanted, before=options.before)
    encoding = encoding_for(configuration.encodings)(path)
    make_joiner = joiner_for(configuration.rules, path, cut_at=configuration.pipeline.cut_at)
    for stream, record in records_of(options.file, options.format, make_joiner, encoding):
        shown.show(stream, record)
    sys.stdout.buffer.flush()
    sys.stderr.write(shown.summary())
    return 0


def pairs(given: list[str], option: str) -> dict[str, str]:
    from sampan.cluster.lifecycle import ClusterError

    found = [each.partition("=") for each in given]
    for name, equal, _ in found:
        if not equal or not name:
            raise ClusterError(f"{option} {name}: NAME=VALUE is wanted")
    return {name: value for name, _, value in found}


class Shown:
    """Records through the steps, onto stdout: a line of JSON each; what goes no further begins with ``-`` and its reason."""

    def __init__(self, pipeline: Pipeline, known: dict[str, str], wanted: dict[str, str], *, before: bool) -> None:
        from sampan.logs.account import Account
        from sampan.logs.log_record import Labels

        self._pipeline, self._before = pipeline, before
        self._labels = {
            stream: Labels({**known, **({"stream": stream.decode()} if stream else {})}, wanted)
            for stream in (b"", b"stdout", b"stderr")
        }
        self._account = Account()
        self._records = 0

    def show(self, stream: bytes, record: Record) -> None:
        from sampan.logs.outputs.output import json_line

        labels, out = self._labels[stream], sys.stdout.buffer
        if self._before:
            out.write(b"< " + record.text.replace(b"\n", b"\n< ") + b"\n")
        before = dict(self._account.dropped)
        found = self._pipeline.process(labels, [record], time.time_ns(), self._account)
        self._records += 1
        for delivery in found:
            fields = delivery[3]
            where = b""
            if fields is not None and fields.outputs is not None:
                where = ("[" + ", ".join(sorted(fields.outputs)) + "] ").encode()
            out.write((b"> " if self._before else b"") + where + json_line(delivery))
        if not found:
            reason = next(name for name, count in self._account.dropped.items() if count != before.get(name, 0))
            out.write(b"- " + reason.encode() + b"\n")

    def summary(self) -> str:
        """Return what was counted."""
        lines = [f"{self._records} records"]
        lines += [f"{count} {reason}" for reason, count in sorted(self._account.dropped.items())]
        for step in self._pipeline.steps:
            counts = ", ".join(f"{word} {count}" for word, count in sorted(step.tally.items()))
            lines.append(f"{step.field} {step.kind}: {counts or '-'}")
        return "\n".join(lines) + "\n"
