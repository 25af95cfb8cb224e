"""mount(2), umount2(2), openat2(2) and the list of what is mounted, in this process's mount namespace.

Source: mount(2), openat2(2), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC = 32, 4096, 16384
MS_PRIVATE, MS_SLAVE, MS_SHARED = 1 << 18, 1 << 19, 1 << 20
MNT_DETACH = 2
OPENAT2 = 437
"""The number of the system call on every architecture."""
RESOLVE_NO_MAGICLINKS, RESOLVE_BENEATH = 0x02, 0x08
EBUSY, EINVAL = 16, 22
OCTAL = re.compile(r"\\([0-7]{3})")

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _raise(what: str, path: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, f"{what}: {os.strerror(number)}", path)


def mount(source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
    arguments = [value.encode() if value else None for value in (source, str(target), kind)]
    if _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() if options else None) != 0:
        _raise(f"mount {kind or source}", str(target))


def bind(source: Path | str, target: Path, *, read_only: bool = False) -> None:
    """Show a file or folder at another place, what is mounted below it included."""
    mount(str(source), target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def unmount(target: Path) -> None:
    """Unmount the topmost mount of a path; one that is busy goes when its last user does."""
    if _libc.umount2(os.fsencode(target), 0) == 0:
        return
    if ctypes.get_errno() != EBUSY or _libc.umount2(os.fsencode(target), MNT_DETACH) != 0:
        _raise("umount", str(target))


@dataclass(frozen=True, slots=True)
class Mount:
    point: str
    root: str
    kind: str
    source: str
    device: str
    """``major:minor``."""


def listed(part: str = "") -> list[Mount]:
    """Return what is mounted, in the order it was mounted; only lines that ``part`` occurs in are looked at."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        if part not in line:
            continue
        fields = line.split(" ")
        tail = fields[fields.index("-") + 1 :]
        found.append(Mount(_plain(fields[4]), _plain(fields[3]), tail[0], _plain(tail[1]), fields[2]))
    return found


def _plain(text: str) -> str:
    return OCTAL.sub(lambda match: chr(int(match[1], 8)), text)


def below(folder: Path) -> list[Mount]:
    """Return what is mounted at a folder or below it, the latest first: the order to unmount it in."""
    whole, prefix = str(folder), f"{folder}/"
    return [one for one in reversed(listed(folder.name)) if one.point == whole or one.point.startswith(prefix)]


def is_mounted(path: Path) -> bool:
    """Whether something is mounted on a path: it is then of another mount than the folder it is in."""
    try:
        return _mount_id(path) != _mount_id(path.parent)
    except FileNotFoundError:
        return False


def _mount_id(path: Path) -> str:
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    finally:
        os.close(descriptor)
    return next(line for line in text.splitlines() if line.startswith("mnt_id:"))


def unmount_below(folder: Path) -> None:
    """Unmount everything at a folder and below it. Raises ``OSError`` for what stays mounted."""
    found = below(folder)
    for one in found:
        unmount(Path(one.point))
    left = below(folder) if found else []
    if left:
        raise OSError(EBUSY, "still mounted", left[0].point)


def open_beneath(root: int, path: str, flags: int) -> int:
    """Open a path that cannot leave the folder ``root`` (a descriptor), neither by ``..`` nor by a symbolic link.

    Raises ``OSError`` with EXDEV where it would."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    descriptor = _libc.syscall(OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how))
    if descriptor < 0:
        _raise("open", path)
    return int(descriptor)
