"""What one process of a cluster has another do: JSON and descriptors, over the socket between them.

``up`` orders a supervisor so, and the supervisor the process that is to be the API: both were forked before it was known for
which cluster.
"""

from __future__ import annotations

import json
import os
import socket

TYPE_CHECKING = False  # see ``supervisor``
if TYPE_CHECKING:
    from typing import Any

LENGTH_BYTES = 4
DESCRIPTORS_AT_MOST = 8


def send(connection: socket.socket, order: dict[str, Any], descriptors: list[int]) -> None:
    """Send an order. Raises ``OSError`` where nobody takes it."""
    text = json.dumps(order).encode()
    # the descriptors are with the first byte, and these bytes come as one
    socket.send_fds(connection, [len(text).to_bytes(LENGTH_BYTES)], descriptors)
    connection.sendall(text)


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return an order and its descriptors, which programs do not inherit; None where the connection ends without one."""
    length, descriptors, _, _ = socket.recv_fds(connection, LENGTH_BYTES, DESCRIPTORS_AT_MOST)
    if not length:
        return None
    text = b""
    while missing := int.from_bytes(length) - len(text):
        chunk = connection.recv(missing)
        if not chunk:
            return None
        text += chunk
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return json.loads(text), descriptors
