"""Network namespaces of the bench's own, each held by a child process, and functions that run in one."""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Namespaces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def new(self) -> str:
        """Return the path of a new namespace, its loopback up."""
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec sleep 3600"]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._ends(holder)
        return f"/proc/{holder.pid}/ns/net"

    def run(self, netns: str, *command: str) -> str:
        """Return what a program printed in a namespace."""
        return subprocess.run(
            ["nsenter", f"--net={netns}", *command], check=True, capture_output=True, text=True
        ).stdout

    def start(self, netns: str, *command: str) -> None:
        """Start a program that prints a line when it serves."""
        self._ends(subprocess.Popen(["nsenter", f"--net={netns}", *command], stdout=subprocess.PIPE, text=True))

    def _ends(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        process.stdout.readline()
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)


def within(netns: str, work: Callable[[], T]) -> T:
    """Return what a function returns in a forked child that lives in a namespace."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            descriptor = os.open(netns, os.O_RDONLY)
            if _libc.setns(descriptor, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(work(), pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        told = pipe.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"{work.__name__} failed in its namespace")
    found: T = pickle.loads(told)
    return found
