"""A log that is asked for over a WebSocket: accepted, said in messages, refused like any other."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from sampan.api import log_sockets
from sampan.api.errors import StatusError

Message = MutableMapping[str, Any]


async def carried(*protocols: str, status: int = 200) -> list[Message]:
    """Return what a client is sent when the handler of the log answers with two pieces."""
    sent: list[Message] = []
    coming: list[Message] = [
        {"type": "websocket.connect"},
        {"type": "websocket.receive"},
        {"type": "websocket.disconnect"},
    ]

    async def receive() -> Message:
        return coming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    async def handle(heard: Any, tell: Any) -> None:
        await tell({"type": "http.response.start", "status": status, "headers": []})
        await tell({"type": "http.response.body", "body": b"one\n", "more_body": True})
        if status == 200:
            assert (await heard())["type"] == "http.disconnect"
        await tell({"type": "http.response.body", "body": b"two\n"})

    scope = {"type": "websocket", "subprotocols": list(protocols), "extensions": {"websocket.http.response": {}}}
    await log_sockets.serve(handle, scope, receive, send)
    return sent


async def test_pieces_are_messages() -> None:
    accept, alive, *pieces, close = await carried("other", "binary.k8s.io")
    assert accept == {"type": "websocket.accept", "subprotocol": "binary.k8s.io"} and alive["bytes"] == b""
    assert [piece["bytes"] for piece in pieces] == [b"one\n", b"two\n"] and close["code"] == 1000
    assert (await carried())[0]["subprotocol"] is None
    texts = await carried("base64.binary.k8s.io")
    assert [message.get("text") for message in texts[1:-1]] == ["", "b25lCg==", "dHdvCg=="]


async def test_what_cannot_be_had_is_refused_before_the_socket_is_open() -> None:
    start, body = await carried("binary.k8s.io", status=400)
    assert (start["status"], body["body"]) == (400, b"one\ntwo\n")
    with pytest.raises(StatusError, match="none of the sub-protocols is known"):
        await carried("v4.channel.k8s.io")
