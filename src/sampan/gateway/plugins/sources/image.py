"""Plugins from an image: the files of its layers, or of an artifact whose layers are files by their titles.

Source: the OCI image specification 1.1 (layers, whiteouts, ``org.opencontainers.image.title``).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import lzma
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from sampan.gateway.model.verdicts import MALFORMED, malformed
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.sources.registry import Registry, checked
from sampan.gateway.plugins.sources.seam import Asked, Fetched
from sampan.node.image_credentials import credentials_for
from sampan.node.image_transfer import is_loopback
from sampan.node.images import ImageError, full_name
from sampan.schema.objects import Object

LARGEST_BYTES = 64 * 2**20
TITLE = "org.opencontainers.image.title"
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
SECONDS = 60
HUB = "registry-1.docker.io"


class Image(Asked):
    def __init__(self, spec: Object, cache: Path, secret: Object | None) -> None:
        super().__init__(cache, spec.get("interval"))
        self._reference = str(spec["reference"])
        self._path = str(spec.get("path") or "").strip("/")
        self._plain_http = bool(spec.get("plainHTTP"))
        self._secret, self._asks_secret = secret, spec.get("secretRef")
        self._name = hashlib.sha256(self._reference.encode()).hexdigest()[:16]

    async def cached(self) -> Fetched | None:
        """Return the files of the manifest that was fetched last; its layers are kept by digest."""
        try:
            kept = json.loads((self.cache / f"image-{self._name}.json").read_text())
            layers = [(self._blob(layer["digest"])).read_bytes() for layer in kept["manifest"]["layers"]]
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

        if self._asks_secret and self._secret is None:
            raise PluginError(f"spec.image.secretRef.name: Secret {self._asks_secret['name']} does not exist")
        try:
            name = full_name(self._reference)
        except ImageError as error:
            raise PluginError(f"spec.image.reference: {error.args[-1]}") from None
        host, _, rest = name.partition("/")
        repository, _, tag = rest.partition("@") if "@" in rest else rest.rpartition(":")
        scheme = "http" if self._plain_http or is_loopback(host) else "https"
        auth = next(iter(credentials_for(name, [self._secret] if self._secret else [])), None)
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
        self._keep(self.cache / f"image-{self._name}.json", kept)
        self._tidy()
        return await asyncio.to_thread(self._files, digest, manifest, layers)

    def _keep(self, file: Path, content: bytes) -> None:
        """Write a file whole, or not at all: who ends meanwhile leaves no half of it."""
        self.cache.mkdir(parents=True, exist_ok=True)
        aside = file.with_suffix(".new")
        aside.write_bytes(content)
        aside.rename(file)

    def _tidy(self) -> None:
        """Remove layers that no image has."""
        used = set()
        for file in self.cache.glob("image-*.json"):
            with contextlib.suppress(*MALFORMED):  # one of which half was written keeps nothing
                layers = json.loads(file.read_text())["manifest"].get("layers") or ()
                used |= {self._blob(layer["digest"]) for layer in layers}
        for file in set(self.cache.glob("blob-*")) - used:
            file.unlink(missing_ok=True)

    def _blob(self, digest: str) -> Path:
        return self.cache / f"blob-{digest.replace(':', '-').replace('/', '-')}"

    async def _layer(self, registry: Registry, digest: str) -> bytes:
        file = self._blob(digest)
        with contextlib.suppress(OSError, PluginError):  # one that is broken is fetched again
            content = file.read_bytes()
            checked(content, digest)
            return content
        content = await registry.blob(digest)
        self._keep(file, content)
        return content

    def _files(self, digest: str, manifest: dict[str, Any], layers: list[bytes]) -> Fetched:
        files: dict[str, bytes] = {}
        prefix = f"{self._path}/" if self._path else ""
        for layer, content in zip(manifest.get("layers") or (), layers, strict=True):
            title = (layer.get("annotations") or {}).get(TITLE)
            if title and "tar" not in layer.get("mediaType", ""):
                files[str(PurePosixPath("/", title)).lstrip("/")] = content
            else:
                apply(files, content, layer.get("mediaType", ""), prefix)
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


def apply(files: dict[str, bytes], layer: bytes, media_type: str, prefix: str) -> None:
    """Lay what a layer has below a path over the files there are. Raises ``PluginError`` for one that cannot be read."""
    size = sum(map(len, files.values()))
    try:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            for entry in tar:
                name = str(PurePosixPath("/", entry.name)).lstrip("/")
                folder, _, last = name.rpartition("/")
                if last == OPAQUE:
                    remove(files, folder)
                elif last.startswith(WHITEOUT):
                    remove(files, f"{folder}/{last.removeprefix(WHITEOUT)}".lstrip("/"))
                elif entry.isfile() and name.startswith(prefix) and (data := tar.extractfile(entry)) is not None:
                    size += entry.size
                    if size > LARGEST_BYTES:
                        raise PluginError(f"spec.image.path: it has more than {LARGEST_BYTES // 2**20} MiB of files")
                    files[name] = data.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, *MALFORMED):
        raise PluginError(
            f"a layer of the type {media_type or 'unknown'} cannot be read: tar and tar+gzip can"
        ) from None


def remove(files: dict[str, bytes], path: str) -> None:
    for name in [name for name in files if name == path or name.startswith(f"{path}/") or not path]:
        del files[name]
