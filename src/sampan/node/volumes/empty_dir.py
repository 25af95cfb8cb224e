"""emptyDir: a folder of the pod's own, on disk, in memory (``Memory``) or of huge pages (``HugePages``, ``HugePages-2Mi``).

In memory it is as large as its ``sizeLimit``, or as the memory that all containers together may use. On disk a ``sizeLimit``
is looked after by ``usage.py``. Source: kubernetes pkg/volume/emptydir; KEP-1967 (size of memory-backed volumes).
"""

from __future__ import annotations

from pathlib import Path

from sampan.node import mounts
from sampan.node.volumes.ownership import give_to_group
from sampan.node.volumes.volume import Mounted, Volume
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

HUGE_PAGES = "HugePages"


async def set_up(volume: Volume) -> Mounted:
    folder, medium = volume.folder, volume.source.get("medium") or ""
    if not medium:
        _make(folder, volume)
        return Mounted(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not mounts.is_mounted(folder):
        volume.check_can_mount()
        try:
            _mount(folder, medium, volume)
        except OSError as error:
            raise volume.error(error) from error
        _open_up(folder, volume)
    return Mounted(folder)


def _make(folder: Path, volume: Volume) -> None:
    """Make the folder with its mode and group under another name first: a node that dies in between leaves none that the
    pod's users cannot write to."""
    if folder.exists():
        return
    unfinished = folder.with_name(f"..{folder.name}")
    unfinished.mkdir(parents=True, exist_ok=True)
    _open_up(unfinished, volume)
    unfinished.rename(folder)


def _open_up(folder: Path, volume: Volume) -> None:
    folder.chmod(0o777)
    if volume.fs_group is not None:
        give_to_group(folder, volume.fs_group)


def _mount(folder: Path, medium: str, volume: Volume) -> None:
    if medium == "Memory":
        size = memory_size(volume.source, volume.pod)
        mounts.mount("tmpfs", folder, "tmpfs", options=",".join([*([f"size={size}"] if size else []), "mode=0777"]))
    elif medium.startswith(HUGE_PAGES):
        size_of_page = page_size(medium, volume.pod)
        if not size_of_page or not huge_pages_here(size_of_page):
            raise volume.error(f"this node has no huge pages of {size_of_page or 'one size'}")
        mounts.mount("nodev", folder, "hugetlbfs", options=f"pagesize={parse(size_of_page).value()},mode=0777")
    else:
        raise volume.error(f'unknown storage medium "{medium}"')


def memory_size(spec: Object, pod: Object) -> int:
    """Return how large a volume in memory may become, in bytes; 0: half of the machine's memory, tmpfs' own limit."""
    limits = [
        (container.get("resources") or {}).get("limits", {}).get("memory")
        for container in pod["spec"].get("containers") or ()
    ]
    sizes = [parse(str(spec["sizeLimit"])).value()] if spec.get("sizeLimit") else []
    sizes = [size for size in sizes if size > 0]
    if limits and all(limits):
        sizes.append(sum(parse(str(limit)).value() for limit in limits))
    return min(sizes, default=0)


def page_size(medium: str, pod: Object) -> str:
    """Return the size of pages (``2Mi``) that a medium means; ``""`` where the pod asks for none, or for several."""
    named = medium.removeprefix(HUGE_PAGES).removeprefix("-")
    if named:
        return named
    asked = {
        name.removeprefix("hugepages-")
        for container in pod["spec"].get("containers") or ()
        for section in ("limits", "requests")
        for name in (container.get("resources") or {}).get(section) or ()
        if name.startswith("hugepages-")
    }
    return asked.pop() if len(asked) == 1 else ""


def huge_pages_here(size: str) -> bool:
    return Path(f"/sys/kernel/mm/hugepages/hugepages-{parse(size).value() >> 10}kB").is_dir()
