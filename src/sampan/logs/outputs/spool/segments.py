"""The files of a spool: frames appended to segments, read in order, segments deleted when all in them is acknowledged.

A record has a number, which is never used again. A frame holds some records after each other, with a checksum; it is on the
disk when ``append`` returns. A segment is called after the number of its first record. Where the last frame is torn, as a
crash leaves it, it is cut off: nobody was told that it is there. ``position`` says what is acknowledged, and what was being
sent: that is sent again as the same request.

Everything here blocks (disk); one thread at a time calls it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import secrets
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from sampan.logs.outputs.durable import sync_folder, write_at

logger = logging.getLogger("sampan.logs")

FRAME = struct.Struct("<4sIIQI")
"""Magic, bytes of the payload, checksum of the payload and of what follows here, number of the first record, records."""
MAGIC = b"SPL1"
POSITION = struct.Struct("<QQI")
SUFFIX = ".spool"
NAME = re.compile(r"\d{20}\.spool")
SEGMENT_BYTES = 16 << 20
FEWEST_SEGMENTS = 8
"""A spool's limit is so many segments at least: disk comes free again in such steps."""


class SpoolError(OSError):
    """The spool cannot be used."""


class Damaged(Exception):
    """Records that were there cannot be read: ``count`` of them. Reading goes on after them."""

    def __init__(self, path: Path, count: int) -> None:
        super().__init__(f"{path} is damaged: {count} records in it are lost")
        self.count = count


class Frame(NamedTuple):
    first: int
    records: int
    payload_bytes: int
    payload: bytes = b""

    @property
    def end(self) -> int:
        return self.first + self.records

    @property
    def size(self) -> int:
        return FRAME.size + self.payload_bytes


class Segment:
    """One file: records ``first`` up to ``end``, ``size`` bytes of whole frames."""

    def __init__(self, path: Path, first: int) -> None:
        self.path, self.first, self.end, self.size = path, first, first, 0


