"""``sampan``: finds the verb's file and runs it. Verbs are imported when they are called, so that ``--help`` is quick.

A verb is a module of this room with ``SUMMARY``, ``arguments(parser)`` and ``run(options) -> int``. Adding one touches its
file and the list below.
"""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

VERBS = (
    "up", "down", "ls", "status", "doctor", "kubectl", "image", "logs", "store", "snapshot", "envtest", "security", "oci",
    "scheduler", "dns", "gateway", "lab", "net",
)  # fmt: skip
PASSED_THROUGH = ("kubectl", "logs")
"""Verbs that look at their arguments themselves: those of another program, a word or a verb."""
SYSTEM_DIRECTORIES = "/usr/sbin:/sbin"
"""Where Debian has nft, ip and runc: a shell that ``su`` opened does not look there."""
HINTS = {
    errno.ENOSPC: "the disk is full: free some space, then run the same command again; nothing is lost",
    errno.EDQUOT: "the disk quota is used up: free some space, then run the same command again; nothing is lost",
    errno.EACCES: "run it as the user who made the cluster (root for real pods: `sudo sampan ...`)",
    errno.EPERM: "run it as the user who made the cluster (root for real pods: `sudo sampan ...`)",
    errno.EROFS: "the filesystem is read-only",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{SYSTEM_DIRECTORIES}"
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] == "--version":
        from sampan import __version__

        print(f"sampan {__version__}")
        return 0
    verb, rest = words[0], words[1:]
    if verb not in VERBS:
        print(f"sampan: no such command: {verb}; there are {', '.join(VERBS)}", file=sys.stderr)
        return 2
    if verb != "up":
        return dispatch(verb, rest)
    from sampan.cluster import supervisor_process

    supervisor_process.begin()
    try:
        return dispatch(verb, rest)
    finally:
        supervisor_process.dismiss()


def dispatch(verb: str, rest: list[str]) -> int:
    """Import a verb and run it; return its exit code."""
    module = importlib.import_module(f"sampan.cli.{verb}")
    if verb in PASSED_THROUGH:
        code: int = module.run_words(rest)
        return code
    import argparse

    parser = argparse.ArgumentParser(prog=f"sampan {verb}", description=module.SUMMARY)
    module.arguments(parser)
    return run_verb(module.run, parser.parse_args(rest))


def run_verb(run: object, options: argparse.Namespace) -> int:
    """Run a verb; an error of the cluster is one line and a hint."""
    assert callable(run)
    try:
        return int(run(options))
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        print(f"sampan: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        if hint := HINTS.get(error.errno or 0):
            print(f"  hint: {hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # not imported here: verbs that know no cluster start quicker without
        lifecycle = sys.modules.get("sampan.cluster.lifecycle")
        if lifecycle is None or not isinstance(error, lifecycle.ClusterError):
            raise
        print(f"sampan: {error}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return 1


def usage() -> str:
    lines = ["usage: sampan COMMAND [OPTION ...]", "", "A Kubernetes-compatible cluster on this machine.", ""]
    for verb in VERBS:
        lines.append(f"  {verb:9} {importlib.import_module(f'sampan.cli.{verb}').SUMMARY}")
    return "\n".join([*lines, "", "`sampan COMMAND --help` shows a command's options."])


if __name__ == "__main__":
    sys.exit(main())
