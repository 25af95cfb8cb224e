"""Which devices a container gets, and what that means for its configuration. Pure.

Source: the device plugins page of Kubernetes, KEP-3063's CDI names for runtimes that read them of annotations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sampan.node import cri_pb2 as cri
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

Given = dict[str, object]
"""What a plugin answered for a container, as JSON keeps it: ``envs``, ``mounts``, ``devices``, ``annotations``, ``cdi``."""


class NotEnough(Exception):
    """A container asks for more devices than are free; the message is the kubelet's, without the frame of an admission."""


class NotLocal(NotEnough):
    """A container asks for more than there is on one NUMA node: a topology manager that is strict says so."""


def wanted(container: Object, resources: Collection[str]) -> dict[str, int]:
    """Return how many devices of each resource a container asks for."""
    limits = (container.get("resources") or {}).get("limits") or {}
    return {name: parse(str(amount)).value() for name, amount in limits.items() if name in resources}


def choose(resource: str, count: int, healthy: Iterable[str], taken: Collection[str]) -> list[str]:
    """Return that many free devices. Raises ``NotEnough``."""
    well = list(healthy)
    if count and not well:
        raise NotEnough(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
    free = sorted(device for device in well if device not in taken)
    if len(free) < count:
        why = f"requested number of devices unavailable for {resource}"
        raise NotEnough(f"{why}. Requested: {count}, Available: {len(free)}")
    return free[:count]


def near(resource: str, count: int, local: Iterable[str], taken: Collection[str]) -> set[str]:
    """Return the free devices that are near. Raises ``NotLocal`` where they are too few."""
    free = {device for device in local if device not in taken}
    if len(free) < count:
        why = f"requested number of devices unavailable for {resource}"
        raise NotLocal(f"{why}. Requested: {count}, Available: {len(free)}")
    return free


def apply(config: cri.ContainerConfig, given: Mapping[str, object], resource: str) -> None:
    """Put what a plugin answered into a container's configuration; what the container says itself goes first."""
    known = {entry.key for entry in config.envs}
    for key, value in sorted(dict_of(given, "envs").items()):
        if key not in known:
            config.envs.add(key=key, value=value)
    for mount in list_of(given, "mounts"):
        config.mounts.add(
            container_path=mount["container_path"], host_path=mount["host_path"], readonly=mount.get("read_only", False)
        )
    for device in list_of(given, "devices"):
        config.devices.add(
            container_path=device["container_path"],
            host_path=device["host_path"],
            permissions=device.get("permissions", "rwm"),
        )
    for key, value in dict_of(given, "annotations").items():
        config.annotations[key] = value
    names = [str(name) for name in list_of(given, "cdi")]
    for name in names:
        config.CDI_devices.add(name=name)
    if names:  # containerd 1.7 reads them here
        config.annotations[f"cdi.k8s.io/{resource.replace('/', '_')}"] = ",".join(names)


def dict_of(given: Mapping[str, object], key: str) -> dict[str, str]:
    found = given.get(key)
    return dict(found) if isinstance(found, dict) else {}


def list_of(given: Mapping[str, object], key: str) -> list:  # type: ignore[type-arg]
    found = given.get(key)
    return list(found) if isinstance(found, list) else []
