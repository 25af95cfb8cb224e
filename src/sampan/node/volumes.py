"""The volumes of a pod: folders on this node, filled from what they name, kept up to date, mounted into containers.

Files of ConfigMaps, Secrets, downward API and tokens are written into a folder of their own time (``..<time>``) and swapped
in by one rename of the link ``..data``, so that a reader sees the old set or the new one, never a mixture. ``Material`` is
computed purely; only ``write_material`` and ``prepare`` touch the disk. Source: core/v1 Volume, the AtomicWriter layout.
"""

from __future__ import annotations

import base64
import os
import shutil
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sampan.node import cri_pb2 as cri
from sampan.node.environment import ConfigError, Lookup, field_value, missing, resource_value
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

TokenFor = Callable[[str, int], Awaitable[str]]
"""``(audience, seconds) -> token`` of the pod's ServiceAccount."""
WRITTEN = ("configMap", "secret", "projected", "downwardAPI")


class VolumeError(Exception):
    """A volume cannot be set up; the pod waits with an event FailedMount."""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int


Material = dict[str, File]
"""Relative path to file: what a written volume holds."""


def volume_path(pod_dir: Path, volume: Object) -> Path:
    kind: str = next((key for key in volume if key != "name"), "emptyDir")
    folder = {"emptyDir": "empty-dir", "configMap": "configmap", "downwardAPI": "downward-api"}.get(kind, kind)
    return pod_dir / "volumes" / f"kubernetes.io~{folder}" / str(volume["name"])


def is_written(volume: Object) -> bool:
    return any(kind in volume for kind in WRITTEN)


async def material_of(
    volume: Object, pod: Object, lookup: Lookup, token_for: TokenFor, node: Mapping[str, str]
) -> Material:
    """Return the files of a written volume. Raises ``VolumeError`` for what is missing."""
    try:
        if "projected" in volume:
            mode = volume["projected"].get("defaultMode", 0o644)
            files: Material = {}
            for source in volume["projected"].get("sources") or ():
                files |= await _source_files(source, mode, pod, lookup, token_for, node)
            return files
        kind = next(kind for kind in WRITTEN if kind in volume)
        return await _source_files(
            {kind: volume[kind]}, volume[kind].get("defaultMode", 0o644), pod, lookup, token_for, node
        )
    except ConfigError as error:
        raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error


async def _source_files(
    source: Object, mode: int, pod: Object, lookup: Lookup, token_for: TokenFor, node: Mapping[str, str]
) -> Material:
    if "configMap" in source:
        return _keys(source["configMap"], "ConfigMap", source["configMap"].get("name"), mode, lookup)
    if "secret" in source:
        name = source["secret"].get("secretName") or source["secret"].get("name")
        return _keys(source["secret"], "Secret", name, mode, lookup)
    if "downwardAPI" in source:
        return {
            item["path"]: File(_downward(item, pod, node), item.get("mode") or mode)
            for item in source["downwardAPI"].get("items") or ()
        }
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        token = await token_for(wanted.get("audience") or "", wanted.get("expirationSeconds") or 3600)
        return {wanted["path"]: File(token.encode(), mode)}
    raise ConfigError(f"projected source {', '.join(source)} is not supported")


def _keys(source: Object, kind: str, name: str, mode: int, lookup: Lookup) -> Material:
    data = lookup(kind, name)
    if data is None:
        if source.get("optional"):
            return {}
        raise ConfigError(missing(kind, name))
    items = source.get("items")
    if not items:
        return {key: File(to_bytes(value), mode) for key, value in data.items()}
    files: Material = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(f"references non-existent {kind.lower()} key: {item['key']}")
        files[item["path"]] = File(to_bytes(data[item["key"]]), item.get("mode") or mode)
    return files


def to_bytes(value: str) -> bytes:
    """Return the bytes of a value; binary data travels as surrogate-escaped text."""
    return value.encode("utf-8", "surrogateescape")


