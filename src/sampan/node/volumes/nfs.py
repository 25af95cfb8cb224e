"""nfs: an export of a server, where this machine's kernel and programs can mount it; a clear refusal elsewhere."""

from __future__ import annotations

from pathlib import Path

from sampan.node import mounts
from sampan.node.volumes.local import run
from sampan.node.volumes.volume import Mounted, Volume


async def set_up(volume: Volume) -> Mounted:
    source, folder = volume.source, volume.folder
    if not mounts.is_mounted(folder):
        volume.check_can_mount()
        if not await kernel_can():
            raise volume.error("the kernel of this node has no NFS client (CONFIG_NFS_FS, module nfs)")
        folder.mkdir(parents=True, exist_ok=True)
        options = [*((volume.persistent or {}).get("spec", {}).get("mountOptions") or ())]
        options += ["ro"] if volume.read_only or source.get("readOnly") else []
        server = f"[{source['server']}]" if ":" in source["server"] else source["server"]
        words = ["-o", ",".join(options)] if options else []
        code, text = await run("mount", "-t", "nfs", *words, f"{server}:{source['path']}", str(folder))
        if code:
            raise volume.error(f"mount failed: {text.strip()}")
    return Mounted(folder, read_only=volume.read_only or bool(source.get("readOnly")))


async def kernel_can() -> bool:
    """Whether the kernel knows NFS, its module loaded first where there is one."""

    def known() -> bool:
        return any(line.split()[-1] in ("nfs", "nfs4") for line in Path("/proc/filesystems").read_text().splitlines())

    if not known():
        await run("modprobe", "-q", "nfs")
    return known()
