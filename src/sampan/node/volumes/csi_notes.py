"""What is noted of CSI volumes beside their folders: whose they are, so that they can be given back by a node that knows
nothing else. Source: the kubelet's ``vol_data.json`` and its layout of folders."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

NOTES = "vol_data.json"


class Note(NamedTuple):
    driver: str
    handle: str
    name: str


def write(folder: Path, note: Note) -> None:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    data = {"driverName": note.driver, "volumeHandle": note.handle, "specVolID": note.name}
    temporary = folder / f"{NOTES}.new"
    temporary.write_bytes(orjson.dumps(data))
    temporary.rename(folder / NOTES)


def read(folder: Path) -> Note:
    """Return the note of a folder. Raises ``OSError``, also for one that a power failure spoilt."""
    file = folder / NOTES
    try:
        data = orjson.loads(file.read_bytes())
        return Note(data["driverName"], data["volumeHandle"], data["specVolID"])
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(errno.EIO, f"it is no note of a volume: {error}", str(file)) from error


def staged_folder(kubelet_dir: Path, driver: str, handle: str) -> Path:
    """Return where a volume is staged: the folder of its ``globalmount``."""
    return kubelet_dir / "plugins" / "kubernetes.io" / "csi" / driver / hashlib.sha256(handle.encode()).hexdigest()


def bases(folder: Path, below: str) -> Iterator[Path]:
    """Yield the folders of the CSI volumes of one pod, or of all (``below``: ``*/``)."""
    for kind in ("volumes", "volumeDevices"):
        for found in sorted(folder.glob(f"{below}{kind}/kubernetes.io~csi/*/{NOTES}")):
            yield found.parent


def users(kubelet_dir: Path, note: Note) -> bool:
    """Whether a pod of this node has the volume."""
    return any(read(base)[:2] == note[:2] for base in bases(kubelet_dir / "pods", "*/"))
