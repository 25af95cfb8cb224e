"""A container of a Pod as CRI is asked for it: command, environment, mounts, security, resources. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node.environment import ConfigError, expand
from sampan.node.pod_config import CONTAINER, identity, namespace_options, seccomp_of
from sampan.node.resources import linux_resources
from sampan.schema.objects import Object
from sampan.security.context import setting

HASH = "io.kubernetes.container.hash"
RESTARTS = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
MASKED: tuple[str, ...] = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def spec_hash(container: Object) -> str:
    """Return a fingerprint of what a change of must restart the container for (its image)."""
    return hashlib.sha256(orjson.dumps([container["name"], container["image"]])).hexdigest()[:16]


def container_config(
    pod: Object,
    container: Object,
    restarts: int,
    image_ref: str,
    environment: Mapping[str, str],
    mounts: Sequence[cri.Mount],
    groups: Sequence[int],
) -> cri.ContainerConfig:
    """Return what ``CreateContainer`` is given."""
    name = container["name"]
    log_path = f"{name}/{restarts}.log"
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name, attempt=restarts),
        image=cri.ImageSpec(image=image_ref),
        command=[expand(word, environment) for word in container.get("command") or ()],
        args=[expand(word, environment) for word in container.get("args") or ()],
        working_dir=container.get("workingDir", ""),
        envs=[cri.KeyValue(key=key, value=value) for key, value in environment.items()],
        mounts=mounts,
        labels={**identity(pod), CONTAINER: name},
        annotations={
            HASH: spec_hash(container),
            RESTARTS: str(restarts),
            MESSAGE_PATH: container.get("terminationMessagePath", "/dev/termination-log"),
            MESSAGE_POLICY: container.get("terminationMessagePolicy", "File"),
        },
        log_path=log_path,
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
        linux=cri.LinuxContainerConfig(
            resources=linux_resources(container), security_context=security_context(pod, container, groups)
        ),
    )


def security_context(pod: Object, container: Object, groups: Sequence[int]) -> cri.LinuxContainerSecurityContext:
    own = container.get("securityContext") or {}
    privileged = bool(own.get("privileged"))
    capabilities = own.get("capabilities") or {}
    profile = setting(pod["spec"], container, "seccompProfile")
    context = cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(
            add_capabilities=capabilities.get("add") or (), drop_capabilities=capabilities.get("drop") or ()
        ),
        privileged=privileged,
        namespace_options=namespace_options(pod["spec"]),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        supplemental_groups=groups,
        no_new_privs=own.get("allowPrivilegeEscalation") is False,
        seccomp=seccomp_of({"type": "Unconfined"} if privileged else profile),
    )
    if not privileged and own.get("procMount", "Default") == "Default":
        context.masked_paths.extend(MASKED)
        context.readonly_paths.extend(READ_ONLY)
    user, group = setting(pod["spec"], container, "runAsUser"), setting(pod["spec"], container, "runAsGroup")
    if isinstance(user, int):
        context.run_as_user.value = user
    if isinstance(group, int):
        context.run_as_group.value = group
        if not isinstance(user, int):  # CRI refuses a group without a user
            context.run_as_user.value = 0
    return context


def check_non_root(pod: Object, container: Object, image: cri.Image) -> None:
    """Raise ``ConfigError`` when runAsNonRoot is asked for and the container would run as root."""
    if not setting(pod["spec"], container, "runAsNonRoot"):
        return
    name = container["name"]
    user = setting(pod["spec"], container, "runAsUser")
    if isinstance(user, int):
        if user == 0:
            raise ConfigError("container's runAsUser breaks non-root policy")
        return
    if image.username:
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), cannot verify user is non-root "
            f"(container: {name})"
        )
    if not image.HasField("uid") or image.uid.value == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root (container: {name})")


def supplemental_groups(pod: Object) -> list[int]:
    context = pod["spec"].get("securityContext") or {}
    groups = list(context.get("supplementalGroups") or ())
    if context.get("fsGroup") is not None:
        groups.append(context["fsGroup"])
    return groups
