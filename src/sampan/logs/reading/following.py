"""All files, followed: found, read, known again after a rename, held open until read to their end, let go.

A new inode in a folder may be the copy of a file that is followed (copytruncate, the kubelet's ``.gz``): same first bytes,
and a name that rotation gives. It waits until the other is truncated or gone, then only what that one has not seen is read
of it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cbor2

from sampan.logs.account import Account
from sampan.logs.assembling import Assembled, Assembler, Joins
from sampan.logs.reading.content import open_content
from sampan.logs.reading.encodings import Encoding
from sampan.logs.reading.file import LogFile
from sampan.logs.reading.finding import Roots, alike, is_rotated
from sampan.logs.reading.ledger import Position

logger = logging.getLogger("sampan.logs")

LINGER_SECONDS = 5.0
"""How long a file without a name is held at its end: a writer may not have noticed yet."""
SETTLING_SECONDS = 2.0
"""A ``.gz`` that was written to just now is looked at later."""
TELLING_BYTES = 64
"""First bytes that are too few tell nothing about whose copy a file is."""
MOST_REMEMBERED = 5000
"""Files that were let go and are remembered, for what may be a copy of one. The ledger has more of them."""
Key = tuple[int, int]


def place_of(path: str, fingerprint: bytes) -> tuple[str, bytes]:
    """Return what a file has in common with its copies."""
    return os.path.dirname(path), fingerprint[:TELLING_BYTES]  # noqa: PTH120 - thousands of them


class Left:
    """What was held of a file that went away while no agent ran."""

    def __init__(self, position: Position, account: Account) -> None:
        self.path, self.key, self._position = position.path, (position.device, position.inode), position
        self.account = account

    def position(self) -> Position:
        return self._position._replace(held=b"")


class Read(NamedTuple):
    file: LogFile | Left
    records: list[Assembled]


class Following:
    """``scan`` looks for files, ``read`` takes what there is. Both are quick, and do no more than the file system asks."""

    def __init__(
        self,
        roots: Roots,
        positions: Iterable[Position] = (),
        *,
        make_joiner: Callable[[str], Callable[[], Joins]],
        format: str = "",
        encoding_of: Callable[[str], Encoding | None] = lambda _: None,
        linger_seconds: float = LINGER_SECONDS,
        settling_seconds: float = SETTLING_SECONDS,
    ) -> None:
        self._roots, self._make, self._format, self._linger = roots, make_joiner, format, linger_seconds
        self._encoding_of = encoding_of
        self._positions: dict[Key, Position] = {(position.device, position.inode): position for position in positions}
        """Where files are that are not open."""
        self.files: dict[Key, LogFile] = {}
        self.gone = Account()
        """Of files that are followed no more."""
        self._by_real: dict[str, LogFile] = {}
        self._waiting: dict[Key, tuple[str, Key]] = {}
        """Copies: their paths, and whose they are."""
        self._paths: dict[Key, str] = {}
        """Where each inode was at the last look."""
        self._failed: set[str] = set()
        self._unsettled = False
        self._left: list[Read] = []
        self._looked = False
        self._near: dict[tuple[str, bytes], list[Key]] = {}
        """Files that are open or remembered, by their folders and first bytes; of the last look that found a new one."""
        self._reused: set[Key] = set()
        """Inodes that are other files than those that the ledger knows."""
        self._settling = settling_seconds

    def scan(self) -> None:
        """Look which files are there now."""
        there = self._paths = self._there()
        for key, path in there.items():
            if key in self.files:
                self._is_at(self.files[key], path)
        now = time.monotonic()
        for key, file in self.files.items():
            if key not in there and file.gone_at is None:
                file.gone_at, file.dirty = now, True
        self._waiting = {key: waits for key, waits in self._waiting.items() if key in there}
        if any(key not in self.files for key in there):
            self._near = self._by_first_bytes()
        for key, path in there.items():
            if key not in self.files and not (key in self._waiting and self._origin_is_as_it_was(key)):
                self._open(path, key)
        if not self._looked and not self._unsettled:
            self._leave()

    def _leave(self) -> None:
        """Take what was held of files that went away while no agent ran, and that no copy has taken over."""
        self._looked = True
        for key, position in self._positions.items():
            if position.held and (key not in self.files or key in self._reused):
                assembler = self._held(position)
                left = self.files.get(key) or Left(position, self.gone)
                left.account.resumed_bytes += assembler.held_bytes
                self._left.append(Read(left, assembler.flush("end")))

    def _held(self, position: Position) -> Assembler:
        """Return what was held of a file that is no more."""
        assembler = Assembler(self._make(position.path))
        assembler.restore(cbor2.loads(position.held)[2])
        return assembler

    def _there(self) -> dict[Key, str]:
        """Return what is to be read now: the first path of each inode."""
        there: dict[Key, str] = {}
        self._unsettled = False
        for path in sorted(self._roots.files()):
            try:
                status = os.stat(path)  # noqa: PTH116 - thousands of them
            except OSError:
                continue
            if path.endswith(".gz") and abs(time.time() - status.st_mtime) < self._settling:
                # it may not be whole; what it is made of is still there, or is held. Only the clock may say otherwise
                self._unsettled = True
                continue
            there.setdefault((status.st_dev, status.st_ino), path)
        return there

    def _is_at(self, file: LogFile, path: str) -> None:
        file.gone_at = None
        if file.path != path:
            if self._by_real.get(file.real) is file:
                del self._by_real[file.real]
            file.path, file.real = path, os.path.realpath(path)
        self._by_real[file.real] = file

    def _origin_is_as_it_was(self, key: Key) -> bool:
        origin = self.files.get(self._waiting[key][1])
        return origin is not None and origin.gone_at is None and not origin.truncated()

    def _open(self, path: str, key: Key) -> None:
        try:
            content, key = open_content(path)
            file = LogFile(path, content, key, self._make(path), self._format, self._encoding_of(path))
        except OSError as error:
            if path not in self._failed:
                self._failed.add(path)
                logger.warning("cannot read %s: %s", path, error.strerror or error)
            return
        known = self._positions.get(key)
        if known is not None and known.fingerprint and file.fingerprint.startswith(known.fingerprint):
            file.resume(known)
        else:
            origin = self._origin_of(file)
            if isinstance(origin, LogFile):
                if origin.gone_at is None and not origin.truncated():
                    self._waiting[key] = (path, origin.key)
                    file.close()
                    return
                self._take_over(file, origin)
            elif origin is not None:
                file.resume(origin)
                self._positions[origin.device, origin.inode] = origin._replace(held=b"")
        if known is not None and not file.offset:
            self._reused.add(key)
        self._waiting.pop(key, None)
        self._near.setdefault(place_of(path, file.fingerprint), []).append(key)
        self.files[key] = self._by_real[file.real] = file

    def _origin_of(self, file: LogFile) -> LogFile | Position | None:
        """Return what a file is the copy of."""
        path = Path(file.path)

        def copied(other: str, fingerprint: bytes) -> bool:
            return (
                len(fingerprint.lstrip(b"\0")) >= TELLING_BYTES
                and file.fingerprint.startswith(fingerprint)
                and Path(other).parent == path.parent
                and alike(path.name, Path(other).name)
                and not is_rotated(Path(other).name, path.name)  # under the name that was given up something new begins
            )

        near = self._near.get(place_of(file.path, file.fingerprint), ())
        for key in near:
            other = self.files.get(key)
            if other is not None and copied(other.path, other.fingerprint):
                return other
        known = ((self._paths.get(key), self._positions.get(key)) for key in near)
        return next((at for now, at in known if at is not None and copied(now or at.path, at.fingerprint)), None)

    def _by_first_bytes(self) -> dict[tuple[str, bytes], list[Key]]:
        near: dict[tuple[str, bytes], list[Key]] = {}
        for file in self.files.values():
            near.setdefault(place_of(file.path, file.fingerprint), []).append(file.key)
        for key, position in self._positions.items():
            near.setdefault(place_of(position.path, position.fingerprint), []).append(key)
        return near

    def _take_over(self, copy: LogFile, origin: LogFile) -> None:
        """Let a copy go on where the original was. What the original holds is the copy's from now on."""
        copy.resume(origin.position())
        origin.account.moved_bytes += origin.assembler.held_bytes
        if origin.gone_at is not None:
            self._drop(origin)
        else:
            origin.assembler = Assembler(self._make(origin.path))
            origin.begin_anew(lost_rest=False)
            origin.dirty = True

    def _drop(self, file: LogFile) -> None:
        self._positions.pop(file.key, None)
        self._positions[file.key] = file.position()
        if len(self._positions) > MOST_REMEMBERED:
            del self._positions[next(iter(self._positions))]
        self.gone.add(file.account)
        del self.files[file.key]
        if self._by_real.get(file.real) is file:
            del self._by_real[file.real]
        file.close()

    def written(self, paths: Iterable[str]) -> None:
        """Take in which files were written to."""
        for path in paths:
            file = self._by_real.get(path)
            if file is not None:
                file.dirty = True

    def all_may_be_written(self) -> None:
        for file in self.files.values():
            file.dirty = True

    def read(self) -> Iterator[Read]:
        """Yield a chunk's records of each file that may have more, in turn, until there are no more."""
        yield from self._left
        self._left = []
        more = [file for file in self.files.values() if file.dirty]
        for file in more:
            if self.files.get(file.key) is file and file.truncated():
                self.scan()  # there may be a copy, which then takes over
                if self.files.get(file.key) is file and file.truncated():
                    yield Read(file, file.begin_anew(lost_rest=True))
        while more:
            still = []
            for file in more:
                if self.files.get(file.key) is not file:
                    continue  # a copy has taken over
                try:
                    records = file.read()
                except OSError as error:
                    logger.warning("cannot read %s: %s", file.path, error.strerror or error)
                    file.dirty = False
                    continue
                if records is not None:
                    still.append(file)
                    yield Read(file, records)
            more = still

    def quiet(self, seconds: float) -> Iterator[Read]:
        """Yield what is held of files to which nothing has come for so long."""
        now = time.monotonic()
        for file in list(self.files.values()):
            if file.assembler.open and file.changed_at <= now - file.assembler.patience(seconds):
                yield Read(file, file.assembler.flush("timeout"))

    def let_go(self) -> Iterator[Read]:
        """Yield what is left of files without a name that were read to their end, and close them."""
        until = time.monotonic() - self._linger
        for file in list(self.files.values()):
            if file.gone_at is not None:
                if file.dirty or max(file.gone_at, file.changed_at) > until:
                    file.dirty = True
                    continue
                yield Read(file, file.finish())
                self._drop(file)

    def finish(self) -> Iterator[Read]:
        """Yield everything that is held: there is no more to come."""
        if not self._looked:
            self._leave()
        yield from self._left
        self._left = []
        for file in list(self.files.values()):
            yield Read(file, file.finish() if file.gone_at is not None else file.assembler.flush("end"))

    @property
    def restless(self) -> bool:
        """Whether time alone will change something: records held, files without a name."""
        return self._unsettled or any(file.gone_at is not None or file.assembler.open for file in self.files.values())

    @property
    def undecided(self) -> bool:
        """Whether a look at the folders may find something that has not changed its name since the last one."""
        return self._unsettled

    def folders(self) -> set[str]:
        """Return the folders to be watched."""
        return {
            *map(os.path.realpath, self._roots.folders()),
            *(str(Path(file.real).parent) for file in self.files.values()),
        }

    def close(self) -> None:
        for file in self.files.values():
            file.close()
