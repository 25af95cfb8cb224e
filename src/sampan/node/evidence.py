"""What a running container is seen to do: users and capabilities of its processes, low ports, files written in its root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sampan.node.inspection import Running
from sampan.node.process import PROC, Mounted, inside, read_cgroups, read_id_map, read_mounts, read_status
from sampan.security.capabilities import of_mask
from sampan.security.least import Evidence

CGROUPS = Path("/sys/fs/cgroup")
LISTENING = "0A"
MOST_FILES = 2000


def evidence_of(container: Running) -> Evidence:
    """Return what is seen of a container's processes now. Raises ``OSError`` when they are gone."""
    folder = PROC / str(container.pid)
    statuses = []
    for pid in members(read_cgroups(folder)) or [container.pid]:
        with contextlib.suppress(OSError):
            statuses.append(read_status(PROC / str(pid)))
    mounts, mapping = read_mounts(folder), read_id_map(folder, "uid")
    return Evidence(
        uids=frozenset(inside(int(status["Uid"].split()[1]), mapping) for status in statuses),
        effective=frozenset().union(*(of_mask(int(status["CapEff"], 16)) for status in statuses)),
        ports=tuple(sorted(low_ports(folder))),
        written=tuple(written(mounts)),
    )


def members(cgroups: dict[str, str]) -> list[int]:
    """Return the processes of a container's cgroup."""
    for controller in ("pids", "memory", ""):
        if controller in cgroups:
            file = CGROUPS / controller / cgroups[controller].lstrip("/") / "cgroup.procs"
            with contextlib.suppress(OSError):
                return [int(word) for word in file.read_text().split()]
    return []


def low_ports(folder: Path) -> Iterator[int]:
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (folder / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                port = int(fields[1].rpartition(":")[2], 16)
                if fields[3] == LISTENING and port < 1024:
                    yield port


def written(mounts: list[Mounted]) -> list[str]:
    """Return the files of the writable layer of a container's root: made or changed by it, not by its mounts."""
    root = next(mount for mount in mounts if mount.target == "/")
    upper = next((word[9:] for word in root.options.split(",") if word.startswith("upperdir=")), "")
    if not upper:
        return []
    targets = {mount.target for mount in mounts if mount.target != "/"}
    found: list[str] = []
    for folder, folders, files in os.walk(upper):
        at = "/" + os.path.relpath(folder, upper) if folder != upper else ""
        folders[:] = [name for name in folders if f"{at}/{name}" not in targets]
        found += [path for name in files if (path := f"{at}/{name}") not in targets]
        if not folders and not files and at and not any(target.startswith(f"{at}/") for target in targets):
            found.append(f"{at}/.")
        if len(found) > MOST_FILES:
            break
    return sorted(found)