class Segments:
    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._segment_bytes = max(min(SEGMENT_BYTES, limit_bytes // FEWEST_SEGMENTS), 1)
        self._segments: list[Segment] = []
        self._writing = self._reading = self._position = self._lock = -1
        self._read_segment: Segment | None = None
        self._read_offset = 0
        self.end = self.acknowledged = self.sending = 0
        """Numbers: the next record's; all below this were taken; up to here the last request went."""
        self.read_to = 0
        self.identity = ""
        """Of this spool: with a record's number, an id that no other record has."""

    # -- opening

    def open(self, mark: int | None) -> int:
        """Find what is there; forget records from ``mark`` on (None: keep all). Return the next record's number.
        Raises ``OSError``."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = -1
            raise SpoolError(error.errno, f"another agent uses the spool {self._folder}") from error
        self._identify()
        self._open_position()
        self._find()
        if mark is not None:
            self._cut(max(mark, self.acknowledged))  # a number that was sent is not used again
        self.sending = min(max(self.sending, self.acknowledged), self.end)
        self.read_to = self.acknowledged
        self._keep()  # while there is room: later it is written over
        self._drop_acknowledged()
        return self.end

    def _identify(self) -> None:
        path = self._folder / "identity"
        if not path.exists() or not path.read_text().strip():  # a machine that lost its power leaves it empty
            new = path.with_suffix(".new")
            with new.open("w") as file:
                file.write(secrets.token_hex(8))
                file.flush()
                os.fsync(file.fileno())
            new.rename(path)
            sync_folder(self._folder)
        self.identity = path.read_text().strip()

    def _open_position(self) -> None:
        self._position = os.open(self._folder / "position", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        content = os.pread(self._position, POSITION.size, 0)
        if len(content) == POSITION.size:
            acknowledged, sending, check = POSITION.unpack(content)
            if check == zlib.crc32(content[:16]):
                self.acknowledged, self.sending = acknowledged, sending

    def _find(self) -> None:
        names = sorted(entry.name for entry in os.scandir(self._folder) if NAME.fullmatch(entry.name))
        for name in names:
            path = self._folder / name
            frames = list(frames_of(path, int(name.removesuffix(SUFFIX))))
            if name == names[-1] and frames and not is_sound(path, sum(frame.size for frame in frames[:-1])):
                frames.pop()
            segment = Segment(path, int(name.removesuffix(SUFFIX)))
            if frames:
                segment.end, segment.size = frames[-1].end, sum(frame.size for frame in frames)
            torn = path.stat().st_size - segment.size
            if torn and name == names[-1]:
                os.truncate(path, segment.size)
                logger.info("%s: %d bytes of a frame that is not whole are cut off", path, torn)
            self._segments.append(segment)
        self.end = max(self._segments[-1].end if self._segments else 0, self.acknowledged)

    def _cut(self, mark: int) -> None:
        while self._segments and self._segments[-1].first >= mark:
            self._segments.pop().path.unlink()
        if self._segments and self._segments[-1].end > mark:
            segment = self._segments[-1]
            kept = [frame for frame in frames_of(segment.path, segment.first) if frame.end <= mark]
            segment.end, segment.size = kept[-1].end if kept else segment.first, sum(frame.size for frame in kept)
            os.truncate(segment.path, segment.size)
        self.end = mark

    # -- writing

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self._segments)

    def has_room(self, payload_bytes: int) -> bool:
        """Whether a frame fits. Into an empty spool every one does."""
        return self.acknowledged == self.end or self.size + payload_bytes + FRAME.size <= self._limit

    def append(self, payload: bytes, count: int) -> int:
        """Write a frame, durably; return the next record's number. Raises ``OSError``, and then nothing of it is there."""
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.size >= self._segment_bytes or segment.end != self.end or self._writing < 0:
            segment = self._begin(segment)
        frame = frame_bytes(payload, self.end, count)
        try:
            at = write_at(self._writing, frame, segment.size)
            os.fdatasync(self._writing)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._writing, segment.size)
            os.close(self._writing)
            self._writing = -1  # a segment that nobody writes to goes when all in it is acknowledged
            self._drop_acknowledged()
            raise
        self.end += count
        segment.end, segment.size = self.end, at
        return self.end

    def _begin(self, last: Segment | None) -> Segment:
        """Open the segment that is written to: the last one, or a new one."""
        if self._writing >= 0:
            os.close(self._writing)
            self._writing = -1
        if last is not None and last.size < self._segment_bytes and last.end == self.end:
            self._writing = os.open(last.path, os.O_WRONLY | os.O_CLOEXEC)
            return last
        segment = Segment(self._folder / f"{self.end:020}{SUFFIX}", self.end)
        self._writing = os.open(segment.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        sync_folder(self._folder)
        self._segments.append(segment)
        return segment

    # -- reading

    def read(self, until: int) -> Frame | None:
        """Return the next frame that begins below a number, None where there is none. Raises ``Damaged``, ``OSError``."""
        while self.read_to < until:
            segment = next((one for one in self._segments if one.end > self.read_to), None)
            if segment is None or segment.first > self.read_to:
                self._skip(self._folder, until if segment is None else segment.first)
            if segment is not self._read_segment:
                self._let_go()
                self._reading = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
                self._read_segment, self._read_offset = segment, 0
            head = read_head(self._reading, self._read_offset)
            if head is None or head.end > segment.end:
                self._skip(segment.path, segment.end)
            self._read_offset += head.size
            if head.end <= self.read_to:
                continue
            payload = os.pread(self._reading, head.payload_bytes, self._read_offset - head.payload_bytes)
            if not is_whole(head, payload, self._reading, self._read_offset - head.size):
                self._skip(segment.path, head.end)
            self.read_to = head.end
            return head._replace(payload=payload)
        return None

    def _skip(self, path: Path, to: int) -> NoReturn:
        lost, self.read_to = to - self.read_to, to
        raise Damaged(path, lost)

    def rewind(self) -> None:
        """Read again from what is not acknowledged. Every file that is read is opened anew."""
        self._let_go()
        self.read_to = self.acknowledged

    def _let_go(self) -> None:
        reading, self._reading, self._read_segment = self._reading, -1, None
        if reading >= 0:
            os.close(reading)

    def sends(self, until: int) -> None:
        """Keep up to which record a request goes, before it goes."""
        self.sending = until
        self._keep()

    def acknowledge(self, number: int) -> None:
        """Everything below a number was taken."""
        self.acknowledged = number
        self.sending = max(self.sending, number)
        self._keep()
        self._drop_acknowledged()

    def _keep(self) -> None:
        """Not synced: what a crash of the machine takes of it is sent again."""
        content = struct.pack("<QQ", self.acknowledged, self.sending)
        os.pwrite(self._position, content + struct.pack("<I", zlib.crc32(content)), 0)

    def _drop_acknowledged(self) -> None:
        done = [segment for segment in self._segments if segment.end <= self.acknowledged]
        if done and done[-1] is self._segments[-1] and self._writing >= 0:
            if done[-1].size < self._segment_bytes:
                done.pop()  # it is written to
            else:
                os.close(self._writing)
                self._writing = -1
        if not done:
            return
        os.fdatasync(self._position)  # the numbers go on from it when no segment tells them
        for segment in done:
            if segment is self._read_segment:
                self._let_go()
            self._segments.remove(segment)
            segment.path.unlink()

    def close(self) -> None:
        for descriptor in (self._writing, self._reading, self._position, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._writing = self._reading = self._position = self._lock = -1


def frame_bytes(payload: bytes, first: int, count: int) -> bytes:
    return FRAME.pack(MAGIC, len(payload), checksum(payload, first, count), first, count) + payload


def checksum(payload: bytes, first: int, count: int) -> int:
    return zlib.crc32(struct.pack("<QI", first, count), zlib.crc32(payload))


def read_head(descriptor: int, offset: int) -> Frame | None:
    """Return the frame at an offset without its payload, None where there is none."""
    head = os.pread(descriptor, FRAME.size, offset)
    if len(head) < FRAME.size:
        return None
    magic, size, _, first, count = FRAME.unpack(head)
    return Frame(first, count, size) if magic == MAGIC and count else None


def is_whole(frame: Frame, payload: bytes, descriptor: int, offset: int) -> bool:
    expected: int = FRAME.unpack(os.pread(descriptor, FRAME.size, offset))[2]
    return len(payload) == frame.payload_bytes and checksum(payload, frame.first, frame.records) == expected


def frames_of(path: Path, first: int) -> Iterator[Frame]:
    """Yield the frames at a file's beginning that follow each other and are there to their ends, without payloads."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        offset, there = 0, os.fstat(descriptor).st_size
        while (frame := read_head(descriptor, offset)) is not None and frame.first == first:
            offset += frame.size
            if offset > there:
                return
            yield frame
            first = frame.end
    finally:
        os.close(descriptor)


def is_sound(path: Path, offset: int) -> bool:
    """Whether the checksum of the frame at an offset is right."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        frame = read_head(descriptor, offset)
        if frame is None:
            return False
        payload = os.pread(descriptor, frame.payload_bytes, offset + FRAME.size)
        return is_whole(frame, payload, descriptor, offset)
    finally:
        os.close(descriptor)
