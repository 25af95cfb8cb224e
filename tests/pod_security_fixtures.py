"""Pods that the Pod Security Standards let through and refuse: for each check and each version, small ones, in our own words.

``CASES``: a check, since which minor it is in force (and until which), and what is changed of the smallest good pod to break
it and to stay just within it. ``pods(level, minor)`` yields all that hold for a level and version.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sampan.security import Level

Pod = dict[str, Any]
Change = Callable[[Pod], None]
NEWEST = 37


class Case(NamedTuple):
    check: str
    level: Level
    since: int
    bad: tuple[Change, ...]
    good: tuple[Change, ...] = ()
    until: int = NEWEST
    only: bool = False
    """Of no stricter level than its own."""


class Fixture(NamedTuple):
    check: str
    pod: Pod
    allowed: bool


def smallest(level: Level, minor: int) -> Pod:
    """Return the smallest pod that meets a level at a version."""
    container: Pod = {"name": "c", "image": "i"}
    pod: Pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [container], "initContainers": [{"name": "i", "image": "i"}]},
    }
    if level is not Level.RESTRICTED:
        return pod
    pod["spec"]["securityContext"] = {"runAsNonRoot": True}
    if minor >= 19:
        pod["spec"]["securityContext"]["seccompProfile"] = {"type": "RuntimeDefault"}
    for one in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
        one["securityContext"] = {"allowPrivilegeEscalation": False} if minor >= 8 else {}
        if minor >= 22:
            one["securityContext"]["capabilities"] = {"drop": ["ALL"]}
    return pod


# changes


def of_pod(**settings: Any) -> Change:
    return lambda pod: pod["spec"].setdefault("securityContext", {}).update(copy.deepcopy(settings))


def of_spec(**fields: Any) -> Change:
    return lambda pod: pod["spec"].update(copy.deepcopy(fields))


def of_container(kind: str = "containers", **settings: Any) -> Change:
    def change(pod: Pod) -> None:
        own = pod["spec"][kind][0].setdefault("securityContext", {})
        for key, value in settings.items():
            if isinstance(value, dict) and isinstance(own.get(key), dict):
                own[key].update(copy.deepcopy(value))
            else:
                own[key] = copy.deepcopy(value)

    return change


def everywhere(**settings: Any) -> tuple[Change, ...]:
    """Return the same change for the container and for the init container."""
    return of_container(**settings), of_container("initContainers", **settings)


def with_fields(**fields: Any) -> Change:
    return lambda pod: pod["spec"]["containers"][0].update(copy.deepcopy(fields))


def annotated(**annotations: str) -> Change:
    return lambda pod: pod["metadata"].setdefault("annotations", {}).update(annotations)


def without(*path: str | int) -> Change:
    def change(pod: Pod) -> None:
        at: Any = pod["spec"]
        for key in path[:-1]:
            at = at[key] if isinstance(key, int) else at.get(key, {})
        at.pop(path[-1], None)

    return change


def volume(**source: Any) -> Change:
    return of_spec(volumes=[{"name": "v", **source}])


def both(field: str, value: Any) -> tuple[Change, ...]:
    return of_pod(**{field: value}), of_container(**{field: value}), of_container("initContainers", **{field: value})


def sysctl(name: str) -> Change:
    return of_pod(sysctls=[{"name": name, "value": "1"}])


def unmasked_in_user_namespace(pod: Pod) -> None:
    pod["spec"]["hostUsers"] = False
    of_container(procMount="Unmasked")(pod)


B, R = Level.BASELINE, Level.RESTRICTED
ARMOR = "container.apparmor.security.beta.kubernetes.io/c"
SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"
GET = {"path": "/", "port": 80}
AWAY = {"httpGet": {**GET, "host": "h"}}
ESCALATION = ("containers", 0, "securityContext", "allowPrivilegeEscalation")
BASIC_VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)
OTHER_VOLUMES = (
    "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume", "cinder",
    "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
    "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip

CASES = (
    Case("appArmorProfile", B, 0, (*both("appArmorProfile", {"type": "Unconfined"}), annotated(**{ARMOR: "unconfined"})),
         (*both("appArmorProfile", {"type": "RuntimeDefault"}), annotated(**{ARMOR: "localhost/x"}))),
    Case("capabilities", B, 0, everywhere(capabilities={"add": ["NET_RAW"]}), until=NEWEST),
    Case("hostNamespaces", B, 0, (of_spec(hostNetwork=True), of_spec(hostPID=True), of_spec(hostIPC=True)),
         (of_spec(hostNetwork=False, hostPID=False),)),
    Case("hostPathVolumes", B, 0, (volume(hostPath={"path": "/"}),), (volume(emptyDir={}),)),
    Case("hostPorts", B, 0, (with_fields(ports=[{"containerPort": 80, "hostPort": 80}]),),
         (with_fields(ports=[{"containerPort": 80}]), with_fields(ports=[{"containerPort": 80, "hostPort": 0}]))),
    Case("hostProbesAndHostLifecycle", B, 34,
         (with_fields(livenessProbe=AWAY), with_fields(startupProbe={"tcpSocket": {"port": 1, "host": "h"}}),
          with_fields(lifecycle={"preStop": AWAY})),
         (with_fields(livenessProbe={"httpGet": GET}),)),
    Case("privileged", B, 0, everywhere(privileged=True), everywhere(privileged=False)),
    Case("procMount", B, 0, everywhere(procMount="Unmasked"), everywhere(procMount="Default")),
    Case("seLinuxOptions", B, 0, (*both("seLinuxOptions", {"type": "spc_t"}), of_pod(seLinuxOptions={"user": "u"}),
                                  of_pod(seLinuxOptions={"role": "r"})),
         (*both("seLinuxOptions", {"type": "container_t"}), of_pod(seLinuxOptions={"level": "s0"}))),
    Case("seLinuxEngine", B, 0, (of_pod(seLinuxOptions={"type": "container_engine_t"}),), until=30),
    Case("seccompAnnotations", B, 0, (annotated(**{SECCOMP: "unconfined"}),),
         (annotated(**{SECCOMP: "docker/default"}),), until=18),
    Case("seccompProfile", B, 19, both("seccompProfile", {"type": "Unconfined"}),
         both("seccompProfile", {"type": "Localhost", "localhostProfile": "x"})),
    Case("sysctls", B, 0, (sysctl("kernel.sem"),), (sysctl("kernel.shm_rmid_forced"), sysctl("net.ipv4.tcp_syncookies"))),
    Case("sysctls_27", B, 0, (sysctl("net.ipv4.ip_local_reserved_ports"),), until=26),
    Case("sysctls_29", B, 0, (sysctl("net.ipv4.tcp_keepalive_time"),), until=28),
    Case("sysctls_32", B, 0, (sysctl("net.ipv4.tcp_wmem"),), until=31),
    Case("sysctls_37", B, 0, (sysctl("net.ipv4.tcp_notsent_lowat"),), until=36),
    Case("windowsHostProcess", B, 0, both("windowsOptions", {"hostProcess": True}),
         both("windowsOptions", {"hostProcess": False})),
    Case("allowPrivilegeEscalation", R, 8,
         (*everywhere(allowPrivilegeEscalation=True), without(*ESCALATION))),
    Case("capabilities_restricted", R, 22,
         (*everywhere(capabilities={"add": ["CHOWN"]}), *everywhere(capabilities={"drop": ["KILL"]}),
          without("containers", 0, "securityContext", "capabilities")),
         everywhere(capabilities={"add": ["NET_BIND_SERVICE"]})),
    Case("procMount_in_user_namespace", B, 0, (unmasked_in_user_namespace,), until=34, only=True),
    Case("procMount_restricted", R, 0, (unmasked_in_user_namespace,)),
    Case("restrictedVolumes", R, 0, tuple(volume(**{kind: {}}) for kind in OTHER_VOLUMES),
         tuple(volume(**{kind: {}}) for kind in BASIC_VOLUMES)),
    Case("runAsNonRoot", R, 0,
         (of_pod(runAsNonRoot=False), *everywhere(runAsNonRoot=False), without("securityContext", "runAsNonRoot"))),
    Case("runAsUser", R, 23, both("runAsUser", 0), both("runAsUser", 1)),
    Case("seccompProfile_restricted", R, 19,
         (without("securityContext", "seccompProfile"), of_pod(seccompProfile={"type": "Unconfined"})),
         (of_pod(seccompProfile={"type": "Localhost", "localhostProfile": "x"}),)),
)  # fmt: skip


def pods(level: Level, minor: int) -> Iterator[Fixture]:
    """Yield the smallest pod of a level, then each that a check of the level refuses, and each that it just lets through."""
    yield Fixture("smallest", smallest(level, minor), True)
    for case in CASES:
        if case.level > level or (case.only and case.level < level):
            continue
        in_force = case.since <= minor <= case.until
        for change in case.bad:
            yield Fixture(case.check, changed(change, level, minor), not in_force)
        for change in case.good if in_force else ():
            yield Fixture(case.check, changed(change, level, minor), True)


def changed(change: Change, level: Level, minor: int) -> Pod:
    pod = smallest(level, minor)
    change(pod)
    return pod
