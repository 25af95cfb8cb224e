"""hostPath: a file or folder of the machine, checked or made as its type says. Source: kubernetes pkg/volume/hostpath."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from sampan.node.csi.paths import here
from sampan.node.volumes.volume import Mounted, Volume

TYPES: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "DirectoryOrCreate": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "FileOrCreate": ("a file", stat.S_ISREG),
    "Socket": ("a socket file", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


async def set_up(volume: Volume) -> Mounted:
    path = here(Path(volume.source["path"]), volume.context.kubelet_dir)
    try:
        problem = ready_or_why_not(path, volume.source.get("type") or "")
    except OSError as error:
        raise volume.error(error) from error
    if problem:
        raise volume.error(problem)
    return Mounted(path, read_only=volume.read_only)


def ready_or_why_not(path: Path, kind: str) -> str:
    """Make what may be made, then return why a path is not what its type says; ``""``: it is."""
    _make(path, kind)
    if kind and not (path.exists() and TYPES[kind][1](path.stat().st_mode)):
        return f"hostPath type check failed: {path} is not {TYPES[kind][0]}"
    return ""


def _make(path: Path, kind: str) -> None:
    """Make what is not there and may be made; without a type a folder, as container runtimes do."""
    if path.exists():
        return
    if kind in ("", "DirectoryOrCreate"):
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif kind == "FileOrCreate":  # its folder must be there
        path.touch(mode=0o644)
