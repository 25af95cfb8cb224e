"""Validation of volume mounts and devices. Source: kubernetes pkg/apis/core/validation (ValidateVolumeMounts …)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import relative_path
from sampan.schema.causes import forbidden, invalid, not_found, not_supported, required
from sampan.schema.objects import Object

PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
RECURSIVE = ("Disabled", "Enabled", "IfPossible")


def mounts(container: Object, field: str, volumes: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong with ``volumeMounts``."""
    paths: set[str] = set()
    devices = {item.get("name"): item.get("devicePath") for item in container.get("volumeDevices") or ()}
    for index, mount in enumerate(container["volumeMounts"]):
        name, target = mount.get("name"), mount.get("mountPath")
        if not name:
            yield required(f"{field}[{index}].name")
        if name not in volumes:
            yield not_found(f"{field}[{index}].name", name or "")
        if not target:
            yield required(f"{field}[{index}].mountPath")
        if target in paths:
            yield invalid(f"{field}[{index}].mountPath", target, "must be unique")
        paths.add(target)
        if devices:
            yield from clashes(f"{field}[{index}]", "mountPath", name, target, devices, "volumeDevices")
        if len(mount) > 2:
            yield from options(mount, field, f"{field}[{index}]", container)


def clashes(path: str, key: str, name: Any, target: Any, others: Mapping[Any, Any], where: str) -> Iterator[Cause]:
    """A volume is either a file system or a device of a container."""
    if name in others:
        yield invalid(f"{path}.name", name, f"must not already exist in {where}")
    if target in others.values():
        yield invalid(f"{path}.{key}", target, f"must not already exist as a path in {where}")


def options(mount: Object, field: str, path: str, container: Object) -> Iterator[Cause]:
    """What a mount says beside name and path. Kubernetes leaves the index out of some of these paths."""
    below, expression = mount.get("subPath"), mount.get("subPathExpr")
    if below:
        yield from relative_path(f"{field}.subPath", below)
    if expression:
        if below:
            yield invalid(f"{path}.subPathExpr", expression, "subPathExpr and subPath are mutually exclusive")
        yield from relative_path(f"{field}.subPathExpr", expression)
    way = mount.get("mountPropagation")
    if way is not None:
        if way not in PROPAGATIONS:
            yield not_supported(f"{field}.mountPropagation", way, PROPAGATIONS)
        if way == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
            why = "Bidirectional mount propagation is available only to privileged containers"
            yield forbidden(f"{field}.mountPropagation", why)
    recursive = mount.get("recursiveReadOnly")
    if recursive is not None and recursive != "Disabled":
        yield from recursive_read_only(mount, recursive, f"{field}.recursiveReadOnly")


def recursive_read_only(mount: Object, recursive: str, field: str) -> Iterator[Cause]:
    if recursive not in RECURSIVE:
        yield not_supported(field, recursive, RECURSIVE)
        return
    if not mount.get("readOnly"):
        yield forbidden(field, "may only be specified when readOnly is true")
    if mount.get("mountPropagation") not in (None, "None"):
        yield forbidden(field, "may only be specified when mountPropagation is None or not specified")


def devices(container: Object, field: str, volumes: Mapping[str, Any]) -> Iterator[Cause]:
    """Yield what is wrong with ``volumeDevices``."""
    names: set[str] = set()
    paths: set[str] = set()
    mounted = {item.get("name"): item.get("mountPath") for item in container.get("volumeMounts") or ()}
    for index, device in enumerate(container["volumeDevices"]):
        path, name, target = f"{field}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        if not name:
            yield required(f"{path}.name")
        if name in names:
            yield invalid(f"{path}.name", name, "must be unique")
        volume = volumes.get(name)
        if volume is None:
            yield not_found(f"{path}.name", name)
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield invalid(f"{path}.name", name, why)
        if not target:
            yield required(f"{path}.devicePath")
        if target in paths:
            yield invalid(f"{path}.devicePath", target, "must be unique")
        if ".." in target.split("/"):
            yield invalid(f"{path}.devicePath", target, "can not contain backsteps ('..')")
        yield from clashes(path, "devicePath", name, target, mounted, "volumeMounts")
        names.add(name)
        paths.add(target)
