"""``sampan envtest``: programs for controller-runtime's envtest, and the variables under which it finds them."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

SUMMARY = "stand in for envtest's binaries: print KUBEBUILDER_ASSETS, or run a command with it"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubernetes-version", metavar="1.N", default="1.37", help="1.25 to 1.37 (default: 1.37)")
    parser.add_argument("--dir", metavar="DIR", type=Path, help="where to put the programs (default: the user's cache)")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, help="what to run with the variables set, e.g. -- go test ./..."
    )


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.schema.types import UnknownVersion, type_system
    from sampan.testing import envtest

    try:
        type_system(options.kubernetes_version)
    except UnknownVersion as error:
        raise ClusterError(str(error)) from error
    variables = envtest.environment(envtest.assets(options.kubernetes_version, options.dir))
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if command:
        sys.stdout.flush()
        try:
            os.execvpe(command[0], command, {**os.environ, **variables})
        except OSError as error:
            raise ClusterError(f"{command[0]}: {error.strerror}") from error
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0
