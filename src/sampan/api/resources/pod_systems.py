"""What a pod may not say on Linux, and what not on Windows. Source: kubernetes validateLinux, validateWindows."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause
from sampan.api.resources.pod_spec import containers
from sampan.api.resources.reading import dig, mapping
from sampan.schema.causes import forbidden, invalid, not_supported, required
from sampan.schema.objects import Object

NOT_LINUX = "windows options cannot be set for a linux pod"
NOT_WINDOWS = "cannot be set for a windows pod"
POD_NOT_WINDOWS = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
CONTEXT_NOT_WINDOWS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", "runAsUser",
    "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy",
)  # fmt: skip
CONTAINER_NOT_WINDOWS = (
    "appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged",
    "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup",
)  # fmt: skip


def operating_system(spec: Object, field: str) -> Iterator[Cause]:
    """Yield what does not fit ``os.name``."""
    if spec.get("os") is None:
        return
    name = spec["os"].get("name")
    if not name:
        yield required(f"{field}.os.name")
    elif name == "linux":
        yield from linux(spec, field)
    elif name == "windows":
        yield from windows(spec, field)
    else:
        yield not_supported(f"{field}.os", name, ("linux", "windows"))


def linux(spec: Object, field: str) -> Iterator[Cause]:
    if dig(spec, "securityContext", "windowsOptions") is not None:
        yield forbidden(f"{field}.securityContext.windowsOptions", NOT_LINUX)
    for path, container in containers(spec):
        if dig(container, "securityContext", "windowsOptions") is not None:
            yield forbidden(f"{field}.{path}.securityContext.windowsOptions", NOT_LINUX)


def windows(spec: Object, field: str) -> Iterator[Cause]:
    for key in POD_NOT_WINDOWS:
        if spec.get(key) is not None and (spec[key] or key in ("hostUsers", "shareProcessNamespace")):
            yield forbidden(f"{field}.{key}", NOT_WINDOWS)
    for key in CONTEXT_NOT_WINDOWS:
        if mapping(spec, "securityContext").get(key) is not None:
            yield forbidden(f"{field}.securityContext.{key}", NOT_WINDOWS)
    for path, container in containers(spec):
        for key in CONTAINER_NOT_WINDOWS:
            if mapping(container, "securityContext").get(key) is not None:
                yield forbidden(f"{field}.{path}.securityContext.{key}", NOT_WINDOWS)


def host_processes(spec: Object, field: str) -> Iterator[Cause]:
    """Windows: either every container is a process of the host or none (``validateWindowsHostProcessPod``)."""
    own = dig(spec, "securityContext", "windowsOptions", "hostProcess")
    if own is None and not any(
        dig(container, "securityContext", "windowsOptions") for _, container in containers(spec)
    ):
        return
    count = hosted = 0
    for path, container in containers(spec):
        context = container.get("securityContext")
        asked = dig(context, "windowsOptions", "hostProcess") if context else None
        count += 1
        hosted += bool(own if asked is None else asked)
        if own is not None and asked is not None and own != asked:
            why = f"pod hostProcess value must be identical if both are specified, was {str(own).lower()}"
            yield invalid(f"{field}.{path}.securityContext.windowsOptions.hostProcess", asked, why)
    if hosted and hosted != count:
        why = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield invalid(field, "", why)
    if hosted and not spec.get("hostNetwork"):
        why = "hostNetwork must be true if pod contains any hostProcess containers"
        yield invalid(f"{field}.hostNetwork", False, why)
