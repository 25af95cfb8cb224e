"""A plugin in the foreground, on loopback: no cluster and no Envoy, in this process, so that ``breakpoint()`` works.

Requests go through the plugin to a server (``--backend URL``) or to one that tells what it was asked. When a file of the
plugin changes, the next request meets the new version; one that cannot be imported is told and the version before serves on.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.gateway.plugins.content import content_of
from sampan.gateway.plugins.host import Asgi
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.rehearsal import read, surround, texts
from sampan.node.inotify import changes_of
from sampan.schema.objects import Object

SETTLE_SECONDS = 0.05
HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "upgrade", "content-length"})


async def mirror(scope: Any, receive: Any, send: Any) -> None:
    """The backend without ``--backend``: tells what it was asked."""
    body = await read(receive)
    query = scope["query_string"].decode("latin-1")
    told = {
        "method": scope["method"],
        "path": scope["path"] + (f"?{query}" if query else ""),
        "headers": texts(scope["headers"]),
        "body": body.decode(errors="replace"),
    }
    text = json.dumps(told, indent=2).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


def proxy(url: str) -> Asgi:
    """Return the backend that asks a server."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        import aiohttp

        query = scope["query_string"].decode("latin-1")
        target = url.rstrip("/") + scope["path"] + (f"?{query}" if query else "")
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]]
        headers = [pair for pair in headers if pair[0].lower() not in HOP_BY_HOP]
        async with aiohttp.ClientSession(auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
            body = await read(receive)
            async with session.request(
                scope["method"], target, data=body or None, headers=headers, allow_redirects=False
            ) as answer:
                pairs = [(k.lower(), v) for k, v in answer.raw_headers if k.decode("latin-1").lower() not in HOP_BY_HOP]
                await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
                async for chunk in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app


class Reloading:
    """The newest version of a plugin that could be imported."""

    def __init__(self, plugin: Object, backend: Asgi, folder: Path, tell: Callable[[str], None]) -> None:
        self._plugin, self._backend, self._folder, self._tell = plugin, backend, folder, tell
        self._app: Asgi | None = None
        self._version = ""

    def load(self) -> None:
        """Take over the directory as it is. What is wrong with it is told."""
        try:
            content = content_of("run/plugin", self._plugin)
            if content.version == self._version:
                return
            self._app = surround(content, self._folder, self._backend, patient=True)
            self._version = content.version
            self._tell(f"version {content.version} serves")
        except PluginError as error:
            self._tell(f"error: {error}")
        except Exception:
            self._tell(traceback.format_exc() + ("the version before serves on" if self._app else "no version serves"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if self._app is None:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"no version of the plugin can be imported\n"})
            return
        await self._app(scope, receive, send)

    async def follow(self, directory: Path) -> None:
        """Load again whenever the directory changes."""
        async with changes_of(directory) as changed:
            while True:
                await changed.wait()
                while changed.is_set():
                    changed.clear()
                    await asyncio.sleep(SETTLE_SECONDS)
                self.load()


async def serve(plugin: Object, port: int, backend: Asgi, tell: Callable[[str], None]) -> None:
    """Serve a plugin on 127.0.0.1 until interrupted. Raises ``OSError`` when the port is taken."""
    import socket

    import uvicorn

    listening = socket.create_server(("127.0.0.1", port))
    sys.dont_write_bytecode = True
    with tempfile.TemporaryDirectory(prefix="sampan-plugin-") as folder:
        app = Reloading(plugin, backend, Path(folder), tell)
        app.load()
        tell(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        config = uvicorn.Config(app, log_level="warning", lifespan="off", access_log=False, server_header=False)
        server = uvicorn.Server(config)
        following = asyncio.create_task(app.follow(Path(plugin["spec"]["path"])), name="follow")
        try:
            await server.serve(sockets=[listening])
        finally:
            following.cancel()
