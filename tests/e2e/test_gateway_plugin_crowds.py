"""Many requests at once through a plugin that are the first ones of its connection.

Those beyond what the other end takes at once were refused (503), since what that is was learned too late."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from .eventually import eventually
from .gateway_with_plugins import alone, named, route

CROWD = 300
GATHER = """
import asyncio

class Gather:
    def __init__(self, app, *, crowd):
        self.app, self.crowd, self.come, self.all = app, crowd, 0, asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["path"].endswith("/crowd"):
            self.come += 1
            if self.come == self.crowd:
                self.all.set()
            await self.all.wait()
        await self.app(scope, receive, send)
"""
TOML = """
kind = "asgi"
entry-point = "plugin:Gather"
settings = {type = "object", properties = {crowd = {type = "integer"}}}
"""


async def status(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: crowd\r\nconnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer[9:12]


@pytest.mark.parametrize("isolation", ["Shared", "Process"])
def test_a_crowd_passes_a_middleware(tmp_path: Path, isolation: str) -> None:
    plugin = tmp_path / "gather"
    plugin.mkdir()
    (plugin / "plugin.py").write_text(GATHER)
    (plugin / "plugin.toml").write_text(TOML)

    async def crowd(port: int) -> Counter[bytes]:
        return Counter(await asyncio.gather(*(status(port, "/gather/crowd") for _ in range(CROWD))))

    with alone(tmp_path) as gateway:
        spec = {"path": str(plugin), "isolation": isolation, "settings": {"crowd": CROWD}, "timeout": "60s"}
        redirected = route("gather", "gather")  # answered behind the middleware, by no backend
        rule = redirected["spec"]["rules"][0]
        del rule["backendRefs"]
        rule["filters"].append({"type": "RequestRedirect", "requestRedirect": {"hostname": "elsewhere.example"}})
        gateway.write("gather", named("gateway.sampan.dev/v1alpha1", "Plugin", "gather", **spec), redirected)
        eventually(f"/gather is served: {gateway.log}", lambda: gateway.status("/gather") == 302, 60)
        assert asyncio.run(crowd(gateway.port)) == {b"302": CROWD}
