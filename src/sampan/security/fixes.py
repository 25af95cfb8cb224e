"""The smallest change that brings a pod to a level of the Pod Security Standards, proven by judging it again.

Each check has a fixer: the edits that make it pass. The edits of all checks that fail are made, then those that turn out not
to be needed are left out again, one by one. An edit that takes something away that the pod may need says so in its note.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from sampan.schema.objects import Object
from sampan.security.baseline import (
    APPARMOR_ANNOTATION,
    CAPABILITIES,
    PROFILES,
    SECCOMP_CONTAINER_ANNOTATION,
    SECCOMP_POD_ANNOTATION,
    SELINUX_TYPES,
    SYSCTLS,
    profile_type,
)
from sampan.security.checks import context
from sampan.security.levels import Standard
from sampan.security.restricted import GOOD_VOLUMES
from sampan.security.standards import Evaluator

Path = tuple[str | int, ...]
REMOVE: Any = object()
RUNTIME_DEFAULT = {"type": "RuntimeDefault"}
ROUNDS = 4
"""How often what is still wrong is mended again: a fix of one check may be the business of another."""


class Edit(NamedTuple):
    """Set a value, or ``REMOVE`` what is there; the path begins with ``metadata`` or ``spec`` of the pod."""

    path: Path
    value: Any
    note: str = ""


class Fix(NamedTuple):
    edits: list[Edit]
    pod: tuple[Object, Object]
    """Metadata and spec as they are then."""
    reached: bool


Fixer = Callable[[Object, Object, int], Iterator[Edit]]


def fix(evaluator: Evaluator, standard: Standard, metadata: Object, spec: Object) -> Fix:
    """Return the edits that bring a pod to a standard; not reached where a check has no fix."""
    minor = min(standard.minor, evaluator.newest)
    edits: list[Edit] = []
    pod = (metadata, spec)
    for _ in range(ROUNDS):
        more = [one for name in evaluator.violated(standard, *pod) for one in FIXERS[name](*pod, minor)]
        if not more:
            break
        edits = merged(edits, more)
        pod = edited(metadata, spec, edits)
    if not evaluator.judge(standard, *pod).allowed:
        return Fix(edits, pod, False)
    for one in list(edits):
        fewer = [other for other in edits if other is not one]
        if evaluator.judge(standard, *edited(metadata, spec, fewer)).allowed:
            edits = fewer
    return Fix(edits, edited(metadata, spec, edits), True)


def merged(edits: Iterable[Edit], more: Iterable[Edit]) -> list[Edit]:
    """Return all edits, of those with one path the last."""
    return list({one.path: one for one in (*edits, *more)}.values())


def edited(metadata: Object, spec: Object, edits: Iterable[Edit]) -> tuple[Object, Object]:
    """Return a copy of the pod with the edits made. Elements of lists go last, from the end, so that paths stay true."""
    pod = copy.deepcopy({"metadata": metadata, "spec": spec})
    ordered = list(edits)
    for one in ordered:
        if not (one.value is REMOVE and isinstance(one.path[-1], int)):
            put(pod, one)
    for one in sorted((e for e in ordered if e.value is REMOVE and isinstance(e.path[-1], int)), key=by_index):
        put(pod, one)
    return pod["metadata"], pod["spec"]


def by_index(edit: Edit) -> int:
    return -int(edit.path[-1])


def put(pod: Any, edit: Edit) -> None:
    at: Any = pod
    last: Any = edit.path[-1]
    for key in edit.path[:-1]:
        if isinstance(at, dict) and at.get(key) is None:
            if edit.value is REMOVE:
                return
            at[key] = {}
        at = at[key]
    if edit.value is not REMOVE:
        at[last] = copy.deepcopy(edit.value)
    elif isinstance(at, list) or last in at:
        del at[last]


# where things are


def placed(spec: Object) -> Iterator[tuple[Path, Object]]:
    """Yield each container with its path."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield ("spec", field, index), container


def holders(spec: Object) -> Iterator[tuple[Path, Object]]:
    """Yield the pod's securityContext and each container's, with its path."""
    for path, holder in ((("spec",), spec), *placed(spec)):
        yield (*path, "securityContext"), context(holder)


# the fixers, by the id of the check


