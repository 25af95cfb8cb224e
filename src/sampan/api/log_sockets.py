"""pods/log over a WebSocket: what would be the body of the answer comes in messages.

The handler of the log answers as it does over HTTP; its answer is turned into an accepted socket (an empty message first, so
that a client knows it is heard before the container says something), a message a piece, and the end. Sub-protocols: none or
``binary.k8s.io`` (binary messages), ``base64.binary.k8s.io`` (text). Source: k8s.io/apiserver wsstream.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from sampan.api.asgi import refuse_websocket
from sampan.api.errors import bad_request
from sampan.api.request import Receive, Response, Scope, Send

BINARY, TEXT = "binary.k8s.io", "base64.binary.k8s.io"


def protocol_of(scope: Scope) -> str | None:
    """Return the sub-protocol to be spoken, None for none. Raises 400 where only others are offered."""
    offered = scope.get("subprotocols") or ()
    chosen = next((name for name in offered if name in (BINARY, TEXT)), None)
    if offered and chosen is None:
        raise bad_request(f"none of the sub-protocols is known; known: {BINARY}, {TEXT}")
    return chosen


async def serve(handle: Callable[[Receive, Send], Awaitable[None]], scope: Scope, receive: Receive, send: Send) -> None:
    """Have ``handle`` answer as over HTTP, and carry its answer. Raises what ``handle`` raises before it has begun."""
    protocol = protocol_of(scope)
    refused = 0
    said = b""

    def message(data: bytes) -> dict[str, Any]:
        if protocol == TEXT:
            return {"type": "websocket.send", "text": base64.b64encode(data).decode()}
        return {"type": "websocket.send", "bytes": data}

    async def heard() -> dict[str, Any]:
        while (await receive())["type"] != "websocket.disconnect":
            continue
        return {"type": "http.disconnect"}

    async def tell(part: MutableMapping[str, Any]) -> None:
        nonlocal refused, said
        if part["type"] == "http.response.start":
            refused = part["status"] if part["status"] >= 400 else 0
            if not refused:
                await receive()  # websocket.connect
                await send({"type": "websocket.accept", "subprotocol": protocol})
                await send(message(b""))
            return
        body, more = part.get("body", b""), part.get("more_body", False)
        if refused:
            said += body
            if not more:
                await refuse_websocket(scope, send, Response(said, refused, "text/plain"))
            return
        if body:
            await send(message(body))
        if not more:
            await send({"type": "websocket.close", "code": 1000})

    await handle(heard, tell)
