"""Records that an output fails at, by a fault of ours: put aside in a file of JSON lines, so that they are lost to nobody and
hold back nobody else. Each has what ``json:`` outputs write, and at which output and where in the code that failed.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import orjson

from sampan.logs.log_record import Delivery
from sampan.logs.outputs.durable import sync_folder, write_at
from sampan.logs.outputs.output import json_line

LIMIT_BYTES = 64 << 20


class Aside:
    """The file of one output: there is none until there is something in it."""

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path, self._limit = path, limit_bytes

    async def put(self, output: str, delivery: Delivery, fault: str) -> bool:
        """Return whether the record is in the file for good: False where it is full, or cannot be written."""
        return await asyncio.to_thread(self._put, line_of(output, delivery, fault))

    def _put(self, line: bytes) -> bool:
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            size = os.fstat(descriptor).st_size
            if size and size + len(line) > self._limit:
                return False
            try:
                write_at(descriptor, line, size)
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                return False
            if new:
                sync_folder(self.path.parent)
            return True
        finally:
            os.close(descriptor)


def line_of(output: str, delivery: Delivery, fault: str) -> bytes:
    """Return a record as a line of JSON, whatever it is that is wrong with it."""
    labels, record, observed, fields = delivery
    why = b'{"output":%b,"fault":%b,' % (orjson.dumps(output), orjson.dumps(fault))
    try:
        return why + json_line(delivery)[1:]
    except Exception:
        try:
            found = repr({name: getattr(fields, name) for name in ("attributes", "severity_text", "event_name")})
        except Exception:
            found = ""
        more = {"fields": found.encode("utf-8", "replace").decode()} if fields is not None and found else {}
        return why + orjson.dumps(more)[1:-1] + b"," * bool(more) + json_line((labels, record, observed, None))[1:]
