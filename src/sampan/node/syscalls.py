"""Which system calls a container makes: a seccomp profile that asks us about each, and lets it pass.

A profile of the OCI runtime may name a ``listenerPath``: the runtime then sends the filter's notification descriptor there
when it starts the container (``SCMP_ACT_NOTIFY``). Every call waits for our word, which is always "go on", so the container
runs as it would, slower; what it calls is what we count. The runtime cannot ask about ``write``, which it needs to send the
descriptor itself. libseccomp, which runc brings, knows the names.
Source: seccomp_unotify(2), OCI runtime specification (linux.seccomp).
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import fcntl
import os
import platform
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from sampan.schema.objects import Object

RECEIVE, SEND = 0xC0502100, 0xC0182101
"""ioctl: SECCOMP_IOCTL_NOTIF_RECV and _SEND."""
NOTIFICATION = struct.Struct("=QIIiIQ6Q")
"""id, pid, flags, number, architecture, instruction pointer, arguments."""
ANSWER = struct.Struct("=QqiI")
"""id, value, error, flags."""
CONTINUE = 1
HIGHEST_NUMBER = 512
ALWAYS = ("write", "exit", "exit_group", "rt_sigreturn", "restart_syscall", "futex")
"""What is not asked about, or happens at odd moments only."""
ARCHITECTURES = {"x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "aarch64": ["SCMP_ARCH_AARCH64"]}


class NoSeccomp(Exception):
    """libseccomp is not here; the message says so."""


class Names:
    """The system calls of this machine: number ↔ name."""

    def __init__(self) -> None:
        found = ctypes.util.find_library("seccomp") or "libseccomp.so.2"
        try:
            library = ctypes.CDLL(found)
        except OSError as error:
            raise NoSeccomp("libseccomp is not installed (apt-get install libseccomp2)") from error
        resolve = library.seccomp_syscall_resolve_num_arch
        resolve.restype, resolve.argtypes = ctypes.c_void_p, [ctypes.c_uint32, ctypes.c_int]
        library.seccomp_arch_native.restype = ctypes.c_uint32
        native, free = library.seccomp_arch_native(), ctypes.CDLL(None).free
        free.argtypes = [ctypes.c_void_p]
        self.by_number: dict[int, str] = {}
        for number in range(HIGHEST_NUMBER):
            pointer = resolve(native, number)
            if pointer:
                self.by_number[number] = ctypes.string_at(pointer).decode()
                free(pointer)


def watching_profile(names: Iterable[str], listener: Path) -> Object:
    """Return the profile that has every call told to the listener, and forbids none."""
    asked = sorted(set(names) - {"write"})
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ARCHITECTURES.get(platform.machine(), [])[:1],
        "listenerPath": str(listener),
        "syscalls": [{"names": asked, "action": "SCMP_ACT_NOTIFY"}],
    }


def profile_of(calls: Iterable[str]) -> Object:
    """Return the profile that allows these calls and no other (EPERM)."""
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ARCHITECTURES.get(platform.machine(), []),
        "syscalls": [{"names": sorted({*calls, *ALWAYS}), "action": "SCMP_ACT_ALLOW"}],
    }


class Recorder:
    """Records the calls of every container that is started with the profile, while it is entered."""

    def __init__(self, listener: Path) -> None:
        self.names = Names()
        self.seen: set[int] = set()
        self._path = listener
        self._filters: list[int] = []

    @property
    def calls(self) -> set[str]:
        return {self.names.by_number[number] for number in self.seen if number in self.names.by_number}

    @property
    def profile(self) -> Object:
        return watching_profile(self.names.by_number.values(), self._path)

    def __enter__(self) -> Recorder:
        self._path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self._path))
        self._socket.listen(16)
        asyncio.get_running_loop().add_reader(self._socket, self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        for descriptor in list(self._filters):
            self._forget(descriptor)

    def _accept(self) -> None:
        """Take the descriptor of a new filter: the runtime sends it with the container's state, at once."""
        connection, _ = self._socket.accept()
        with connection:
            connection.settimeout(5)
            _, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        for descriptor in descriptors[:1]:
            self._filters.append(descriptor)
            asyncio.get_running_loop().add_reader(descriptor, self._notified, descriptor)
        for other in descriptors[1:]:
            os.close(other)

    def _notified(self, descriptor: int) -> None:
        """Note one call, and let it go on."""
        told = bytearray(NOTIFICATION.size)
        try:
            fcntl.ioctl(descriptor, RECEIVE, told)
        except FileNotFoundError:  # its process was killed meanwhile
            return
        except OSError:
            self._forget(descriptor)
            return
        identity, _, _, number, *_ = NOTIFICATION.unpack(told)
        self.seen.add(number)
        try:
            fcntl.ioctl(descriptor, SEND, bytearray(ANSWER.pack(identity, 0, 0, CONTINUE)))
        except FileNotFoundError:
            return
        except OSError:
            self._forget(descriptor)

    def _forget(self, descriptor: int) -> None:
        if descriptor in self._filters:
            self._filters.remove(descriptor)
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
