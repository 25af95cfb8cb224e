"""fsGroup: a volume belongs to the pod's group, so that its processes may write there whatever user they are.

Everything gets the group, and the group what the owner has at least for it (read, write; folders: enter and setgid).
With ``OnRootMismatch`` a volume whose root is right is left alone. Source: kubernetes pkg/volume (SetVolumeOwnership).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

READ_WRITE, READ_ONLY, ENTER = 0o660, 0o440, 0o110


def give_to_group(root: Path, group: int, *, read_only: bool = False, policy: str = "Always") -> None:
    """Give a folder and everything in it to a group. Links are changed themselves, never what they point to."""
    if policy == "OnRootMismatch" and is_right(root.stat(), group, read_only):
        return
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            _change(Path(folder, name), group, read_only)
    _change(root, group, read_only)  # last: a walk that was cut off is seen at the root, and begun again


def is_right(found: os.stat_result, group: int, read_only: bool) -> bool:
    wanted = _mask(found.st_mode, read_only)
    return found.st_gid == group and found.st_mode & wanted == wanted


def _mask(mode: int, read_only: bool) -> int:
    mask = READ_ONLY if read_only else READ_WRITE
    return mask | stat.S_ISGID | ENTER if stat.S_ISDIR(mode) else mask


def _change(path: Path, group: int, read_only: bool) -> None:
    found = path.lstat()
    if found.st_gid != group:
        os.lchown(path, -1, group)
    wanted = _mask(found.st_mode, read_only)
    if not stat.S_ISLNK(found.st_mode) and (found.st_mode & wanted != wanted or found.st_gid != group):
        path.chmod(stat.S_IMODE(found.st_mode) | wanted)
