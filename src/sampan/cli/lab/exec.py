"""``sampan lab exec``: a program in a node, on this terminal."""

from __future__ import annotations

import argparse
import os
import signal

SUMMARY = "run a program in a node (a bridge's name: where the bridges are)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("node")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the program and its arguments (default: $SHELL)")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.lab.choosing import name_of
    from sampan.lab.calls import call
    from sampan.lab.programs import become, enter, exit_code

    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    answer, descriptors = call(name_of(options), {"ask": "enter", "node": options.node})
    cwd = os.getcwd()  # noqa: PTH109
    enter(descriptors)
    pid = os.fork()
    if pid == 0:
        become(command or [os.environ.get("SHELL", "/bin/sh")], {**os.environ, **answer["env"]}, cwd)
    # what the terminal sends goes to the program, too
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    _, status = os.waitpid(pid, 0)
    return exit_code(status)
