"""``sampan logs show``: the records of pods, of any Kubernetes, or of files; followed, chosen, searched."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from sampan.cli import reaching

if TYPE_CHECKING:
    from sampan.logs.looking.containers import Choice
    from sampan.logs.looking.showing import Showing
    from sampan.logs.looking.wanted import Wanted

SUMMARY = "show the records of many pods, traces whole: follow them, choose by label, level, time and field, search"
MANY = 500
"""Containers that are read at once."""
TAIL = 100


def arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("pods", nargs="*", metavar="POD", help="pods, as NAME or NAMESPACE/NAME (default: all that are chosen)")
    reaching.arguments(parser)
    add("-A", "--all-namespaces", action="store_true", help="pods of all namespaces")
    add("-l", "--selector", default="", metavar="SELECTOR", help="pods with these labels")
    add("-c", "--container", default="", metavar="NAME", help="containers of this name only")
    add("-p", "--previous", action="store_true", help="what the instance before the last restart wrote")
    add("-f", "--follow", action="store_true", help="go on with what comes, of pods that come too")
    add("--tail", type=int, default=None, metavar="N", help=f"lines of each (default: {TAIL}, of one pod all; -1: all)")
    add("--path", action="append", metavar="PATH", help="show files instead: folders, patterns, rotated and .gz too")
    add("--since", default="", metavar="TIME", help="from a time on: 90s, 15m, 6h, 2d ago, or a time of RFC 3339")
    add("--until", default="", metavar="TIME", help="up to a time, said like --since")
    add(
        "--level", default="", metavar="LEVEL", help="records that are so bad at least: debug, info, warn, error, fatal"
    )
    add("--grep", action="append", default=[], metavar="PATTERN", help="records that have this (RE2); may be repeated")
    add("--field", action="append", default=[], metavar="NAME=VALUE", help="records with such a field (JSON, logfmt …)")
    add("--where", default="", metavar="EXPRESSION", help="an expression of CEL: attributes.status >= 500")
    add("-o", "--output", choices=("text", "json"), default="text", help="(default: %(default)s)")
    add("--timestamps", action="store_true", help="show each record's time")
    add("--color", choices=("auto", "always", "never"), default="auto", help="(default: on a terminal)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.looking.wanted import Asked, Wanted, pairs
    from sampan.logs.outputs.options import OptionError

    check(options)
    try:
        asked = Asked(
            options.level,
            tuple(options.grep),
            pairs(options.field, "--field"),
            options.where,
            moment(options.since, "--since"),
            moment(options.until, "--until"),
        )
        wanted = Wanted(asked)
    except OptionError as error:
        raise ClusterError(str(error)) from error
    try:
        if options.path:
            return show_files(options, wanted, asked.since)
        with contextlib.suppress(KeyboardInterrupt):
            return asyncio.run(show_pods(options, wanted, asked.since))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # who read has seen enough
    return 0


def check(options: argparse.Namespace) -> None:
    """Raises ``ClusterError`` for options that do not go together."""
    from sampan.cluster.lifecycle import ClusterError

    def refuse(why: str, hint: str = "") -> None:
        raise ClusterError(why, hint)

    if options.path:
        of_pods = {
            "a pod": options.pods, "-l": options.selector, "-A": options.all_namespaces, "-c": options.container,
            "--previous": options.previous, "--tail": options.tail is not None, "--kubeconfig": options.kubeconfig,
        }  # fmt: skip
        for name, given in of_pods.items():
            if given:
                refuse(f"{name} is of pods, --path is of files", "patterns choose files: --path '/var/log/pods/shop_*'")
        if options.follow:
            refuse("files are not followed here", "`sampan logs agent --path PATH --output text:-` follows them")
    if options.previous and options.follow:
        refuse("nothing more comes of an instance that has ended: -p without -f")
    if options.tail is not None and options.tail < -1:
        refuse("--tail is a number of lines, or -1 for all")
    if options.pods and options.all_namespaces:
        refuse("pods are named, so -A has nothing to say", "NAMESPACE/NAME names a pod anywhere")


def moment(text: str, option: str) -> int:
    """Return a time as nanoseconds since 1970, 0 for none. Raises ``OptionError``."""
    from sampan.logs.outputs.options import OptionError
    from sampan.logs.timestamps import NANO, rfc3339

    if not text:
        return 0
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(text[-1])
    if seconds and text[:-1].isdecimal():
        return time.time_ns() - int(text[:-1]) * seconds * NANO
    found = rfc3339(text.encode())
    if not found:
        raise OptionError(option, f"15m, 6h, 2d or a time such as 2026-11-30T10:00:00Z is wanted, not {text!r}")
    return found


def showing(options: argparse.Namespace, *, prefix: bool) -> Showing:
    from sampan.logs.looking.showing import Showing

    colour = options.color == "always" or (
        options.color == "auto" and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    )
    out = sys.stdout.buffer
    return Showing(out.write, as_json=options.output == "json", colour=colour, prefix=prefix, times=options.timestamps)


def show_files(options: argparse.Namespace, wanted: Wanted, since: int) -> int:
    from sampan.logs.looking.files import records

    shown, count = showing(options, prefix=True), 0
    for labels, record in records(options.path, since):
        found = wanted.found(labels, record)
        if found is not None:
            shown.show(found)
            count += 1
    sys.stdout.buffer.flush()
    return 0 if count else 1


async def show_pods(options: argparse.Namespace, wanted: Wanted, since: int) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.joining import Record
    from sampan.logs.log_record import Labels
    from sampan.logs.looking.containers import Containers

    count = 0
    async with reaching.api(options) as client:
        containers = Containers(client, choice_of(options, since))
        chosen = await containers.chosen()
        missing = {pod.rpartition("/")[2] for pod in options.pods} - {instance.pod for instance in chosen}
        if missing and not options.follow:
            hint = f"`{reaching.kubectl(options)} get pods`"
            raise ClusterError(f"no container of {', '.join(sorted(missing))} has begun", hint)
        if len(chosen) > MANY:
            raise ClusterError(
                f"these are {len(chosen)} containers, {MANY} are read at once", "choose by -n, -l or names"
            )
        shown = showing(options, prefix=options.follow or len(chosen) > 1)

        def show(labels: Labels, record: Record) -> None:
            nonlocal count
            found = wanted.found(labels, record)
            if found is not None:
                count += 1
                shown.show(found)

        unread = asyncio.Event()

        def show_at_once(labels: Labels, record: Record) -> None:
            """Of a task or a timer: an error of theirs would end neither the others nor us."""
            try:
                show(labels, record)
                sys.stdout.buffer.flush()
            except BrokenPipeError:
                unread.set()

        if options.follow:
            await until_stopped(containers.follow(show_at_once), unread)
        else:
            await containers.show(chosen, show)
    sys.stdout.buffer.flush()
    return 0 if count or options.follow else 1


def choice_of(options: argparse.Namespace, since: int) -> Choice:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.looking.containers import Choice

    keys = [reaching.pod_key(pod, options.namespace) for pod in options.pods]
    namespaces = {key.partition("/")[0] for key in keys} or {options.namespace}
    if len(namespaces) > 1:
        raise ClusterError("these pods are of several namespaces", "-A with -l chooses among all")
    tail = options.tail
    if tail is None:
        tail = -1 if len(keys) == 1 or since else TAIL
    return Choice(
        None if options.all_namespaces else namespaces.pop(),
        frozenset(key.partition("/")[2] for key in keys),
        options.selector,
        options.container,
        None if tail == -1 else tail,
        since,
        options.previous,
    )


async def until_stopped(work: Coroutine[object, object, None], unread: asyncio.Event) -> None:
    """Follow until a signal, or until nobody reads any more what is shown. Raises what the work does."""
    task = asyncio.create_task(work, name="logs")
    reader = asyncio.create_task(unread.wait(), name="reader")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await asyncio.wait({task, reader}, return_when=asyncio.FIRST_COMPLETED)
    reader.cancel()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
