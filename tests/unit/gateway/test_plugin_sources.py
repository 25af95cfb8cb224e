"""Files of plugins out of layers, archives, modules; what a registry says; what is refused."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from sampan.gateway.plugins.content import content_of
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.sources import git, image, source_of
from sampan.gateway.plugins.sources.seam import Fetched
from sampan.gateway.plugins.wasm import MAGIC, abi_of


def layer(*entries: tuple[str, bytes | None]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data or b"")
            entry.type = tarfile.REGTYPE if data is not None else tarfile.SYMTYPE
            tar.addfile(entry, io.BytesIO(data or b""))
    return content.getvalue()


def test_layers_lie_over_each_other(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}

    def lay(content: bytes, media_type: str = "") -> None:
        (tmp_path / "layer").write_bytes(content)
        image.apply(files, tmp_path / "layer", media_type, "p/")

    lay(layer(("./p/a.py", b"1"), ("p/b/c.py", b"2"), ("p/b/d.py", b"3"), ("q/x", b"4")))
    assert set(files) == {"p/a.py", "p/b/c.py", "p/b/d.py"}, "what is elsewhere is not kept"
    lay(gzip.compress(layer(("p/.wh.a.py", b""), ("p/b/.wh..wh..opq", b""), ("p/b/e.py", b"5"))))
    assert files == {"p/b/e.py": b"5"}
    lay(layer(("p/link", None)))
    assert files == {"p/b/e.py": b"5"}
    with pytest.raises(PluginError, match="application/zstd cannot be read"):
        lay(b"\x28\xb5\x2f\xfd....", "application/zstd")


@given(st.binary(max_size=60))
@example(b"\x07\xff\xff\xff\xff\x0f")
@example(b"\x07\x05\x01\x02\xff\xff\x00\x00")
def test_what_is_no_module_is_refused(data: bytes) -> None:
    for content in (data, MAGIC + data):
        with pytest.raises(PluginError, match=r"x\.wasm: "):
            abi_of("x.wasm", content)


@pytest.mark.parametrize(
    ("spec", "kind", "words"),
    [
        (
            {"isolation": "Shared"},
            "processor",
            "spec.isolation: Invalid value: a plugin of the kind processor can only be",
        ),
        ({"memory": "100Mi"}, "hook", "spec.memory: Forbidden: only a process of its own"),
        (
            {"memory": "10Mi", "isolation": "Process"},
            "hook",
            "spec.memory: Invalid value: a process needs 64Mi at least",
        ),
        ({"memory": "lots", "isolation": "Process"}, "hook", "spec.memory: Invalid value: quantities must match"),
    ],
)
def test_isolation_and_memory(spec: dict[str, Any], kind: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("")
    (tmp_path / "plugin.toml").write_text(f'kind = "{kind}"\n')
    with pytest.raises(PluginError) as refused:
        content_of("shop/p", {"spec": {"path": str(tmp_path), **spec}})
    assert str(refused.value).startswith(words)


def test_an_installed_package_has_its_manifest_in_it() -> None:
    files = {"acme/geo/plugin.toml": b'factory = "plugin:make"\n', "acme/geo/plugin.py": b"", "acme/__init__.py": b""}
    found = content_of("shop/p", {"spec": {"installed": "geo"}}, None, Fetched(files, "acme 1.0", "acme.geo"))
    assert (found.package, found.revision, found.deployment.isolation) == ("acme.geo", "acme 1.0", "Process")
    assert found.deployment.entry_point == "plugin:make" and found.deployment.factory


async def test_a_registry_that_wants_a_token(tmp_path: Path) -> None:
    """As Docker's does: a challenge, a token service with the credentials of the Secret, an index, a manifest, a blob."""
    blob = layer(("plugin.py", b"x"), ("../out.py", b"y"), (".git/config", b"z"))
    blobs = {digest(blob): blob}
    manifest = json.dumps({"layers": [{"digest": digest(blob), "mediaType": "application/tar"}]}).encode()
    platforms = [{"digest": digest(manifest), "platform": {"architecture": "amd64"}}]
    index = json.dumps({"manifests": [*platforms, {"digest": digest(manifest), "platform": {"architecture": "arm64"}}]})
    documents = {"v1": index.encode(), digest(manifest): manifest, "wrong": b"{}"}
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path == "/token":
            assert request.headers["authorization"] == "Basic " + base64.b64encode(b"ann:secret").decode()
            assert request.query["scope"] == "repository:team/mark:pull"
            return web.json_response({"token": "t"})
        if request.headers.get("authorization") != "Bearer t":
            challenge = f'Bearer realm="{base}/token",service="here",scope="repository:team/mark:pull"'
            return web.Response(status=401, headers={"www-authenticate": challenge})
        last = request.path.rpartition("/")[2]
        found = blobs.get(last) or documents.get(last)
        return web.Response(body=found) if found else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    base = f"http://127.0.0.1:{port}"
    auths = {f"127.0.0.1:{port}": {"username": "ann", "password": "secret"}}
    secret = {"data": {".dockerconfigjson": base64.b64encode(json.dumps({"auths": auths}).encode()).decode()}}
    try:
        spec = {"image": {"reference": f"127.0.0.1:{port}/team/mark:v1", "secretRef": {"name": "s"}}}
        source = source_of(spec, tmp_path, secret)
        assert source is not None and await source.cached() is None
        found = await source.fetch()
        assert (found.files, found.revision) == ({"plugin.py": b"x"}, digest(manifest))
        blobs.clear()
        again = await source.fetch()
        assert again == found, "the layer is kept"
        later = source_of(spec, tmp_path, None)
        assert later is not None and await later.cached() == found
        with pytest.raises(PluginError, match=r"spec\.image\.secretRef\.name: Secret s does not exist"):
            await later.fetch()
        documents[digest(manifest)] = b"{}"
        with pytest.raises(PluginError, match="what the registry gave for sha256:"):
            await source.fetch()
    finally:
        await runner.cleanup()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize(
    "document",
    [b"[]", b"7", b"{", b"[" * 500_000, b'{"layers": 7}', b'{"layers": [7]}', b'{"layers": [{"digest": 7}]}', b"{}"],
)
async def test_a_registry_that_says_anything(document: bytes, tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=document)

    async with registry(answer) as place:
        source = source_of({"image": {"reference": f"{place}/team/mark:v1"}}, tmp_path, None)
        assert source is not None
        with pytest.raises(PluginError, match=r"^spec\.image"):
            await source.fetch()
        assert await source.cached() is None


