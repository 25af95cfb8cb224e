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
from sampan.logs.reading.encodings import UTF8, Encoding, of_mark
from sampan.logs.reading.formats import FORMATS, detect
from sampan.logs.reading.ledger import Position

CHUNK = 1 << 18
FINGERPRINT_BYTES = 1024
LONGEST_ENTRY = 1 << 21
"""Bytes of an entry that are waited for; of a longer one pieces go on."""


LEAST_HOLE = 64
"""So many NULs at the beginning of a line are no text: a file was truncated, and its writer went on where it was."""


class LogFile:
    """``read`` until it returns None: then there is no more for now."""

    def __init__(
        self,
        path: str,
        content: Content,
        key: tuple[int, int],
        make_joiner: Callable[[], Joins] = Joiner,
        format: str = "",
        encoding: Encoding | None = None,
    ) -> None:
        """``encoding``: None for UTF-8, or what the file's mark says."""
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
        self._encoding_known = encoding is not None
        self.encoding = encoding or of_mark(self.fingerprint) or UTF8
        self._rest = b""
        self._hole_end = -1
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
        self.offset, self._rest, self._torn, self._hole_end = 0, b"", None, -1
        self.fingerprint = self.content.read(FINGERPRINT_BYTES, 0)
        return last

    def read(self) -> list[Assembled] | None:
        """Read a chunk; return the records that it made whole, None where there is nothing new. Raises ``OSError``."""
        data = self.content.read(CHUNK, self.offset + len(self._rest))
        if not data:
            self.dirty = False
            return None
        self.changed_at = time.monotonic()
        if not self.offset and not self._encoding_known:
            self.encoding = of_mark(self._rest + data[:FINGERPRINT_BYTES]) or UTF8
        if data[:1] == b"\0":
            data = self._without_hole(data)
        return self._go_on(data) if self._torn is not None else self._take(data)

    def _without_hole(self, data: bytes) -> bytes:
        """Return data without the NULs that stand at the beginning of a file that was truncated under its writer's hands."""
        if self._rest or self._torn is not None or self.encoding.unit > 1:
            return data
        size = len(data) - len(data.lstrip(b"\0"))
        if size < LEAST_HOLE and self.offset != self._hole_end:
            return data
        self._account(size, 0)
        self._hole_end = self.offset
        return data[size:]

    def _take(self, data: bytes) -> list[Assembled]:
        data = self._rest + data if self._rest else data
        end = self.encoding.after_last_line(data)
        if not end:
            self._rest = data
            return self._tear() if len(self._rest) > LONGEST_ENTRY else []
        whole, self._rest = data[:end], data[end:]
        return self._feed(whole)

    def _feed(self, whole: bytes, missing: bytes = b"") -> list[Assembled]:
        """Take whole lines; ``missing`` is the last one's end, where it has none."""
        lines = self._utf8(whole) + missing
        if not self.format:
            self.format = detect(lines)
        found = self.assembler.feed_chunk(self.format, lines)
        self.offset += len(whole)
        self.account.read_bytes += len(lines) - bool(missing)
        self.account.overhead_bytes += self.assembler.take_overhead() - bool(missing)
        return found

    def _utf8(self, data: bytes) -> bytes:
        return data if self.offset and self.encoding is UTF8 else self.encoding.utf8(data, first=not self.offset)

    def _tear(self) -> list[Assembled]:
        """Let the first piece of a very long entry go on."""
        size = self.encoding.whole(self._rest)
        text = self._utf8(self._rest[:size])
        if not self.format:
            self.format = detect(text)
        [(moment, stream, tag, content)] = FORMATS[self.format](text + b"\n")
        if self.format == "plain":
            content = text  # a carriage return at its end is in the line's midst
        self._account(size, len(content), len(text))
        self._rest, self._torn = self._rest[size:], (moment, stream, tag)
        return self.assembler.feed([(moment, stream, b"P", content)])

    def _go_on(self, data: bytes) -> list[Assembled]:
        """Take the next piece of a very long entry, and what comes after it."""
        assert self._torn is not None
        moment, stream, tag = self._torn
        data = self._rest + data if self._rest else data
        size, after = self.encoding.first_line(data)
        ends = size >= 0
        if not ends:
            size = after = self.encoding.whole(data)
        piece = self._utf8(data[:size])
        self._rest = b""
        self._account(after, len(piece), len(piece) + ends)
        self._torn = None if ends else self._torn
        found = self.assembler.feed([(moment, stream, tag if ends else b"P", piece)])
        if not ends:
            self._rest = data[size:]
            return found
        return found + self._take(data[after:]) if data[after:] else found

    def _account(self, size: int, content: int, as_utf8: int = -1) -> None:
        """Take in that so many bytes of the file were read, with so many of text."""
        self.offset += size
        size = size if as_utf8 < 0 else as_utf8
        self.account.read_bytes += size
        self.account.overhead_bytes += size - content

    @property
    def lag_bytes(self) -> int:
        """How much of the file has not been read, as far as that is known."""
        return max((self.content.size() or 0) - self.offset, 0)

    def finish(self) -> list[Assembled]:
        """Return what is left: nothing more comes."""
        last: list[Assembled] = []
        if self._rest:
            rest, self._rest = self._rest, b""
            if self._torn is not None:  # the beginning of a character
                text = self._utf8(rest)
                self._account(len(rest), len(text), len(text))
                last = self.assembler.feed([(*self._torn[:2], b"P", text)])
            else:
                last = self._feed(rest, b"\n")
        return last + self.assembler.flush("end")

    def close(self) -> None:
        self.content.close()
