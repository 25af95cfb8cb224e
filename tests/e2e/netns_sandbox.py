"""Network namespaces for tests, each held by a child process that the test ends by its pid."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip", "nft"))),
    reason="needs root, and unshare, nsenter, ip and nft",
)


def setns(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


class Namespaces:
    """Makes namespaces (``new``) and runs programs in them; all ends with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def new(self) -> str:
        """Return the path of a new network namespace."""
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 900"], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.stdout.close()
        self.stack.callback(_end, holder)
        return f"/proc/{holder.pid}/ns/net"

    def run(self, netns: str, *command: str, check: bool = True, text: str = "") -> str:
        argv = ["nsenter", f"--net={netns}", *command]
        done = subprocess.run(argv, capture_output=True, text=True, input=text, timeout=120)
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stderr or done.stdout}")
        return done.stdout

    def start(self, netns: str, *command: str) -> subprocess.Popen[str]:
        """Start a program that prints a line when it serves; it is ended with the stack."""
        words = ["nsenter", f"--net={netns}", *command]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.stack.callback(_end, process)
        assert process.stdout is not None
        process.stdout.readline()
        return process


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(60)


@contextmanager
def namespaces() -> Iterator[Namespaces]:
    with ExitStack() as stack:
        yield Namespaces(stack)


def within(netns: str, work: Callable[[], None]) -> None:
    """Run a function in a forked child that lives in a namespace; its exception fails the test."""
    import traceback

    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            setns(netns)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the work in the namespace failed (see the output above)"


def leftovers(before: set[str]) -> set[str]:
    """Return the host's links that were not there before."""
    return {path.name for path in Path("/sys/class/net").iterdir()} - before