async def test_half_a_file_in_the_cache_is_fetched_again(tmp_path: Path) -> None:
    blob = layer(("plugin.py", b"x"))
    manifest = json.dumps({"layers": [{"digest": digest(blob), "mediaType": "application/tar"}]}).encode()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=blob if "/blobs/" in request.path else manifest)

    async with registry(answer) as place:
        source = source_of({"image": {"reference": f"{place}/team/mark:v1"}}, tmp_path, None)
        assert source is not None
        found = await source.fetch()
        (tmp_path / f"blob-{digest(blob).replace(':', '-')}").write_bytes(blob[:600])
        (tmp_path / "image-other.json").write_text('{"digest": "sha2')
        assert await source.fetch() == found == await source.cached()


async def test_of_a_large_layer_only_the_plugins_files_are_held(tmp_path: Path) -> None:
    """As when the plugin is one folder of a whole system: 64 MiB beside it, and an artifact's file that is elsewhere."""
    small = layer(("p/plugin.py", b"x"))
    zeros, count = bytes(1 << 20), 64
    entry = tarfile.TarInfo("system")
    entry.size = len(zeros) * count

    def pieces() -> Iterator[bytes]:
        yield entry.tobuf()
        yield from (zeros for _ in range(count))
        yield small

    content = hashlib.sha256()
    for piece in pieces():
        content.update(piece)
    named = f"sha256:{content.hexdigest()}"
    titled = {"digest": digest(zeros), "annotations": {"org.opencontainers.image.title": "data"}}
    manifest = json.dumps({"layers": [{"digest": named, "mediaType": "application/tar"}, titled]}).encode()
    broken = False

    async def answer(request: web.Request) -> web.StreamResponse:
        if "/blobs/" not in request.path:
            return web.Response(body=manifest)
        if not request.path.endswith(named):
            return web.Response(body=zeros)
        streamed = web.StreamResponse()
        await streamed.prepare(request)
        for piece in pieces():
            await streamed.write(piece)
        if broken:
            await streamed.write(b"more")
        return streamed

    async with registry(answer) as place:
        source = source_of({"image": {"reference": f"{place}/team/mark:v1", "path": "p"}}, tmp_path, None)
        assert source is not None
        await source.fetch()  # what is imported for it is there now
        emptied(tmp_path)
        tracemalloc.start()
        try:
            found = await source.fetch()
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert found.files == {"plugin.py": b"x"} and most < 16 << 20
        emptied(tmp_path)
        broken = True
        with pytest.raises(PluginError, match="what the registry gave for sha256:"):
            await source.fetch()
        assert emptied(tmp_path) == [], "nothing is left of what was something else"


