"""The bytes of a log file at an offset: of an open descriptor, or of what a ``.gz`` has inside."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Protocol


class Content(Protocol):
    def read(self, size: int, offset: int) -> bytes:
        """Return up to ``size`` bytes from ``offset``, ``b""`` where there are none (yet). Raises ``OSError``."""

    def size(self) -> int | None:
        """Return how long it is now, None where that is not known without reading."""

    def close(self) -> None: ...


class Plain:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, size: int, offset: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def size(self) -> int | None:
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        os.close(self._descriptor)


class Gzip:
    """Offsets are those of the content. A file that is still being written, or is broken, ends where it can be read to."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._file: gzip.GzipFile | None = None

    def read(self, size: int, offset: int) -> bytes:
        if self._file is None:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            self._file = gzip.GzipFile(fileobj=os.fdopen(self._descriptor, "rb", closefd=False))
        try:
            self._file.seek(offset)
            return self._file.read1(size)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self._file = None  # from the beginning, when there is more of it
            return b""

    def size(self) -> int | None:
        return None

    def close(self) -> None:
        os.close(self._descriptor)


def open_content(path: str) -> tuple[Content, tuple[int, int]]:
    """Open a file; return its content and ``(device, inode)``. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(descriptor)
    content: Content = Gzip(descriptor) if os.pread(descriptor, 2, 0) == b"\x1f\x8b" else Plain(descriptor)
    return content, (status.st_dev, status.st_ino)
