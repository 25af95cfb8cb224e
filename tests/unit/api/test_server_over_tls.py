"""The server itself: HTTPS, client certificates, and that a kill -9 loses nothing acknowledged."""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any


def call(server: Any, method: str, path: str, body: object = None, *, user: str = "admin") -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=server.pki_dir / "ca.crt")
    if user:
        context.load_cert_chain(server.pki_dir / f"{user}.crt", server.pki_dir / f"{user}.key")
    data = json.dumps(body).encode() if body is not None else None
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(server.url + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


async def test_client_certificates(api_server: Any) -> None:
    code, listed = await asyncio.to_thread(call, api_server, "GET", "/api/v1/namespaces")
    assert code == 200 and "default" in [item["metadata"]["name"] for item in listed["items"]]
    code, version = await asyncio.to_thread(call, api_server, "GET", "/version", user="")
    assert code == 200 and version["major"] == "1"
    code, denied = await asyncio.to_thread(call, api_server, "GET", "/api/v1/secrets", user="")
    assert code in (401, 403) and denied["kind"] == "Status"
    api_server.user_kubeconfig("eve")
    code, denied = await asyncio.to_thread(call, api_server, "GET", "/api/v1/secrets", user="eve")
    assert code == 403 and 'User "eve" cannot list resource "secrets"' in denied["message"]


async def test_a_watch_arrives_over_the_network(api_server: Any) -> None:
    context = ssl.create_default_context(cafile=api_server.pki_dir / "ca.crt")
    context.load_cert_chain(api_server.pki_dir / "admin.crt", api_server.pki_dir / "admin.key")
    host, port = api_server.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    path = "/api/v1/namespaces/default/configmaps?watch=true&fieldSelector=metadata.name%3Dseen"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in head and b"chunked" in head
    body = {"metadata": {"name": "seen"}}
    await asyncio.to_thread(call, api_server, "POST", "/api/v1/namespaces/default/configmaps", body)
    async with asyncio.timeout(60):
        await reader.readline()
        frame = json.loads(await reader.readline())
    assert frame["type"] == "ADDED" and frame["object"]["metadata"]["name"] == "seen"
    writer.close()


async def test_kill_9_loses_no_acknowledged_object(start_server: Callable[..., Any], tmp_path: Path) -> None:
    server = await asyncio.to_thread(start_server, tmp_path)
    path = "/api/v1/namespaces/default/configmaps"
    for index in range(30):
        code, _ = await asyncio.to_thread(call, server, "POST", path, {"metadata": {"name": f"c{index}"}})
        assert code == 201
    server.process.kill()
    server.process.wait()
    again = await asyncio.to_thread(start_server, tmp_path)
    _, listed = await asyncio.to_thread(call, again, "GET", path)
    names = {item["metadata"]["name"] for item in listed["items"]}
    assert {f"c{index}" for index in range(30)} <= names
