"""The tightest security context that a workload still works with: the steps that are tried, and what is left of them. Pure.

A step takes one right away from every container of a pod. Which rights a workload uses cannot be read off it (the kernel
counts no uses of capabilities), so each step is tried on a copy that must become as ready as the original: ``node/trials.py``
runs the copies, ``node/least_search.py`` says what comes next. ``Evidence`` is what was seen of the running original; it
chooses the values (user, writable folders), never the verdict.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

from sampan.schema.objects import Object
from sampan.security.capabilities import RUNTIME_DEFAULT, granted, plain
from sampan.security.checks import context

OTHER_USER = 1000
"""Whom root is tried as."""
SCRATCH = ("/tmp", "/var/tmp", "/run", "/var/run", "/var/cache", "/var/log", "/var/lib")
"""Folders that programs write below: one volume for each, or for what is directly below it, is enough."""
WHOLE = ("/tmp", "/var/tmp", "/run", "/var/run")


class Evidence(NamedTuple):
    """What was seen of one running container."""

    uids: frozenset[int] = frozenset()
    """Of all its processes."""
    effective: frozenset[str] = frozenset()
    """Capabilities that any of them holds."""
    ports: tuple[int, ...] = ()
    """Ports below 1024 that it listens on."""
    written: tuple[str, ...] = ()
    """Files that it has made or changed in its root filesystem."""


Evidences = Mapping[str, Evidence]
"""By the container's name."""


class Step(NamedTuple):
    name: str
    take: Callable[[Object, Evidences], None]
    """Changes a copy of the spec."""


def own(holder: Object) -> Object:
    """Return the securityContext of a pod's spec or a container, made where there is none."""
    if holder.get("securityContext") is None:
        holder["securityContext"] = {}
    found: Object = holder["securityContext"]
    return found


def all_containers(spec: Object) -> list[Object]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


# the steps


def no_privileged(spec: Object, seen: Evidences) -> None:
    for container in all_containers(spec):
        context(container).pop("privileged", None)
        context(container).pop("procMount", None)


def no_host_namespaces(spec: Object, seen: Evidences) -> None:
    for name in ("hostPID", "hostIPC"):
        spec.pop(name, None)


def no_escalation(spec: Object, seen: Evidences) -> None:
    for container in all_containers(spec):
        own(container)["allowPrivilegeEscalation"] = False


def default_seccomp(spec: Object, seen: Evidences) -> None:
    for container in all_containers(spec):
        context(container).pop("seccompProfile", None)
    own(spec)["seccompProfile"] = {"type": "RuntimeDefault"}


def no_capabilities(spec: Object, seen: Evidences) -> None:
    only_capabilities(spec, {})


def only_capabilities(spec: Object, kept: Mapping[str, Iterable[str]]) -> None:
    """Leave each container the capabilities that are kept for it, and no other."""
    for container in all_containers(spec):
        add = sorted(kept.get(container["name"], ()))
        own(container)["capabilities"] = {"drop": ["ALL"], **({"add": add} if add else {})}


