"""The effective security context of a container: what the pod says, where the container does not say otherwise.

Source: the field docs of core/v1 PodSecurityContext and SecurityContext ("[P]" and "[C]" in what follows), and kubernetes
pkg/securitycontext. Windows' options are merged field by field; everything else as a whole.
"""

from __future__ import annotations

from typing import Any

from sampan.schema.objects import Object
from sampan.security.checks import context

SHARED = ("appArmorProfile", "runAsGroup", "runAsNonRoot", "runAsUser", "seLinuxOptions", "seccompProfile")
"""[P] and [C]: the container's wins."""

OF_POD = (
    "fsGroup",
    "fsGroupChangePolicy",
    "seLinuxChangePolicy",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "sysctls",
)
"""[P] only."""

OF_CONTAINER = ("capabilities", "privileged", "procMount", "readOnlyRootFilesystem")
"""[C] only."""


def setting(spec: Object, container: Object, name: str) -> Any:
    """Return a setting that both may have, None where neither has it."""
    own = context(container).get(name)
    return own if own is not None else context(spec).get(name)


def effective(spec: Object, container: Object) -> Object:
    """Return everything that holds for a container of a pod. What is set nowhere is not there, but for
    ``allowPrivilegeEscalation``: it is allowed unless forbidden, and always where privileged or CAP_SYS_ADMIN is."""
    own, of_pod = context(container), context(spec)
    made = {name: setting(spec, container, name) for name in SHARED}
    made |= {name: own.get(name) for name in OF_CONTAINER} | {name: of_pod.get(name) for name in OF_POD}
    windows = {**(of_pod.get("windowsOptions") or {}), **(own.get("windowsOptions") or {})}
    made["windowsOptions"] = windows or None
    made["allowPrivilegeEscalation"] = escalates(own)
    return {name: value for name, value in made.items() if value is not None}


def escalates(own: Object) -> bool:
    """Whether a process may gain more privileges than its parent has (no_new_privs is off)."""
    if own.get("privileged") or "SYS_ADMIN" in ((own.get("capabilities") or {}).get("add") or ()):
        return True
    return own.get("allowPrivilegeEscalation") is not False
