"""subPath and subPathExpr: a part of a volume, mounted so that nothing in the volume can lead out of it.

The path is opened with RESOLVE_BENEATH, what is missing is made step by step in the folders that were opened, and what was
opened is bind-mounted by its descriptor at a place of ours: a link that is swapped in between is never followed.
Source: openat2(2); kubernetes pkg/volume/util/subpath (its layout ``volume-subpaths/VOLUME/CONTAINER/INDEX``).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from sampan.node import mounts
from sampan.node.volumes.volume import VolumeError

PATH_ONLY = os.O_PATH | os.O_CLOEXEC


def bind(volume: Path, sub_path: str, target: Path) -> Path:
    """Bind a file or folder of a volume at ``target``; return that. Raises ``VolumeError`` for what leads out."""
    root = os.open(volume, PATH_ONLY)
    try:
        found = open_or_make(root, sub_path)
        try:
            _place(found, target)
            mounts.bind(f"/proc/self/fd/{found}", target)
        finally:
            os.close(found)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise VolumeError(f'subPath "{sub_path}" not within volume path') from error
        raise VolumeError(f'failed to prepare subPath "{sub_path}": {error.strerror}') from error
    finally:
        os.close(root)
    return target


def open_or_make(root: int, sub_path: str) -> int:
    """Return a descriptor of a path below ``root``; folders that are missing are made with the root's mode."""
    parts = PurePosixPath(sub_path).parts
    if not parts or PurePosixPath(sub_path).is_absolute() or ".." in parts:
        raise OSError(errno.EXDEV, "not below the volume", sub_path)
    there, current = len(parts), -1
    while current < 0:
        try:
            current = mounts.open_beneath(root, "/".join(parts[:there]) or ".", PATH_ONLY)
        except FileNotFoundError:
            there -= 1
    mode = stat.S_IMODE(os.fstat(root).st_mode)
    for part in parts[there:]:
        try:
            os.mkdir(part, dir_fd=current)
            made = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=current)
        finally:
            os.close(current)
        os.fchmod(made, mode)
        _inherit(root, made)
        current = made
    return current


def _inherit(root: int, made: int) -> None:
    """A folder made in a volume that belongs to a group belongs to it, too."""
    found = os.fstat(root)
    if found.st_mode & stat.S_ISGID:
        os.chown(made, -1, found.st_gid)


def _place(found: int, target: Path) -> None:
    """Make an empty place of the same sort, with nothing mounted on it."""
    while mounts.is_mounted(target):
        mounts.unmount(target)
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    folder = stat.S_ISDIR(os.fstat(found).st_mode)
    if target.exists() and target.is_dir() != folder:
        target.rmdir() if target.is_dir() else target.unlink()
    if folder:
        target.mkdir(exist_ok=True)
    else:
        target.touch()
