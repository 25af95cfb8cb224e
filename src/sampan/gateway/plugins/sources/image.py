"""Plugins from an image: the files of its layers, or of an artifact whose layers are files by their titles.

Layers go to files as they come, and are unpacked from there one member after the other: of an image that has more than the
plugin, only the plugin's files are ever in memory.
Source: the OCI image specification 1.1 (layers, whiteouts, ``org.opencontainers.image.title``).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import lzma
import os
import tarfile
import time
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from sampan.gateway.model.verdicts import MALFORMED, malformed
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.sources.registry import PART, Registry, agree, whole
from sampan.gateway.plugins.sources.seam import Asked, Fetched
from sampan.schema.objects import Object

LARGEST_BYTES = 64 * 2**20
TITLE = "org.opencontainers.image.title"
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
SECONDS = 60
YOUNG_SECONDS = 10 * SECONDS
HUB = "registry-1.docker.io"


class Image(Asked):
    def __init__(self, spec: Object, cache: Path, secret: Object | str | None) -> None:
        super().__init__(spec, cache, secret)
        self._reference = str(spec["reference"])
        self._path = str(spec.get("path") or "").strip("/")
        self._plain_http = bool(spec.get("plainHTTP"))
        self._name = hashlib.sha256(self._reference.encode()).hexdigest()[:16]

    async def cached(self) -> Fetched | None:
        """Return the files of the manifest that was fetched last; its layers are kept by digest."""
        try:
            kept = json.loads((self.cache / f"image-{self._name}.json").read_text())
            layers = [self._blob(layer["digest"]) for layer in kept["manifest"]["layers"]]
            return await asyncio.to_thread(self._files, kept["digest"], kept["manifest"], layers)
        except (OSError, *MALFORMED, PluginError):
            return None

    async def fetch(self) -> Fetched:
        try:
            return await self._fetch()
        except MALFORMED as error:
            raise PluginError(f"spec.image: {self._reference}: what the registry says: {malformed(error)}") from None

    async def _fetch(self) -> Fetched:
        import aiohttp

        # most gateways have no plugin from an image, and these bring the messages of containerd: 6 MB
        from sampan.node.image_credentials import credentials_for
        from sampan.node.image_transfer import is_loopback
        from sampan.node.images import ImageError, full_name

        if self.no_secret:
            raise PluginError(f"spec.image.{self.no_secret}")
        try:
            name = full_name(self._reference)
        except ImageError as error:
            raise PluginError(f"spec.image.reference: {error.args[-1]}") from None
        host, _, rest = name.partition("/")
        repository, _, tag = rest.partition("@") if "@" in rest else rest.rpartition(":")
        scheme = "http" if self._plain_http or is_loopback(host) else "https"
        auth = next(iter(credentials_for(name, [self.secret] if self.secret else [])), None)
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                base = f"{scheme}://{HUB if host == 'docker.io' else host}"
                user, password = (auth.username, auth.password) if auth is not None else ("", "")
                registry = Registry(session, base, repository, user, password)
                digest, manifest = await registry.manifest(tag)
                layers = [await self._layer(registry, layer["digest"]) for layer in manifest.get("layers") or ()]
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise PluginError(f"spec.image: {host}: {error or 'it does not answer in time'}") from None
        except PluginError as error:
            raise PluginError(f"spec.image: {self._reference}: {error}") from None
        kept = json.dumps({"digest": digest, "manifest": manifest}).encode()
        with whole(self.cache / f"image-{self._name}.json") as file:
            file.write(kept)
        self._tidy()
        return await asyncio.to_thread(self._files, digest, manifest, layers)

    def _tidy(self) -> None:
        """Remove layers that no image has, and parts of those whose fetching was killed. What is young may be another
        plugin's, whose image is not written yet."""
        used = set()
        for file in self.cache.glob("image-*.json"):
            with contextlib.suppress(*MALFORMED):  # one of which half was written keeps nothing
                layers = json.loads(file.read_text())["manifest"].get("layers") or ()
                used |= {self._blob(layer["digest"]) for layer in layers}
        young = time.time() - YOUNG_SECONDS
        for file in {*self.cache.glob("blob-*"), *self.cache.glob(f"{PART}*")} - used:
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime < young:
                    file.unlink()

    def _blob(self, digest: str) -> Path:
        return self.cache / f"blob-{digest.replace(':', '-').replace('/', '-')}"

    async def _layer(self, registry: Registry, digest: str) -> Path:
        file = self._blob(digest)
        try:
            await asyncio.to_thread(verify, file, digest)
        except (OSError, PluginError):  # not there, or broken: fetched again
            await registry.blob(digest, file)
        return file

    def _files(self, digest: str, manifest: dict[str, Any], layers: list[Path]) -> Fetched:
        files: dict[str, bytes] = {}
        prefix = f"{self._path}/" if self._path else ""
        for layer, file in zip(manifest.get("layers") or (), layers, strict=True):
            title = (layer.get("annotations") or {}).get(TITLE)
            if title and "tar" not in layer.get("mediaType", ""):
                name = str(PurePosixPath("/", title)).lstrip("/")
                if name.startswith(prefix):
                    files.pop(name, None)
                    within(size_of(files) + file.stat().st_size)
                    files[name] = file.read_bytes()
            else:
                apply(files, file, layer.get("mediaType", ""), prefix)
        found = {
            name.removeprefix(prefix): content
            for name, content in sorted(files.items())
            if name.startswith(prefix) and not hidden(name.removeprefix(prefix))
        }
        if not found:
            raise PluginError(f"spec.image.path: {self._reference} has nothing at {self._path or '/'}")
        return Fetched(found, digest)


def hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))


def verify(file: Path, digest: str) -> None:
    """Raise ``OSError`` for a file that is not there, ``PluginError`` for one that is something else; keep it from being
    tidied away."""
    with file.open("rb") as content:
        agree(digest, hashlib.file_digest(content, "sha256"))
    os.utime(file)


def size_of(files: dict[str, bytes]) -> int:
    return sum(map(len, files.values()))


def within(size: int) -> None:
    """Raise ``PluginError`` for files that are too large together."""
    if size > LARGEST_BYTES:
        raise PluginError(f"spec.image.path: it has more than {LARGEST_BYTES // 2**20} MiB of files")


def apply(files: dict[str, bytes], layer: Path, media_type: str, prefix: str) -> None:
    """Lay what a layer has below a path over the files there are. Raises ``PluginError`` for one that cannot be read."""
    size = size_of(files)
    try:
        with tarfile.open(layer) as tar:
            while (entry := tar.next()) is not None:
                # what was passed is remembered there: a kilobyte for each file of a whole system
                tar.members.clear()  # type: ignore[attr-defined]
                name = str(PurePosixPath("/", entry.name)).lstrip("/")
                folder, _, last = name.rpartition("/")
                if last == OPAQUE:
                    remove(files, folder)
                elif last.startswith(WHITEOUT):
                    remove(files, f"{folder}/{last.removeprefix(WHITEOUT)}".lstrip("/"))
                elif entry.isfile() and name.startswith(prefix) and (data := tar.extractfile(entry)) is not None:
                    size += entry.size
                    within(size)
                    files[name] = data.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, *MALFORMED):
        raise PluginError(
            f"a layer of the type {media_type or 'unknown'} cannot be read: tar and tar+gzip can"
        ) from None


def remove(files: dict[str, bytes], path: str) -> None:
    for name in [name for name in files if name == path or name.startswith(f"{path}/") or not path]:
        del files[name]
