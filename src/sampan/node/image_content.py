"""What is in an image, read from containerd's content store: manifest, configuration, layers, single files.

``blobs`` is the folder of the store; everything in it is named by its sha256. Source: OCI image specification (index,
manifest, configuration, layers with whiteouts).
"""

from __future__ import annotations

import platform
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sampan.schema.objects import Object
from sampan.security.image_user import ImageUser

BLOBS = "io.containerd.content.v1.content/blobs"
OPAQUE = ".wh..wh..opq"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class Layer(NamedTuple):
    digest: str
    size: int
    media_type: str


class ImageContent:
    """One image, by the digest of its manifest or index. Raises ``OSError`` where its content is not there (any more)."""

    def __init__(self, containerd_dir: Path, digest: str) -> None:
        self._blobs = containerd_dir / BLOBS
        self.index = digest
        self.manifest_digest, self.manifest = self._manifest(digest)
        self.config: Object = self._json(self.manifest["config"]["digest"])

    def _path(self, digest: str) -> Path:
        algorithm, _, name = digest.partition(":")
        return self._blobs / algorithm / name

    def _json(self, digest: str) -> Any:
        return orjson.loads(self._path(digest).read_bytes())

    def _manifest(self, digest: str) -> tuple[str, Object]:
        """Return the manifest of this machine's platform."""
        found = self._json(digest)
        if "manifests" not in found:
            return digest, found
        machine = MACHINES.get(platform.machine(), platform.machine())
        for one in found["manifests"]:
            where = one.get("platform") or {}
            if where.get("os", "linux") == "linux" and where.get("architecture", machine) == machine:
                return self._manifest(one["digest"])
        raise OSError(f"the image has nothing for {machine}")

    @property
    def layers(self) -> list[Layer]:
        return [Layer(one["digest"], one["size"], one["mediaType"]) for one in self.manifest["layers"]]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    def files(self, paths: Iterable[str]) -> dict[str, bytes | None]:
        """Return the content of regular files as the image has them, None for those it has not. Layers are read from the top,
        and no further than needed. Raises ``tarfile.TarError`` for a compression that Python does not know."""
        found: dict[str, bytes | None] = {}
        wanted = set(paths)
        for layer in reversed(self.layers):
            if not wanted:
                break
            content, hidden = read_layer(self._path(layer.digest), wanted)
            found |= content | dict.fromkeys(hidden - content.keys())
            wanted -= found.keys()
        return {path: found.get(path) for path in paths}

    def user(self) -> ImageUser:
        """Return what the image says of users; its files are unknown where their layer cannot be read."""
        named = (self.config.get("config") or {}).get("User") or ""
        try:
            files = self.files(("etc/passwd", "etc/group"))
        except (tarfile.TarError, OSError):
            return ImageUser(named)
        passwd, group = ((files[path] or b"").decode(errors="replace") for path in files)
        return ImageUser(named, passwd, group)


def read_layer(path: Path, wanted: Iterable[str]) -> tuple[dict[str, bytes | None], set[str]]:
    """Return the wanted files of a layer, and which of them it hides in the layers below."""
    names = set(wanted)
    marks = {mark for name in names for mark in whiteouts(name)}
    found: dict[str, bytes | None] = {}
    hidden: set[str] = set()
    with tarfile.open(path, "r:*") as archive:
        for member in archive:
            name = member.name.removeprefix("./").lstrip("/")
            if name in names:
                file = archive.extractfile(member) if member.isreg() else None
                found[name] = file.read() if file is not None else None
            elif name in marks:
                hidden |= {one for one in names if name in whiteouts(one)}
            if found.keys() == names:
                break
    return found, hidden


def whiteouts(path: str) -> list[str]:
    """Return the entries of a layer that hide a file of the layers below: its own, its folders', opaque folders."""
    parts = path.split("/")
    marks = []
    for depth, part in enumerate(parts):
        folder = "/".join(parts[:depth])
        prefix = f"{folder}/" if folder else ""
        marks += [f"{prefix}.wh.{part}", f"{prefix}{OPAQUE}"]
    return marks
