"""One log file, from where it was read to: its bytes in, its records out, whatever happens to its name.

A file is known by device and inode and by its first bytes: an inode that is used again is another file, and so is one that
was truncated and written anew. Bytes are taken in whole lines; what has come of a line without its end waits.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import cbor2

from sampan.logs.account import Account
from sampan.logs.assembling import Assembled, Assembler, Joins
from sampan.logs.joining import Joiner
from sampan.logs.reading.content import Content
from sampan.logs.reading.formats import FORMATS, detect
from sampan.logs.reading.ledger import Position

CHUNK = 1 << 18
FINGERPRINT_BYTES = 1024
LONGEST_ENTRY = 1 << 21
"""Bytes of an entry that are waited for; of a longer one pieces go on."""


class LogFile:
    """``read`` until it returns None: then there is no more for now."""

    def __init__(
        self,
        path: str,
        content: Content,
        key: tuple[int, int],
        make_joiner: Callable[[], Joins] = Joiner,
        format: str = "",
    ) -> None:
        self.path, self.key, self.real = path, key, os.path.realpath(path)
        self.content = content
        self.format = format
        self.assembler = Assembler(make_joiner)
        self.offset = 0
        self.account = Account()
        self.changed_at = time.monotonic()
        """When bytes last came."""
        self.gone_at: float | None = None
        """Since when no path leads here."""
        self.dirty = True
        """Whether there may be more to read."""
        self.fingerprint = content.read(FINGERPRINT_BYTES, 0)
        self._rest = b""
        self._torn: tuple[bytes, bytes, bytes] | None = None
        """Time, stream and tag of an entry whose pieces go on."""

    def resume(self, position: Position) -> None:
        """Go on from where an earlier reader (before a restart, or of the file that this is a copy of) was."""
        self.offset = position.offset
        if position.held:
            self.format, torn, assembled = cbor2.loads(position.held)
            self._torn = tuple(torn) if torn else None
            self.assembler.restore(assembled)
            self.account.resumed_bytes += self.assembler.held_bytes

    def position(self) -> Position:
        held: Any = b""
        if self.offset:
            held = cbor2.dumps((self.format, self._torn, self.assembler.save()))
        return Position(*self.key, self.path, self.fingerprint, self.offset, held)

    @property
    def unread(self) -> bool:
        return bool(self._rest)

    def truncated(self) -> bool:
        """Whether the file no longer is what was read: shorter, or it begins with something else."""
        size = self.content.size()
        if size is None:
            return False
        if size < self.offset + len(self._rest):
            return True
        if len(self.fingerprint) < FINGERPRINT_BYTES:
            grown = self.content.read(FINGERPRINT_BYTES, 0)
            changed, self.fingerprint = not grown.startswith(self.fingerprint), grown
            return changed
        return self.content.read(FINGERPRINT_BYTES, 0) != self.fingerprint

    def begin_anew(self, *, lost_rest: bool) -> list[Assembled]:
        """Take the file as a new one from its beginning. With ``lost_rest`` the unfinished last line is let go as it is."""
        last = self.finish() if lost_rest else self.assembler.flush("end")
        self.offset, self._rest, self._torn = 0, b"", None
        self.fingerprint = self.content.read(FINGERPRINT_BYTES, 0)
        return last

    def read(self) -> list[Assembled] | None:
        """Read a chunk; return the records that it made whole, None where there is nothing new. Raises ``OSError``."""
        data = self.content.read(CHUNK, self.offset + len(self._rest))
        if not data:
            self.dirty = False
            return None
        self.changed_at = time.monotonic()
        if self._torn is None:
            return self._take(data)
        piece, newline, after = data.partition(b"\n")
        found = self._go_on(piece, ends=bool(newline))
        return found + self._take(after) if after else found

    def _take(self, data: bytes) -> list[Assembled]:
        end = data.rfind(b"\n") + 1
        if not end:
            self._rest += data
            return self._tear() if len(self._rest) > LONGEST_ENTRY else []
        whole, self._rest = self._rest + data[:end], data[end:]
        self.offset += len(whole)
        return self._feed(whole)

    def _feed(self, whole: bytes) -> list[Assembled]:
        if not self.format:
            self.format = detect(whole)
        found = self.assembler.feed_chunk(self.format, whole)
        self.account.read_bytes += len(whole)
        self.account.overhead_bytes += self.assembler.take_overhead()
        return found

    def _tear(self) -> list[Assembled]:
        """Let the first piece of a very long entry go on."""
        if not self.format:
            self.format = detect(self._rest)
        [(moment, stream, tag, content)] = FORMATS[self.format](self._rest + b"\n")
        if self.format == "plain":
            content = self._rest  # a carriage return at its end is in the line's midst
        self._account(len(self._rest), content)
        self._rest, self._torn = b"", (moment, stream, tag)
        return self.assembler.feed([(moment, stream, b"P", content)])

    def _go_on(self, piece: bytes, *, ends: bool) -> list[Assembled]:
        assert self._torn is not None
        moment, stream, tag = self._torn
        self._account(len(piece) + ends, piece)
        if ends:
            self._torn = None
        return self.assembler.feed([(moment, stream, tag if ends else b"P", piece)])

    def _account(self, size: int, content: bytes) -> None:
        self.offset += size
        self.account.read_bytes += size
        self.account.overhead_bytes += size - len(content)

    @property
    def lag_bytes(self) -> int:
        """How much of the file has not been read, as far as that is known."""
        return max((self.content.size() or 0) - self.offset, 0)

    def finish(self) -> list[Assembled]:
        """Return what is left: nothing more comes."""
        last: list[Assembled] = []
        if self._rest:
            rest, self._rest = self._rest, b""
            self.offset += len(rest)
            last = self._feed(rest + b"\n")
            self.account.read_bytes -= 1
            self.account.overhead_bytes -= 1
        return last + self.assembler.flush("end")

    def close(self) -> None:
        self.content.close()
