"""A container of a Pod as CRI is asked for it: command, environment, mounts, security, resources. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node.environment import ConfigError, expand
from sampan.node.pod_config import CONTAINER, app_armor_of, identity, namespace_options, se_linux_of, seccomp_of
from sampan.node.resources import linux_resources
from sampan.node.signals import for_cri, stop_signal_of
from sampan.schema.objects import Object
from sampan.security.context import setting, settle, supplemental_groups
from sampan.security.host import Host
from sampan.security.image_user import ImageUser
from sampan.security.settings import CONTAINER as CONTAINER_SETTING
from sampan.security.settings import POD

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
    image: cri.Image,
    environment: Mapping[str, str],
    mounts: Sequence[cri.Mount],
    host: Host,
    userns: cri.UserNamespace | None = None,
    resources: cri.LinuxContainerResources | None = None,
    target: str = "",
) -> cri.ContainerConfig:
    """Return what ``CreateContainer`` is given. ``target``: the id of the container whose processes it is to see."""
    name = container["name"]
    log_path = f"{name}/{restarts}.log"
    return cri.ContainerConfig(
        metadata=cri.ContainerMetadata(name=name, attempt=restarts),
        image=cri.ImageSpec(image=image.id, user_specified_image=container["image"]),
        command=[expand(word, environment) for word in container.get("command") or ()],
        args=[expand(word, environment) for word in container.get("args") or ()],
        working_dir=container.get("workingDir", ""),
        envs=[cri.KeyValue(key=key, value=value) for key, value in environment.items()],
        mounts=[as_seen(mount, pod, host, userns) for mount in mounts],
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
        stop_signal=for_cri(stop_signal_of(container)),
        linux=cri.LinuxContainerConfig(
            resources=resources or linux_resources(container),
            security_context=security_context(pod, container, image, host, userns, target),
        ),
    )


def as_seen(mount: cri.Mount, pod: Object, host: Host, userns: cri.UserNamespace | None) -> cri.Mount:
    """Return a mount as the container's kernel is to see it: the pod's own files labelled where there is SELinux, and with
    the owners that its user namespace knows."""
    mount.selinux_relabel = host.se_linux and f"/pods/{pod['metadata']['uid']}/" in mount.host_path
    if userns is not None:
        mount.uidMappings.extend(userns.uids)
        mount.gidMappings.extend(userns.gids)
    return mount


def security_context(
    pod: Object,
    container: Object,
    image: cri.Image,
    host: Host,
    userns: cri.UserNamespace | None = None,
    target: str = "",
) -> cri.LinuxContainerSecurityContext:
    """Return what the container's settings come to, in CRI's words."""
    spec = pod["spec"]
    settled = settle(spec, container, image_user(image), host)
    holds = {name: one.value for name, one in settled.items()}
    asked = (container.get("securityContext") or {}).get("capabilities") or {}
    made = cri.LinuxContainerSecurityContext(
        capabilities=cri.Capability(add_capabilities=asked.get("add") or (), drop_capabilities=asked.get("drop") or ()),
        privileged=holds["privileged"],
        namespace_options=namespace_options(spec, target=target, userns=userns),
        readonly_rootfs=holds["readOnlyRootFilesystem"],
        supplemental_groups=supplemental_groups(spec),
        supplemental_groups_policy=holds["supplementalGroupsPolicy"],
        no_new_privs=not holds["allowPrivilegeEscalation"],
        seccomp=seccomp_of(holds["seccompProfile"], host.seccomp_profiles),
        selinux_options=se_linux_of(holds["seLinuxOptions"]),
    )
    if settled["appArmorProfile"].source in (POD, CONTAINER_SETTING):
        made.apparmor.CopyFrom(app_armor_of(holds["appArmorProfile"]))
    if holds["procMount"] == "Default":
        made.masked_paths.extend(MASKED)
        made.readonly_paths.extend(READ_ONLY)
    if isinstance(holds["runAsUser"], str):
        made.run_as_username = holds["runAsUser"]
    else:
        made.run_as_user.value = holds["runAsUser"]
    if holds["runAsGroup"] is not None:
        made.run_as_group.value = holds["runAsGroup"]
    return made


def image_user(image: cri.Image) -> ImageUser:
    """Return the user that an image names, as the runtime read its configuration."""
    return ImageUser(image.username or (str(image.uid.value) if image.HasField("uid") else ""))


def check_non_root(pod: Object, container: Object, image: cri.Image) -> None:
    """Raise ``ConfigError`` when runAsNonRoot is asked for and the container would run as root."""
    if not setting(pod["spec"], container, "runAsNonRoot"):
        return
    metadata, name, of_image = pod["metadata"], container["name"], image_user(image)
    where = f'(pod: "{metadata["name"]}_{metadata["namespace"]}({metadata["uid"]})", container: {name})'
    user = setting(pod["spec"], container, "runAsUser")
    if user == 0:
        raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
    if user is None and of_image.uid is None:
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({of_image.name}), cannot verify user is non-root "
            f"{where}"
        )
    if user is None and of_image.uid == 0:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
