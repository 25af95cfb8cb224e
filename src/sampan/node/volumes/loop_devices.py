"""Loop devices: a file given out as a block device. Source: loop(4), linux/loop.h."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path

SET_FD, CLEAR_FD, SET_CAPACITY, GET_FREE = 0x4C00, 0x4C01, 0x4C07, 0x4C82
BLOCK = Path("/sys/block")
DELETED = " (deleted)"


def attached(file: Path) -> Path | None:
    """Return the device that a file is given out as; None: it is not."""
    return next((device for device, backing in devices() if backing == str(file)), None)


def devices() -> list[tuple[Path, str]]:
    """Return every loop device in use with the path of its file."""
    found = []
    for entry in sorted(BLOCK.glob("loop*")):
        with contextlib.suppress(OSError):
            backing = (entry / "loop" / "backing_file").read_text().rstrip("\n")
            found.append((Path("/dev") / entry.name, backing.removesuffix(DELETED)))
    return found


def attach(file: Path) -> Path:
    """Return the device of a file, a new one if it has none; its size is the file's of now."""
    device = attached(file)
    if device is not None:
        with open(device, "rb") as opened:
            fcntl.ioctl(opened, SET_CAPACITY)
        return device
    with open("/dev/loop-control", "rb") as control, open(file, "r+b") as backing:
        while True:
            number = fcntl.ioctl(control, GET_FREE)
            device = Path(f"/dev/loop{number}")
            if not device.exists():
                os.mknod(device, 0o660 | 0o060000, os.makedev(7, number))
            try:
                with open(device, "r+b", buffering=0) as opened:  # opened to read only, it would be read-only
                    fcntl.ioctl(opened, SET_FD, backing.fileno())
            except OSError as error:
                if error.errno != 16:  # EBUSY: somebody else took it between the two calls
                    raise
                continue
            return device


def detach(device: Path) -> None:
    """Let go of a device; one that is open goes with its last user."""
    with contextlib.suppress(OSError), open(device, "rb") as opened:
        fcntl.ioctl(opened, CLEAR_FD)


def detach_below(folder: Path) -> None:
    """Let go of all devices whose files are in a folder."""
    inside = re.compile(re.escape(f"{folder}/"))
    for device, backing in devices():
        if inside.match(backing):
            detach(device)
