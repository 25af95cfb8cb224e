"""Files of JSON lines or text, and stdout.

A file's mark is its length: after a crash it is cut back to what was committed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from sampan.logs.outputs.durable import sync_folder, write_at
from sampan.logs.outputs.lines import lines
from sampan.logs.outputs.options import Options
from sampan.logs.outputs.output import Batch, Delivery, Gone, Output, Undelivered, json_line, text_line


class File:
    def __init__(self, path: Path, line: Callable[[Delivery], bytes], name: str = "") -> None:
        self.name, self._path, self._line = name or f"file:{path.absolute()}", path, line
        self.as_json = line is json_line
        self._descriptor = -1
        self._length = 0

    async def open(self, mark: int | None) -> int:
        """Raises ``OSError``."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = not self._path.exists()
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        if new:
            sync_folder(
                self._path.parent
            )  # or a machine that loses its power has lost it, and what is committed with it
        self._length = os.fstat(self._descriptor).st_size
        if mark is not None and mark < self._length:
            os.ftruncate(self._descriptor, mark)
            self._length = mark
        return self._length

    async def deliver(self, batch: Batch) -> int:
        data = lines(batch, self._line)
        try:
            await asyncio.to_thread(self._write, data)
        except OSError as error:  # a full disk, say: what was written of it is written over
            raise Undelivered(f"{self._path}: {error.strerror}") from error
        self._length += len(data)
        return self._length

    def _write(self, data: bytes) -> None:
        write_at(self._descriptor, data, self._length)
        os.fdatasync(self._descriptor)

    async def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class Stdout:
    """What a reader of stdout does with it nobody knows: it has no mark."""

    def __init__(self, line: Callable[[Delivery], bytes], name: str = "") -> None:
        self.name, self._line = name or "stdout", line
        self.as_json = line is json_line

    async def open(self, mark: int | None) -> int:
        return 0

    async def deliver(self, batch: Batch) -> int:
        data = lines(batch, self._line)
        try:
            await asyncio.to_thread(self._write, data)
        except BrokenPipeError as error:
            raise Gone("nobody reads stdout any more") from error
        except OSError as error:
            raise Undelivered(f"{self.name}: {error.strerror}") from error
        return 0

    def _write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    async def close(self) -> None:
        pass


def make(name: str, options: Options) -> Output:
    """Return the output of type ``json`` or ``text`` to ``path`` (``-``: stdout). Raises ``OptionError``."""
    line = {"json": json_line, "text": text_line}[options.text("type")]
    path = options.needed("path")
    return Stdout(line, name) if path == "-" else File(Path(path), line, name)
