"""Every setting of a security context, one row each: who may set it, what holds where nobody does, what others make of it.

``[P]`` is the PodSpec (its securityContext, or the spec itself for ``hostNetwork`` and its like), ``[C]`` the container's
securityContext, which wins where both may set it. ``SETTINGS`` is the whole table; ``context.py`` runs it.
Source: core/v1 PodSecurityContext and SecurityContext; kubernetes pkg/securitycontext.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sampan.schema.objects import Object
from sampan.security.capabilities import granted
from sampan.security.host import Host
from sampan.security.image_user import ImageUser

POD, CONTAINER, DEFAULT, IMAGE, RUNTIME, KERNEL = "[P]", "[C]", "default", "image", "runtime", "kernel"
DERIVED = "derived"


class Settled(NamedTuple):
    """A setting as it holds for a container."""

    value: Any
    source: str
    """``[P]``, ``[C]``, ``default`` (Kubernetes'), ``image``, ``runtime``, ``kernel``, ``derived`` (from other settings)."""
    note: str = ""


class Facts(NamedTuple):
    """What a derivation may look at."""

    spec: Object
    own: Object
    """The container's securityContext."""
    of_pod: Object
    """The pod's."""
    image: ImageUser
    host: Host

    def shared(self, name: str) -> Any:
        """Return what is asked for, the container's before the pod's."""
        value = self.own.get(name)
        return value if value is not None else self.of_pod.get(name)

    @property
    def privileged(self) -> bool:
        return bool(self.own.get("privileged"))


Derivation = Callable[[Facts, Settled], Settled]


class Setting(NamedTuple):
    name: str
    places: str
    """Who may set it: ``PC``, ``P``, ``C``, or ``S`` for the pod's spec itself."""
    default: Any = None
    derive: Derivation | None = None
    """What other settings, the image, the runtime or the kernel make of it."""


# derivations


def user(facts: Facts, settled: Settled) -> Settled:
    if settled.value is not None:
        return settled
    image = facts.image
    if image.name:
        value = image.uid if image.uid is not None else image.name
        return Settled(value, IMAGE, f"USER {image.user}")
    return Settled(0, RUNTIME, "the image names no user")


def non_root(facts: Facts, settled: Settled) -> Settled:
    if not settled.value:
        return settled
    value, image = facts.shared("runAsUser"), facts.image
    problem = ""
    if value == 0:
        problem = "refused: runAsUser is 0"
    elif value is None and image.uid is None:
        problem = f"refused: the image's user {image.name!r} is no number"
    elif value is None and image.uid == 0:
        problem = "refused: the image runs as root"
    return settled._replace(note=problem)


def escalation(facts: Facts, settled: Settled) -> Settled:
    if facts.privileged:
        return Settled(True, DERIVED, "privileged")
    if "SYS_ADMIN" in added(facts):
        return Settled(True, DERIVED, "capability SYS_ADMIN")
    return settled


def added(facts: Facts) -> set[str]:
    wanted = (facts.own.get("capabilities") or {}).get("add") or ()
    return {str(name).upper().removeprefix("CAP_") for name in wanted}


def capabilities(facts: Facts, settled: Settled) -> Settled:
    if facts.privileged:
        return Settled(sorted(facts.host.capabilities), DERIVED, "privileged")
    wanted = settled.value or {}
    add, drop = wanted.get("add") or (), wanted.get("drop") or ()
    given = sorted(granted(add, drop, facts.host.capabilities))
    if not add and not drop:
        return Settled(given, RUNTIME)
    missing = sorted(added(facts) - {"ALL"} - facts.host.capabilities)
    note = f"this node has no {', '.join(missing)}" if missing else ""
    said = [f"{word} {','.join(names)}" for word, names in (("drop", drop), ("add", add)) if names]
    return Settled(given, CONTAINER, "; ".join([*said, *([note] if note else [])]))


def seccomp(facts: Facts, settled: Settled) -> Settled:
    if not facts.host.seccomp:
        return Settled({"type": "Unconfined"}, KERNEL, "n/a: no seccomp here")
    if facts.privileged:
        return Settled({"type": "Unconfined"}, DERIVED, "privileged")
    if settled.source == DEFAULT and facts.host.seccomp_default:
        return Settled({"type": "RuntimeDefault"}, DEFAULT, "the kubelet's seccompDefault")
    return settled


def app_armor(facts: Facts, settled: Settled) -> Settled:
    if not facts.host.app_armor:
        asked = (settled.value or {}).get("type", "Unconfined") != "Unconfined"
        note = "n/a: no AppArmor here" + (", the pod is refused" if asked and settled.source != DEFAULT else "")
        return Settled({"type": "Unconfined"}, KERNEL, note)
    if facts.privileged:
        return Settled({"type": "Unconfined"}, DERIVED, "privileged")
    return settled


def se_linux(facts: Facts, settled: Settled) -> Settled:
    if facts.host.se_linux:
        return settled
    return Settled(None, KERNEL, "n/a: no SELinux here" + (", ignored" if settled.value else ""))


def proc_mount(facts: Facts, settled: Settled) -> Settled:
    return Settled("Unmasked", DERIVED, "privileged") if facts.privileged else settled


def group_policy(facts: Facts, settled: Settled) -> Settled:
    if settled.value == "Strict" and not facts.host.group_policies:
        return settled._replace(note="the runtime cannot, the pod is refused")
    return settled


def host_users(facts: Facts, settled: Settled) -> Settled:
    if settled.value is False and not facts.host.user_namespaces:
        return settled._replace(note="the runtime cannot, the pod is refused")
    return settled


SETTINGS = (
    Setting("runAsUser", "PC", None, user),
    Setting("runAsGroup", "PC"),
    Setting("runAsNonRoot", "PC", False, non_root),
    Setting("supplementalGroups", "P"),
    Setting("supplementalGroupsPolicy", "P", "Merge", group_policy),
    Setting("fsGroup", "P"),
    Setting("fsGroupChangePolicy", "P", "Always"),
    Setting("privileged", "C", False),
    Setting("allowPrivilegeEscalation", "C", True, escalation),
    Setting("capabilities", "C", None, capabilities),
    Setting("readOnlyRootFilesystem", "C", False),
    Setting("procMount", "C", "Default", proc_mount),
    Setting("seccompProfile", "PC", {"type": "Unconfined"}, seccomp),
    Setting("appArmorProfile", "PC", {"type": "RuntimeDefault"}, app_armor),
    Setting("seLinuxOptions", "PC", None, se_linux),
    Setting("seLinuxChangePolicy", "P"),
    Setting("windowsOptions", "PC"),
    Setting("sysctls", "P"),
    Setting("hostUsers", "S", True, host_users),
    Setting("hostNetwork", "S", False),
    Setting("hostPID", "S", False),
    Setting("hostIPC", "S", False),
    Setting("shareProcessNamespace", "S", False),
)