def read_only_root(spec: Object, seen: Evidences) -> None:
    for container in all_containers(spec):
        own(container)["readOnlyRootFilesystem"] = True
        mounted = {mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts") or ()}
        for folder in folders(seen.get(container["name"], Evidence()).written):
            if not any(folder == at or folder.startswith(f"{at}/") for at in mounted):
                give_folder(spec, container, folder)


def give_folder(spec: Object, container: Object, folder: str) -> None:
    volume = "writable" + folder.replace("/", "-").replace("_", "-").replace(".", "-").lower()
    volumes = spec.setdefault("volumes", [])
    if not any(one["name"] == volume for one in volumes):
        volumes.append({"name": volume[:63].rstrip("-"), "emptyDir": {}})
    container.setdefault("volumeMounts", []).append({"name": volume[:63].rstrip("-"), "mountPath": folder})


def folders(written: Iterable[str]) -> list[str]:
    """Return the folders that must be writable for these files: ``/tmp`` whole, of ``/var/cache`` what is below it."""
    found = set()
    for path in written:
        parent = str(PurePosixPath(path).parent)
        whole = next((one for one in WHOLE if path == one or path.startswith(f"{one}/")), None)
        scratch = next((one for one in SCRATCH if path.startswith(f"{one}/")), None)
        if whole:
            found.add(whole)
        elif scratch:
            found.add("/".join(path.split("/")[: scratch.count("/") + 2]))
        elif parent != "/":
            found.add(parent)
    return sorted(one for one in found if not any(one.startswith(f"{other}/") for other in found))


def other_user(spec: Object, seen: Evidences) -> None:
    """Run as the user that it runs as, or as another than root where that is root."""
    of_pod = own(spec)
    for container in all_containers(spec):
        context(container).pop("runAsNonRoot", None)
    of_pod["runAsNonRoot"] = True
    for container in all_containers(spec):
        uids = seen.get(container["name"], Evidence()).uids
        asked = context(container).get("runAsUser", of_pod.get("runAsUser"))
        if asked:
            continue
        user = max(uids) if uids and 0 not in uids else OTHER_USER
        own(container)["runAsUser"] = user
        own(container).setdefault("runAsGroup", user)
    users = {context(container).get("runAsUser") for container in all_containers(spec)}
    groups = {context(container).get("runAsGroup") for container in all_containers(spec)}
    if len(users) == 1 and None not in users:  # said once, for all
        of_pod["runAsUser"] = users.pop()
        if len(groups) == 1 and None not in groups:
            of_pod["runAsGroup"] = groups.pop()
        for container in all_containers(spec):
            context(container).pop("runAsUser", None)
            if "runAsGroup" in of_pod:
                context(container).pop("runAsGroup", None)
    if spec.get("volumes") and of_pod.get("fsGroup") is None and of_pod.get("runAsGroup") is not None:
        of_pod["fsGroup"] = of_pod["runAsGroup"]


STEPS = (
    Step("not privileged", no_privileged),
    Step("without the node's processes and IPC", no_host_namespaces),
    Step("no privilege escalation", no_escalation),
    Step("seccomp RuntimeDefault", default_seccomp),
    Step("no capabilities", no_capabilities),
    Step("read-only root filesystem", read_only_root),
    Step("not root", other_user),
)
CAPABILITIES = STEPS[4]


def tightened(spec: Object, steps: Iterable[Step], seen: Evidences) -> Object:
    """Return a copy of the spec with steps taken."""
    made = copy.deepcopy(spec)
    for step in steps:
        step.take(made, seen)
    return made


def effective_steps(spec: Object, seen: Evidences) -> list[Step]:
    """Return the steps that would change something."""
    return [step for step in STEPS if tightened(spec, [step], seen) != spec]


def held(spec: Object) -> dict[str, list[str]]:
    """Return the capabilities that each container may have now; of a privileged one the runtime's own set is tried."""
    found = {}
    for container in all_containers(spec):
        wanted = context(container).get("capabilities") or {}
        have = (
            RUNTIME_DEFAULT
            if context(container).get("privileged")
            else granted(wanted.get("add") or (), wanted.get("drop") or ())
        )
        found[container["name"]] = sorted(have)
    return found


def without(spec: Object, container: str, capability: str) -> Object:
    """Return a copy of the spec in which one container lacks one of the capabilities that it has."""
    made = copy.deepcopy(spec)
    for one in all_containers(made):
        if one["name"] == container:
            wanted = own(one).setdefault("capabilities", {})
            wanted["drop"] = [*(wanted.get("drop") or ()), capability]
            added = [name for name in wanted.get("add") or () if plain(name) != capability]
            wanted.pop("add", None)
            if added:
                wanted["add"] = added
    return made


# what is proposed


class Finding(NamedTuple):
    """A step, and what came of its trial."""

    step: str
    works: bool
    why: str = ""


def changes(old: Object, new: Object) -> Object:
    """Return the strategic merge patch of a pod's spec: contexts, and the folders that became writable."""
    patch: Object = {}
    if new.get("securityContext") != old.get("securityContext"):
        patch["securityContext"] = differing(old.get("securityContext") or {}, new.get("securityContext") or {})
    for name in ("hostPID", "hostIPC"):
        if name in old and name not in new:
            patch[name] = None
    for kind in ("initContainers", "containers"):
        before = {one["name"]: one for one in old.get(kind) or ()}
        found = [made for one in new.get(kind) or () if len(made := of_container(before[one["name"]], one)) > 1]
        if found:
            patch[kind] = found
    known = [one["name"] for one in old.get("volumes") or ()]
    if more := [one for one in new.get("volumes") or () if one["name"] not in known]:
        patch["volumes"] = more
    return patch


def of_container(old: Object, new: Object) -> Object:
    patch: Object = {"name": new["name"]}
    if new.get("securityContext") != old.get("securityContext"):
        patch["securityContext"] = differing(old.get("securityContext") or {}, new.get("securityContext") or {})
    known = [mount["mountPath"] for mount in old.get("volumeMounts") or ()]
    if more := [mount for mount in new.get("volumeMounts") or () if mount["mountPath"] not in known]:
        patch["volumeMounts"] = more
    return patch


def differing(old: Object, new: Object) -> Object:
    """Return what a merge must set and take away; lists are set whole."""
    made: Object = {key: None for key in old if key not in new}
    return {**made, **{key: value for key, value in new.items() if old.get(key) != value}}


def needed(trials: Mapping[tuple[str, str], bool]) -> dict[str, list[str]]:
    """Return the capabilities that each container cannot be without, by ``(container, capability)`` → whether it worked."""
    found: dict[str, list[str]] = {}
    for (container, capability), worked in trials.items():
        if not worked:
            found.setdefault(container, []).append(capability)
    return found