def app_armor(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, own in holders(spec):
        if own.get("appArmorProfile") is not None and own["appArmorProfile"].get("type") not in PROFILES:
            yield Edit((*path, "appArmorProfile"), REMOVE)
    for key, value in (metadata.get("annotations") or {}).items():
        good = value in ("", "runtime/default") or value.startswith("localhost/")
        if key.startswith(APPARMOR_ANNOTATION) and not good:
            yield Edit(("metadata", "annotations", key), REMOVE)


def added_capabilities(spec: Object, good: Iterable[str]) -> Iterator[Edit]:
    for path, container in placed(spec):
        added = (context(container).get("capabilities") or {}).get("add") or []
        kept = [name for name in added if name in good]
        if kept != added:
            lost = ", ".join(name for name in added if name not in good)
            where = (*path, "securityContext", "capabilities", "add")
            yield Edit(where, kept or REMOVE, f"{container.get('name')} loses {lost}")


def basic_capabilities(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    return added_capabilities(spec, CAPABILITIES)


def restricted_capabilities(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, container in placed(spec):
        if "ALL" not in ((context(container).get("capabilities") or {}).get("drop") or ()):
            yield Edit((*path, "securityContext", "capabilities", "drop"), ["ALL"])
    yield from added_capabilities(spec, ("NET_BIND_SERVICE",))


def host_namespaces(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield Edit(("spec", field), REMOVE, f"the pod no longer has the node's namespace: {field}")


def volumes(spec: Object, bad: Callable[[Object], bool]) -> Iterator[Edit]:
    for index, volume in enumerate(spec.get("volumes") or ()):
        if bad(volume):
            kinds = ", ".join(key for key in volume if key != "name")
            note = f"volume {volume.get('name')} is empty instead of {kinds or 'unknown'}"
            yield Edit(("spec", "volumes", index), {"name": volume.get("name"), "emptyDir": {}}, note)


def host_path_volumes(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    return volumes(spec, lambda volume: volume.get("hostPath") is not None)


def volume_types(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    return volumes(spec, lambda volume: not {key for key, value in volume.items() if value is not None} & GOOD_VOLUMES)


def host_ports(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, container in placed(spec):
        for index, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                note = f"port {port['hostPort']} of the node no longer leads here"
                yield Edit((*path, "ports", index, "hostPort"), REMOVE, note)


def handler_hosts(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, container in placed(spec):
        probes = [(name,) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
        for where in (*probes, ("lifecycle", "postStart"), ("lifecycle", "preStop")):
            handler: Any = container
            for key in where:
                handler = handler.get(key) or {}
            for kind in ("httpGet", "tcpSocket"):
                if (handler.get(kind) or {}).get("host"):
                    yield Edit(
                        (*path, *where, kind, "host"), REMOVE, f"{container.get('name')}: the pod itself is asked"
                    )


def privileged(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, container in placed(spec):
        if context(container).get("privileged"):
            note = f"{container.get('name')} is no longer privileged"
            yield Edit((*path, "securityContext", "privileged"), REMOVE, note)


def proc_mount(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, container in placed(spec):
        if context(container).get("procMount", "Default") not in ("Default", None):
            yield Edit((*path, "securityContext", "procMount"), REMOVE)


def se_linux(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    good = SELINUX_TYPES | ({"container_engine_t"} if minor >= 31 else set())
    for path, own in holders(spec):
        options = own.get("seLinuxOptions") or {}
        for key in ("user", "role"):
            if options.get(key):
                yield Edit((*path, "seLinuxOptions", key), REMOVE)
        if (options.get("type") or "") not in good:
            yield Edit((*path, "seLinuxOptions", "type"), REMOVE)


def seccomp_annotations(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for key, value in (metadata.get("annotations") or {}).items():
        good = value in ("runtime/default", "docker/default") or value.startswith("localhost/")
        if (key == SECCOMP_POD_ANNOTATION or key.startswith(SECCOMP_CONTAINER_ANNOTATION)) and not good:
            yield Edit(("metadata", "annotations", key), "runtime/default")


def basic_seccomp(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    if minor < 19:
        yield from seccomp_annotations(metadata, spec, minor)
        return
    for path, own in holders(spec):
        if own.get("seccompProfile") is not None and own["seccompProfile"].get("type") not in PROFILES:
            yield Edit((*path, "seccompProfile"), RUNTIME_DEFAULT)


def restricted_seccomp(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    yield from basic_seccomp(metadata, spec, minor)
    unset = any(profile_type(container, "seccompProfile") is None for _, container in placed(spec))
    if unset and profile_type(spec, "seccompProfile") is None:
        yield Edit(("spec", "securityContext", "seccompProfile"), RUNTIME_DEFAULT)


def sysctls(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    good = {name for since, names in SYSCTLS if since <= minor for name in names}
    for index, entry in enumerate(context(spec).get("sysctls") or ()):
        if entry.get("name") not in good:
            note = f"sysctl {entry.get('name')} keeps its default"
            yield Edit(("spec", "securityContext", "sysctls", index), REMOVE, note)


def windows_host_process(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, own in holders(spec):
        if (own.get("windowsOptions") or {}).get("hostProcess"):
            yield Edit((*path, "windowsOptions", "hostProcess"), False)


def privilege_escalation(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    yield from privileged(metadata, spec, minor)  # the API refuses both together
    for path, container in placed(spec):
        if context(container).get("allowPrivilegeEscalation") is not False:
            yield Edit((*path, "securityContext", "allowPrivilegeEscalation"), False)


def run_as_non_root(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    own = [(path, context(container).get("runAsNonRoot")) for path, container in placed(spec)]
    for path, value in own:
        if value is False:
            yield Edit((*path, "securityContext", "runAsNonRoot"), True)
    of_pod = context(spec).get("runAsNonRoot")
    if of_pod is False or (not of_pod and any(value is None for _, value in own)):
        yield Edit(("spec", "securityContext", "runAsNonRoot"), True, "the images' user must not be root")


def run_as_user(metadata: Object, spec: Object, minor: int) -> Iterator[Edit]:
    for path, own in holders(spec):
        if own.get("runAsUser") == 0:
            yield Edit((*path, "runAsUser"), REMOVE, "the image's user is taken")


FIXERS: dict[str, Fixer] = {
    "appArmorProfile": app_armor,
    "capabilities_baseline": basic_capabilities,
    "hostNamespaces": host_namespaces,
    "hostPathVolumes": host_path_volumes,
    "hostPorts": host_ports,
    "hostProbesAndHostLifecycle": handler_hosts,
    "privileged": privileged,
    "procMount": proc_mount,
    "seLinuxOptions": se_linux,
    "seccompProfile_baseline": basic_seccomp,
    "sysctls": sysctls,
    "windowsHostProcess": windows_host_process,
    "allowPrivilegeEscalation": privilege_escalation,
    "capabilities_restricted": restricted_capabilities,
    "procMount_restricted": proc_mount,
    "restrictedVolumes": volume_types,
    "runAsNonRoot": run_as_non_root,
    "runAsUser": run_as_user,
    "seccompProfile_restricted": restricted_seccomp,
}
