"""Calls to a keeper: one JSON line asks, one answers, descriptors go along. Used by the command line and by ``Lab``."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

from sampan.lab import address
from sampan.lab.errors import LabError, TopologyError

DESCRIPTORS_MAX = 64
CHUNK = 1 << 16


class Line:
    """One end of a connection: sends and receives JSON lines with descriptors."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""
        self.descriptors: list[int] = []

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message by a socket that blocks."""
        rest = self.begin(message, descriptors)
        if rest:  # even nothing cannot be sent to one who has read all, answered and gone
            self.socket.sendall(rest)

    def begin(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> bytes:
        """Send the descriptors and as much of a message as there is room for; return the rest."""
        data = json.dumps(message).encode() + b"\n"
        return data[socket.send_fds(self.socket, [data], list(descriptors)) :]

    def feed(self) -> bool:
        """Read what is there; return whether the other side is still there."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, CHUNK, DESCRIPTORS_MAX)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        self.buffer += data
        self.descriptors += descriptors
        return bool(data)

    def take(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return a whole message that was read, with its descriptors, or None."""
        line, newline, rest = self.buffer.partition(b"\n")
        if not newline:
            return None
        self.buffer = rest
        descriptors, self.descriptors = self.descriptors, []
        return dict(json.loads(line)), descriptors

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Wait for a message. Raises ``EOFError`` when the other side goes."""
        while (message := self.take()) is None:
            try:
                if not self.feed():
                    raise EOFError
            except ConnectionError as error:
                raise EOFError from error
        return message

    def close(self) -> None:
        self.socket.close()


def open_call(name: str, message: dict[str, Any], descriptors: Sequence[int] = (), uid: int | None = None) -> Line:
    """Ask a keeper something; the answer is still to come."""
    line = Line(address.connect(name, uid))
    line.send(message, descriptors)
    return line


def call(
    name: str, message: dict[str, Any], descriptors: Sequence[int] = (), uid: int | None = None
) -> tuple[dict[str, Any], list[int]]:
    """Ask a keeper something; return its answer. Raises ``LabError`` with what it refuses."""
    line = open_call(name, message, descriptors, uid)
    with contextlib.closing(line):
        return answer(line, name)


def answer(line: Line, name: str) -> tuple[dict[str, Any], list[int]]:
    """Wait for the answer of a call. Raises ``LabError``."""
    try:
        message, descriptors = line.receive()
    except EOFError:
        raise LabError(f"the keeper of laboratory {name!r} ended; everything of it is gone") from None
    refused(message)
    return message, descriptors


def refused(message: dict[str, Any]) -> None:
    """Raise what an answer says is wrong."""
    if "problems" in message:
        raise TopologyError(message["problems"])
    if "error" in message:
        raise LabError(message["error"], message.get("hint", ""))


def failure(error: LabError) -> dict[str, Any]:
    """Return an error as an answer."""
    if isinstance(error, TopologyError):
        return {"problems": list(error.problems)}
    return {"error": str(error), "hint": error.hint}
