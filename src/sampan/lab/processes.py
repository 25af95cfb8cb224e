"""The processes of a node: those in its network namespace, as the laboratory's own /proc shows them."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path


def of_namespace(netns: int) -> list[int]:
    """Return the processes in a network namespace (its descriptor), but not this one and none that has ended."""
    wanted = os.fstat(netns)
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):  # it ended, or is not ours to look at
                status = (entry / "ns/net").stat()
                if (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino):
                    found.append(int(entry.name))
    return found


def signal_all(netns: int, number: int) -> None:
    """Send a signal to all, and to those that were forked meanwhile."""
    done: set[int] = set()
    while new := set(of_namespace(netns)) - done:
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        done |= new


def kill_all(netns: int) -> None:
    """End all; returns when none runs any more."""
    while running := of_namespace(netns):
        for pid in running:
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(pid)
                try:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                    select.select([descriptor], [], [], 5)
                finally:
                    os.close(descriptor)
