"""Records of log files, rotated and packed ones too, as they are in folders and patterns; by file, oldest first."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from sampan.logs.joining import Record
from sampan.logs.log_record import Labels
from sampan.logs.pod_paths import of_path
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.stream import records_of
from sampan.logs.timestamps import NANO

logger = logging.getLogger("sampan.logs")


def files_of(paths: Sequence[str], since: int) -> list[Path]:
    """Return the files in the order of their last change, without those that nothing was written to since; of a ``.gz`` whose
    source is there still only that."""
    found: dict[tuple[int, int], tuple[int, Path]] = {}
    names = {Path(name) for name in Roots(paths).files()}
    for path in names:
        if path.suffix == ".gz" and path.with_suffix("") in names:
            continue
        try:
            status = path.stat()
        except OSError:
            continue
        if status.st_mtime_ns >= since - NANO:  # a second for what was written while the clock was read
            found.setdefault((status.st_dev, status.st_ino), (status.st_mtime_ns, path))
    return [path for _, path in sorted(found.values())]


def records(paths: Sequence[str], since: int = 0) -> Iterator[tuple[Labels, Record]]:
    """Yield the records. What cannot be read is said."""
    for path in files_of(paths, since):
        labels: dict[bytes, Labels] = {}
        try:
            for stream, record in records_of(str(path)):
                if stream not in labels:
                    more = {"stream": stream.decode()} if stream else {}
                    labels[stream] = Labels({"file": str(path), **more, **of_path(str(path))})
                yield labels[stream], record
        except OSError as error:
            logger.warning("cannot read %s: %s", path, error.strerror or error)
