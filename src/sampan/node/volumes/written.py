"""configMap, secret, downwardAPI and projected: files written by us, and kept up to date.

They are written into a folder of their own time (``..<time>``) and swapped in by one rename of the link ``..data``, so that a
reader sees the old set or the new one, never a mixture. Containers have them read-only. Source: the AtomicWriter layout;
KEP-3257 (ClusterTrustBundles).
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path, PurePosixPath

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.node import mounts
from sampan.node.volumes.material import Material, Sources, material_of
from sampan.node.volumes.ownership import give_to_group
from sampan.node.volumes.volume import Mounted, Volume, VolumeError
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

BUNDLES = ResourceType("certificates.k8s.io", "v1beta1", "clustertrustbundles", "ClusterTrustBundle", namespaced=False)
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
GENERATION = "..2"
"""How the folders of a time begin: this millennium's years."""


async def set_up(volume: Volume) -> Mounted:
    context, pod = volume.context, volume.pod

    async def token_for(audience: str, seconds: int) -> str:
        try:
            return await context.tokens.token(pod, audience, seconds)
        except ApiError as error:
            raise volume.error(f"failed to fetch token: {error}") from error

    async def trust_for(source: Object) -> str | None:
        return await trusted(context.client, source)

    async def certificate_for(index: int, source: Object) -> tuple[bytes, bytes]:
        def tell(kind: str, reason: str, message: str) -> None:
            context.events.record(pod, kind, reason, message)

        found = await context.certificates.of(pod, volume.name, index, source, tell)
        return found.key, found.chain

    if volume.kind != "configMap" and volume.can_mount and not mounts.is_mounted(volume.folder):
        # secrets are never on a disk
        volume.folder.mkdir(parents=True, exist_ok=True)
        mounts.mount("tmpfs", volume.folder, "tmpfs", options="mode=0777")
    lookup, facts = context.lookup(pod["metadata"]["namespace"]), context.facts(volume.pod_ips)
    sources = Sources(lookup, token_for, facts, trust_for, certificate_for)
    files = await material_of({"name": volume.name, volume.kind: volume.source}, pod, sources)
    write_material(volume.folder, files, volume.fs_group)
    return Mounted(volume.folder, read_only=True)


async def trusted(client: Client, source: Object) -> str | None:
    """Return the certificates of the bundle that is named, or of all that a signer and labels choose, each once."""
    if source.get("name"):
        try:
            bundles = [await client.get(BUNDLES, source["name"])]
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
    else:
        selector = source.get("labelSelector")
        if selector is None:
            return None  # the API says: no selector chooses nothing
        chosen = label_selector(selector)
        found = (await client.list(BUNDLES)).items
        bundles = [
            one
            for one in found
            if one["spec"].get("signerName") == source.get("signerName")
            and chosen.matches(one["metadata"].get("labels") or {})
        ]
    if not bundles:
        return None
    certificates = sorted({match for one in bundles for match in PEM.findall(one["spec"]["trustBundle"])})
    return "".join(f"{certificate}\n" for certificate in certificates)


def write_material(folder: Path, files: Material, group: int | None = None) -> bool:
    """Make the folder hold exactly these files, swapped in at once; return whether anything changed."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "..data"
    tops = {PurePosixPath(safe_path(name)).parts[0] for name in files}
    if link.is_symlink() and _read_back(folder / link.readlink(), files):
        _show(folder, tops)  # a crash, or a full disk, may have come between the swap and the links
        return False
    folder.chmod(0o777)
    generation = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.monotonic_ns()}"
    try:
        _fill(generation, files)
    except OSError:  # a disk that is full must not become fuller with each try
        shutil.rmtree(generation, ignore_errors=True)
        raise
    if group is not None:
        give_to_group(generation, group, read_only=True)
        os.chown(folder, -1, group)
        folder.chmod(0o2777)
    temporary = folder / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(generation.name)
    temporary.rename(link)
    _show(folder, tops)
    for entry in folder.iterdir():  # the one before, and what a crash left
        if entry.name.startswith(GENERATION) and entry != generation:
            shutil.rmtree(entry, ignore_errors=True)
    return True


def _fill(generation: Path, files: Material) -> None:
    generation.mkdir()
    generation.chmod(0o755)
    for name, file in files.items():
        path = generation / safe_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)
        if file.user is not None:
            os.chown(path, file.user, -1)


def _show(folder: Path, tops: set[str]) -> None:
    """Make the links that readers use, and remove those of what is no more."""
    for top in tops:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()


def safe_path(name: str) -> str:
    """Return a relative path that stays inside its folder. Raises ``VolumeError`` otherwise."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise VolumeError(f"invalid path in volume: {name}")
    return str(path)


def _read_back(folder: Path, files: Material) -> bool:
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    if there.keys() != files.keys():
        return False
    return all(there[name].read_bytes() == file.content for name, file in files.items())
