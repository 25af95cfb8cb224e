"""Small container images made in pure Python: files in, a Docker archive out.

Used for the pause image (a static ``catatonit -P``), for tests, and wherever a registry is out of reach. Equal files give
equal bytes: times are zero, entries sorted. Source: Docker image specification 1.2 (``manifest.json``), tar (ustar).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One entry of the image: content, or where a symbolic link leads."""

    content: bytes = b""
    mode: int = 0o644
    link: str = ""


@dataclass(frozen=True, slots=True)
class ImageConfig:
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/"
    user: str = ""


def layer(files: Mapping[str, ImageFile]) -> bytes:
    """Return the tar of one layer, parent directories included."""
    folders = {str(parent) for name in files for parent in PurePosixPath(name).parents} - {".", "/"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name in sorted({*folders, "tmp"}):
            if name not in files:
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
                archive.addfile(entry)
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.mode = file.mode
            if file.link:
                entry.type, entry.linkname = tarfile.SYMTYPE, file.link
                archive.addfile(entry)
            else:
                entry.size = len(file.content)
                archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def docker_archive(path: Path, names: Iterable[str], files: Mapping[str, ImageFile], config: ImageConfig) -> None:
    """Write a Docker archive with one layer to ``path``, under full names (``docker.io/library/web:1``)."""
    content = layer(files)
    diff_id = hashlib.sha256(content).hexdigest()
    image = {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": list(config.entrypoint) or None,
            "Cmd": list(config.command) or None,
            "Env": [f"{key}={value}" for key, value in config.environment.items()],
            "WorkingDir": config.working_dir,
            "User": config.user,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "sampan"}],
        "created": "1970-01-01T00:00:00Z",
    }
    description = json.dumps(image, sort_keys=True).encode()
    digest = hashlib.sha256(description).hexdigest()
    manifest = [{"Config": f"{digest}.json", "RepoTags": list(names), "Layers": [f"{diff_id}/layer.tar"]}]
    entries = {
        f"{digest}.json": ImageFile(description),
        f"{diff_id}/layer.tar": ImageFile(content),
        "manifest.json": ImageFile(json.dumps(manifest).encode()),
    }
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, file in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(file.content)
            archive.addfile(entry, io.BytesIO(file.content))


def architecture() -> str:
    """Return this machine's architecture as OCI names it."""
    import platform

    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