def from_bytes(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def data_of(obj: Object) -> dict[str, str]:
    """Return the data of a ConfigMap or Secret, decoded."""
    if obj["kind"] == "Secret":
        return {key: from_bytes(base64.b64decode(value)) for key, value in (obj.get("data") or {}).items()}
    binary = {key: from_bytes(base64.b64decode(value)) for key, value in (obj.get("binaryData") or {}).items()}
    return {**(obj.get("data") or {}), **binary}


def _downward(item: Object, pod: Object, node: Mapping[str, str]) -> bytes:
    if item.get("fieldRef"):
        return field_value(pod, item["fieldRef"]["fieldPath"], node).encode()
    container = pod["spec"]["containers"][0]
    return resource_value(pod, container, item["resourceFieldRef"], node).encode()


def write_material(folder: Path, files: Material, group: int | None = None) -> bool:
    """Make the folder hold exactly these files, swapped in at once; return whether anything changed."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "..data"
    if link.is_symlink() and _read_back(folder / link.readlink(), files):
        return False
    generation = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.monotonic_ns()}"
    for name, file in files.items():
        path = generation / safe_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode | (0o440 if group is not None else 0))
        if group is not None:
            os.chown(path, -1, group)
    generation.mkdir(exist_ok=True)
    before = folder / link.readlink() if link.is_symlink() else None
    temporary = folder / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(generation.name)
    temporary.rename(link)
    tops = {PurePosixPath(safe_path(name)).parts[0] for name in files}
    for top in tops:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if before is not None:
        shutil.rmtree(before, ignore_errors=True)
    return True


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


def prepare(pod_dir: Path, pod: Object, volume: Object) -> Path:
    """Make the folder of a volume that is not written by us, and return what is to be mounted. Raises ``VolumeError``."""
    name = volume["name"]
    if "hostPath" in volume:
        return check_host_path(Path(volume["hostPath"]["path"]), volume["hostPath"].get("type") or "", name)
    if "emptyDir" in volume or len(volume) == 1:
        return _empty_dir(volume_path(pod_dir, volume), volume.get("emptyDir") or {}, pod)
    kinds = ", ".join(key for key in volume if key != "name")
    raise VolumeError(f'volume "{name}" is of a kind that this node does not have: {kinds}')


def _empty_dir(folder: Path, spec: Object, pod: Object) -> Path:
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o777)
        if spec.get("medium") == "Memory":
            limit = f"size={parse(str(spec['sizeLimit'])).value()}," if spec.get("sizeLimit") else ""
            mount_tmpfs(folder, f"{limit}mode=1777")
        group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
        if group is not None:
            os.chown(folder, -1, group)
            folder.chmod(0o2777)
    return folder


def mount_tmpfs(folder: Path, options: str) -> None:
    import subprocess

    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise VolumeError(f"cannot mount a tmpfs at {folder}: {done.stderr.strip()}")


TYPES: dict[str, Callable[[int], bool]] = {
    "Directory": stat.S_ISDIR,
    "File": stat.S_ISREG,
    "Socket": stat.S_ISSOCK,
    "CharDevice": stat.S_ISCHR,
    "BlockDevice": stat.S_ISBLK,
}


def check_host_path(path: Path, kind: str, name: str) -> Path:
    """Return a hostPath after checking or making it as its type says."""
    if kind == "DirectoryOrCreate":
        path.mkdir(parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(exist_ok=True)
    elif kind in TYPES and not (path.exists() and TYPES[kind](path.stat().st_mode)):
        raise VolumeError(
            f'MountVolume.SetUp failed for volume "{name}" : hostPath type check failed: {path} is not a {kind}'
        )
    elif not kind and not path.exists():
        path.mkdir(parents=True, exist_ok=True)
    return path


def remove(pod_dir: Path) -> None:
    """Remove everything of a pod, memory volumes unmounted first."""
    for mount in sorted((line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()), reverse=True):
        if mount.startswith(f"{pod_dir}/"):
            import subprocess

            subprocess.run(["umount", "-l", mount], capture_output=True)
    shutil.rmtree(pod_dir, ignore_errors=True)


def mounts_of(container: Object, folders: Mapping[str, Path], environment: Mapping[str, str]) -> list[cri.Mount]:
    """Return the volume mounts of a container. Raises ``VolumeError``."""
    from sampan.node.environment import expand

    result = []
    for mount in container.get("volumeMounts") or ():
        folder = folders.get(mount["name"])
        if folder is None:
            raise VolumeError(f'volume "{mount["name"]}" of container {container["name"]} does not exist')
        sub = mount.get("subPath") or expand(mount.get("subPathExpr") or "", environment)
        host = folder / safe_path(sub) if sub else folder
        if sub and not host.exists():
            host.mkdir(parents=True)
        propagation = {"HostToContainer": 1, "Bidirectional": 2}.get(mount.get("mountPropagation", "None"), 0)
        result.append(
            cri.Mount(
                container_path=mount["mountPath"],
                host_path=str(host.resolve() if sub else host),
                readonly=bool(mount.get("readOnly")),
                propagation=propagation,  # type: ignore[arg-type]
            )
        )
    return result