async def test_layers_that_nothing_has_any_more_are_removed(tmp_path: Path) -> None:
    blob = layer(("plugin.py", b"x"))
    manifest = json.dumps({"layers": [{"digest": digest(blob), "mediaType": "application/tar"}]}).encode()
    for name in ("blob-young", "blob-old", "part-old"):
        (tmp_path / name).write_bytes(b"")
    for name in ("blob-old", "part-old"):
        os.utime(tmp_path / name, (1, 1))

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=blob if "/blobs/" in request.path else manifest)

    async with registry(answer) as place:
        source = source_of({"image": {"reference": f"{place}/team/mark:v1"}}, tmp_path, None)
        assert source is not None
        await source.fetch()
    left = [name for name in emptied(tmp_path) if not name.startswith("image-")]
    assert left == ["blob-" + digest(blob).replace(":", "-"), "blob-young"]


def emptied(folder: Path) -> list[str]:
    """Return the names of what was in a folder."""
    files = sorted(folder.iterdir())
    for file in files:
        file.unlink()
    return [file.name for file in files]


def repository(folder: Path, files: dict[str, bytes]) -> str:
    """Return the URL of a repository with the files."""
    said = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for name in ("AUTHOR", "COMMITTER"):
        said |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@example.org"}
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "all")):
        subprocess.run(("git", "-C", str(folder), *words), env=said, check=True, timeout=60)
    return f"file://{folder}"


async def test_of_a_git_directory_no_more_is_taken_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"plugin.py": b"def request(request): ...", "data/large": b"x" * 300_000, ".hidden": b"h"}
    url = repository(tmp_path / "repository", files)

    async def fetched(path: str = "") -> dict[str, bytes]:
        source = source_of({"git": {"url": url, "path": path}}, tmp_path / "cache", None)
        assert source is not None
        return (await source.fetch()).files

    assert await fetched() == {name: content for name, content in files.items() if name != ".hidden"}
    assert await fetched("data") == {"large": files["data/large"]}
    with pytest.raises(PluginError, match=r"spec.git.path: nowhere in .*"):
        await fetched("nowhere")
    monkeypatch.setattr(git, "LARGEST_BYTES", 200_000)
    with pytest.raises(PluginError, match=r"spec.git.path: / in .* MiB of files"):
        await fetched()


async def test_a_server_that_never_answers_leaves_no_process_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()  # until who asked is gone
        gone.set()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with asyncio.timeout(60), server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/shop.git"
        source = source_of({"git": {"url": url}}, tmp_path, None)
        assert source is not None
        fetching = asyncio.create_task(source.fetch())
        await asked.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await gone.wait()


@asynccontextmanager
async def registry(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve; the host and port of it."""
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
