"""local PersistentVolumes: a folder or a device of this machine, and a file as a device.

A folder is shown in the pod's own folder by a bind mount. A device or file in a volume of mode Filesystem gets a filesystem
when it has none, and is mounted; in mode Block containers get the device. A filesystem on a file that has grown (the class
``standard`` with ``fsType``) grows with it. Source: kubernetes pkg/volume/local.
"""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

from sampan.node import mounts
from sampan.node.volumes import growth, loop_devices
from sampan.node.volumes.ownership import give_to_group
from sampan.node.volumes.volume import Mounted, Volume

AGAIN_SECONDS = 60.0
"""How often it is looked whether a file has grown."""


async def set_up(volume: Volume) -> Mounted:
    path = Path(volume.source["path"])
    try:
        mode = await asyncio.to_thread(lambda: path.stat().st_mode)
    except OSError as error:
        raise volume.error(f'path "{path}" does not exist') from error
    try:
        if volume.is_block:
            return Mounted(device_of(volume, path, mode), read_only=volume.read_only, block=True)
        volume.folder.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(mode) and not volume.can_mount:  # the folder itself, then; ours says that the pod has it
            await give(volume, path, fresh=True)
            return Mounted(path, read_only=volume.read_only)
        fresh = not mounts.is_mounted(volume.folder)
        if fresh:
            if stat.S_ISDIR(mode):
                mounts.bind(path, volume.folder)
            else:
                volume.check_can_mount()
                device = device_of(volume, path, mode)
                await fill(device, volume)
                await mount_device(device, volume.folder, volume.source.get("fsType") or "ext4", volume)
        grows = stat.S_ISREG(mode) and bool(volume.source.get("fsType"))
        if grows and growth.is_due(volume):
            await grow(loop_devices.attach(path), volume, fresh=fresh)
        await give(volume, volume.folder, fresh=fresh)
    except OSError as error:
        raise volume.error(error) from error
    until = time.monotonic() + AGAIN_SECONDS if grows else float("inf")
    return Mounted(volume.folder, read_only=volume.read_only, until=until)


async def fill(device: Path, volume: Volume) -> None:
    """Have an ext filesystem that is not mounted fill its device, if that has grown: while it is mounted, that would need
    CAP_SYS_RESOURCE."""
    if not growth.is_due(volume) or not (await filesystem_on(device, volume)).startswith("ext"):
        return
    for words in (("e2fsck", "-f", "-p"), ("resize2fs",)):
        code, text = await run(*words, str(device))
        if code > 1:  # 1: e2fsck has mended something
            raise volume.error(f"{words[0]}: {text.strip()}")


async def grow(device: Path, volume: Volume, *, fresh: bool) -> None:
    """Have a mounted filesystem fill its device, and say so."""
    is_ext = (await filesystem_on(device, volume)).startswith("ext")
    words = ("resize2fs", str(device)) if is_ext else ("xfs_growfs", str(volume.folder))
    code, text = (0, "") if is_ext and fresh else await run(*words)  # filled before it was mounted
    if code:  # the pod has what it had; the next one that begins to use it tries again
        message = f'MountVolume.NodeExpandVolume failed for volume "{volume.name}": {words[0]}: {text.strip()}'
        volume.context.events.warning(volume.pod, "VolumeResizeFailed", message)
        return
    await growth.tell(volume)


async def filesystem_on(device: Path, volume: Volume) -> str:
    """Return what filesystem is on a device; ``""``: none. Raises ``VolumeError``."""
    code, text = await run("blkid", "-p", "-s", "TYPE", "-o", "value", str(device))
    if code not in (0, 2):
        raise volume.error(f"{device}: {text}")
    return text.strip()


def device_of(volume: Volume, path: Path, mode: int) -> Path:
    """Return the device of a volume, and note in the pod's folder what it is made of, so that it goes with its last user."""
    if not (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
        raise OSError(f"{path} is neither a folder, nor a device, nor a file")
    note = volume.device_note
    note.parent.mkdir(parents=True, exist_ok=True)
    if not note.is_symlink():
        note.symlink_to(path)
    return loop_devices.attach(path) if stat.S_ISREG(mode) else path


async def give(volume: Volume, folder: Path, *, fresh: bool) -> None:
    """Give the volume to the pod's fsGroup, by its policy; one that was mounted before only where that was cut off."""
    group = volume.fs_group
    if group is None or volume.read_only:
        return
    policy = (volume.pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy") or "Always"
    policy = policy if fresh else "OnRootMismatch"
    await asyncio.to_thread(give_to_group, folder, group, policy=policy)


async def mount_device(device: Path, target: Path, kind: str, volume: Volume) -> None:
    """Mount a device, with a new filesystem if there is nothing on it."""
    there = await filesystem_on(device, volume)
    if not there:
        code, text = await run(f"mkfs.{kind}", *(["-F", "-m0"] if kind.startswith("ext") else []), str(device))
        if code:
            raise volume.error(f"mkfs.{kind} {device}: {text.strip()}")
    options = ",".join((volume.persistent or {}).get("spec", {}).get("mountOptions") or ())
    code, text = await run(
        "mount", "-t", there or kind, *(["-o", options] if options else []), str(device), str(target)
    )
    if code:
        raise volume.error(f"mount {device}: {text.strip()}")


async def run(*words: str) -> tuple[int, str]:
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except FileNotFoundError:
        return 127, f"{words[0]} is not installed"
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")
