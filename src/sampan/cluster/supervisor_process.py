"""The process that becomes a cluster's supervisor: a fork of ``up`` from before that has imported anything.

It lives as long as its cluster, and so would all that ``up`` needs for a moment. Meanwhile ``up`` reads its arguments and
decides the settings, this process imports what a supervisor needs, and waits. One socket is between both: an order with the
API's listening socket comes in, then a byte when keys and links are there; lines of progress go out. Where the socket ends
without an order there is nothing to supervise, and the process goes without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket

from sampan.cluster import orders

TYPE_CHECKING = False  # see ``supervisor``
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from sampan.cluster.early_api import EarlyApi

IP_FREEBIND = 15
"""Of ip(7); ``socket`` has no name for it."""
_waiting: Waiting | None = None


class Waiting:
    """A process that has no order yet; ``connection`` is our end of the socket."""

    __slots__ = ("connection", "pid")

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid, self.connection = pid, connection

    def order(self, order: dict[str, Any], listener: socket.socket) -> None:
        """Have it supervise. ``order``: ``settings`` as they are kept, ``socket`` and ``log_dir`` as paths."""
        orders.send(self.connection, order, [listener.fileno()])


def begin() -> None:
    """Fork the process; ``take`` gives it out, ``dismiss`` ends it where it was not taken."""
    global _waiting
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _wait(theirs)
    theirs.close()
    _waiting = Waiting(pid, ours)


def take() -> Waiting:
    """Return the process, forked now where it was not before."""
    global _waiting
    if _waiting is None:
        begin()
    assert _waiting is not None
    taken, _waiting = _waiting, None
    return taken


def dismiss() -> None:
    """End the process that nobody has taken."""
    if _waiting is not None:
        waiting = take()
        waiting.connection.close()
        os.waitpid(waiting.pid, 0)


def _wait(connection: socket.socket) -> NoReturn:
    code = 1
    try:
        os.setsid()  # a key that ends ``up`` does not end the cluster
        from sampan.api.memory import be_lean

        be_lean()
        from sampan.cluster import early_api

        api = early_api.fork(connection)
        from sampan.cluster import supervisor  # noqa: F401  # while `up` decides

        received = orders.receive(connection)
        if received is None:
            api.end()
            code = 0
        else:
            order, (descriptor,) = received
            code = _supervise(order, socket.socket(fileno=descriptor), connection, api)
    except Exception:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _supervise(order: dict[str, Any], listener: socket.socket, connection: socket.socket, early: EarlyApi) -> int:
    """Enter the cluster's namespaces and cgroup, and supervise its parts; return the exit code."""
    from sampan.cluster import part_process
    from sampan.cluster.parts import api_part, real_parts
    from sampan.cluster.supervisor import Supervisor

    given, log_dir = order["settings"], order["log_dir"]
    prepared, report = os.dup(connection.fileno()), connection.detach()

    def progress(step: str, text: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens once `up` has returned
            os.write(report, json.dumps([step, text]).encode() + b"\n")

    try:
        part_process.leave_terminal()
        _say_to(f"{log_dir}/supervisor.log")
        # whoever asks before the API serves waits, and is not refused
        listener.listen(2048)
        sockets: tuple[socket.socket, ...] = (listener,)
        if given["pods"] == "real":
            from sampan.cluster import cgroups, namespaces
            from sampan.cluster.settings import Settings

            settings = Settings(**given)
            cgroups.create(settings.cgroup, os.getpid(), early.pid)
            fresh = namespaces.enter(settings)
            progress("namespaces", f"new {os.getpid()}" if fresh else "kept")
            sockets += (_inner_listener(str(settings.node_ip), settings.api_port),)
            api = api_part(given, sockets)
            parts = real_parts(settings, api)
        else:
            api = api_part(given, sockets)
            parts = [api]
        api.early = early.beginner(given, sockets)
        Supervisor(given["name"], order["socket"], log_dir, parts, progress, prepared).run()
    except Exception as error:
        progress("failed", f"{type(error).__name__}: {error}")
        import traceback

        traceback.print_exc()
        return 1
    return 0


def _say_to(log_path: str) -> None:
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _inner_listener(address: str, port: int) -> socket.socket:
    """Return the API's socket inside the cluster's namespace."""
    inner = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    inner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # the link that has this address is on its way; the option is one of IPv6 sockets, too
    inner.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
    inner.bind((address, port))
    inner.listen(2048)
    return inner
