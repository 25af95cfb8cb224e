"""Requests and connections leave no circles of references: what they used is free at once, however seldom Python looks."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import socket
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

from sampan.api.flags import parse
from sampan.api.server import ApiConfig, listening, open_api
from sampan.testing import keys

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
CONFIG_MAP = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}})
WATCH = ("GET", f"{CONFIG_MAPS}?watch=true&timeoutSeconds=1", 200)
REQUESTS = [
    ("POST", CONFIG_MAPS, 201),
    ("GET", f"{CONFIG_MAPS}/a", 200),
    ("GET", CONFIG_MAPS, 200),
    ("PUT", f"{CONFIG_MAPS}/a", 200),
    ("GET", f"{CONFIG_MAPS}/nobody", 404),
    ("POST", CONFIG_MAPS, 409),
    ("DELETE", f"{CONFIG_MAPS}/a", 200),
    ("GET", "/version", 200),
]


def talk(port: int, requests: list[tuple[str, str, int]]) -> None:
    """Send requests over one connection, and end it."""
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context())
    for method, path, status in requests:
        body = CONFIG_MAP if method in ("POST", "PUT") else None
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        assert answer.status == status, (method, path, answer.read())
        answer.read()
    connection.close()


def kind(obj: Any) -> str:
    return f"{type(obj).__module__}.{type(obj).__qualname__}"


async def test_requests_leave_nothing_for_the_collector(tmp_path: Path) -> None:
    keys.make(tmp_path / "pki")
    listener = socket.create_server(("127.0.0.1", 0))
    flags = parse({"authorization-mode": ["AlwaysAllow"]})
    config = ApiConfig(pki_dir=tmp_path / "pki", sockets=(listener,), flags=flags)
    api = await open_api(config)
    async with listening(api, config):
        port = listener.getsockname()[1]
        await asyncio.to_thread(talk, port, REQUESTS)  # what is made with the first request stays
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            await asyncio.to_thread(talk, port, [*REQUESTS, WATCH])
            await asyncio.to_thread(talk, port, REQUESTS)
            gc.collect()
        finally:
            gc.set_debug(0)
            gc.enable()
        found = Counter(kind(obj) for obj in gc.garbage)
        gc.garbage.clear()
    await api.close()
    assert not [name for name in found if name.startswith(("sampan.", "uvicorn.", "ssl."))], found
