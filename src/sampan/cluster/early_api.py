"""The process that becomes the API: a fork of the process that becomes the supervisor, from before either knows of which
cluster.

Half of what an API does until it serves is to import its modules. It does that while ``up`` reads its arguments, decides
the settings and makes keys; then the supervisor says which cluster it is, and it goes on as any part does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import socket
from collections.abc import Callable

from sampan.cluster import orders, part_process
from sampan.cluster.parts import API, api_part

TYPE_CHECKING = False  # see ``supervisor``
if TYPE_CHECKING:
    from typing import Any, NoReturn


class EarlyApi:
    """The process, which waits for ``begin`` or ``end``."""

    __slots__ = ("connection", "pid")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.connection = pid, connection

    def beginner(self, given: dict[str, Any], sockets: tuple[socket.socket, ...]) -> Callable[[str, int, int], int]:
        """Return what begins the part, as ``part_process.start`` does; ``given`` is what ``Settings`` are made of."""

        def begin(log: str, words: int, gate: int) -> int:
            with self.connection:
                descriptors = [words, gate, *(one.fileno() for one in sockets)]
                orders.send(self.connection, {"settings": given, "log": log}, descriptors)
            return self.pid

        return begin

    def end(self) -> None:
        """End the process: there is nothing to serve."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def fork(*not_its: socket.socket) -> EarlyApi:
    """Fork the process. ``not_its``: what it is to let go of."""
    ours, theirs = socket.socketpair()
    supervisor = os.getpid()
    pid = os.fork()
    if pid == 0:
        for one in (ours, *not_its):
            one.close()
        _live(supervisor, theirs)
    theirs.close()
    return EarlyApi(pid, ours)


def _live(supervisor: int, connection: socket.socket) -> NoReturn:
    try:
        part_process.die_with(supervisor)
        part_process.let_go_of_signals()
        gc.disable()  # nothing that is imported is ever garbage
        with contextlib.suppress(Exception):  # it is met again when the part runs, and told
            for module in (*part_process.IMPORTS, *API):
                importlib.import_module(module)
        received = orders.receive(connection)
        if received is None:
            os._exit(0)
        order, (words, gate, *sockets) = received
        connection.close()
        if order["settings"]["pods"] == "real":
            from sampan.cluster import namespaces

            namespaces.join(supervisor)
        part_process.leave_terminal()
        part = api_part(order["settings"], tuple(socket.socket(fileno=one) for one in sockets))
        part_process.live(part, order["log"], words, gate)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(70)
