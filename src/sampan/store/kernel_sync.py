"""``fdatasync`` that the kernel does beside us, without a thread of ours: Linux's asynchronous I/O (io_submit(2)).

A thread that syncs must take Python's interpreter lock back from a busy loop before it can say that it is done, and each such
hand-over costs both some 0.1 ms, which is as much as a quick disk takes. Here the loop hands the file to the kernel and is
woken by an eventfd. Where there is no such call (another system, a sandbox that forbids it) ``open`` returns None; where the
kernel will not do it for this file after all, or in a process that was forked, ``sync`` raises ``NotTaken``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
import sys
from typing import Any

CALLS = {"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)}
"""Numbers of io_setup, io_destroy, io_submit and io_getevents (asm/unistd.h)."""
FDSYNC = 3
"""``IOCB_CMD_FDSYNC`` (linux/aio_abi.h); Linux 4.18."""
RESULT_TO_EVENTFD = 1


class NotTaken(Exception):
    """The kernel does not do it: nothing was synced, and nothing has failed. Somebody else is to sync."""


class KernelSync:
    """Syncs one file, one time after the other."""

    def __init__(self, fd: int, calls: tuple[int, int, int, int]) -> None:
        import ctypes  # only servers with a disk need it

        class Iocb(ctypes.Structure):
            _fields_ = (
                ("data", ctypes.c_uint64), ("key", ctypes.c_uint32), ("rw_flags", ctypes.c_int32),
                ("opcode", ctypes.c_uint16), ("priority", ctypes.c_int16), ("fd", ctypes.c_uint32),
                ("buffer", ctypes.c_uint64), ("bytes", ctypes.c_uint64), ("offset", ctypes.c_int64),
                ("reserved", ctypes.c_uint64), ("flags", ctypes.c_uint32), ("eventfd", ctypes.c_uint32),
            )  # fmt: skip

        class Event(ctypes.Structure):
            _fields_ = (("data", ctypes.c_uint64), ("iocb", ctypes.c_uint64), ("result", ctypes.c_int64),
                        ("more", ctypes.c_int64))  # fmt: skip

        self._call: Any = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        self._errno = ctypes.get_errno
        setup, self._destroy, self._submit, self._get = (ctypes.c_long(number) for number in calls)
        self._context = ctypes.c_ulong(0)
        if self._call(setup, ctypes.c_long(1), ctypes.byref(self._context)) != 0:
            raise OSError(self._errno(), "io_setup")
        self._one, self._none, self._events = ctypes.c_long(1), ctypes.c_long(0), (Event * 1)()
        self._eventfd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._iocb = Iocb(opcode=FDSYNC, fd=fd, flags=RESULT_TO_EVENTFD, eventfd=self._eventfd)
        self._iocbs = (ctypes.POINTER(Iocb) * 1)(ctypes.pointer(self._iocb))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._done: asyncio.Future[None] | None = None

    @classmethod
    def open(cls, fd: int) -> KernelSync | None:
        """Return what syncs a file, None where the kernel does not."""
        calls = CALLS.get(platform.machine())
        if sys.platform != "linux" or sys.maxsize < 2**32 or calls is None:
            return None
        try:
            return cls(fd, calls)
        except OSError:
            return None

    async def sync(self) -> None:
        """Return when what was written to the file is on disk. Raises ``OSError`` where the disk fails, and ``NotTaken``."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            loop.add_reader(self._eventfd, self._ended)
        while self._done is not None and not self._done.done():  # one whose caller was cancelled
            await asyncio.wait([self._done])
        self.submit()
        self._done = loop.create_future()
        await asyncio.shield(self._done)

    def submit(self) -> None:
        """Hand the file to the kernel. Raises ``NotTaken``."""
        if self._call(self._submit, self._context, self._one, self._iocbs) != 1:
            raise NotTaken(f"io_submit: {os.strerror(self._errno())}")

    def _ended(self) -> None:
        os.eventfd_read(self._eventfd)
        while self._call(self._get, self._context, self._one, self._one, self._events, None) != 1:
            if self._errno() != errno.EINTR:
                self._events[0].result = -self._errno()
                break
        result, done = int(self._events[0].result), self._done
        if done is None or done.done():
            return
        if result < 0:
            done.set_exception(OSError(-result, os.strerror(-result)))
        else:
            done.set_result(None)

    def close(self) -> None:
        if os.getpid() != self._pid:  # the loop and the kernel's queue are the parent's: only the descriptor is ours
            os.close(self._eventfd)
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._eventfd)
        self._call(self._destroy, self._context)  # waits for what is under way
        os.close(self._eventfd)
