"""What a machine that loses its power keeps."""

from __future__ import annotations

import os
from pathlib import Path


def write_at(descriptor: int, data: bytes, at: int) -> int:
    """Write all of it at a place in a file; return the place after it. Raises ``OSError``, and then a part may be there."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written
    return at


def sync_folder(folder: Path) -> None:
    """Return when the names in a folder are on the disk. Raises ``OSError``."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
