"""Why a node cannot run a pod as its security context asks: the reason and message with which the kubelet fails it.

A pod that asks for what the node cannot give is not run with less. Source: the kubelet's admit handlers (AppArmor, sysctls,
supplemental groups policy), https://kubernetes.io/docs/tasks/administer-cluster/sysctl-cluster/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sampan.schema.objects import Object
from sampan.security.baseline import SYSCTLS
from sampan.security.checks import containers, context
from sampan.security.context import setting
from sampan.security.host import Host

SAFE_SYSCTLS = tuple(name for _, names in SYSCTLS for name in names)
"""Namespaced, and without influence on other pods: what a pod may set without the node's leave."""

NAMESPACED = (
    ("ipc", ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")),
    ("net", ("net.",)),
    ("UTS", ("kernel.hostname", "kernel.domainname")),
)
"""Prefixes of sysctls that a namespace has for itself."""


def no_user_namespace(host: Host, handler: str) -> str:
    """Return why a pod cannot have a user namespace under a RuntimeClass's handler, "" where it can."""
    if handler and handler in host.without_user_namespaces:
        return f'can\'t set `spec.hostUsers: false`, RuntimeClass handler "{handler}" does not support user namespaces'
    if host.user_namespaces:
        return ""
    return "can't set `spec.hostUsers: false`, runtime does not support user namespaces"


class Refusal(NamedTuple):
    reason: str
    message: str


def refusal(spec: Object, host: Host, unsafe_sysctls: Sequence[str] = ()) -> Refusal | None:
    """Return why a pod cannot be run on a node, None where it can. ``unsafe_sysctls``: names, or prefixes with ``*``, that
    the node allows beside the safe ones."""
    if not host.app_armor and any(wants_app_armor(spec, one) for one in containers(spec)):
        return Refusal("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    for problem in sysctl_problems(spec, unsafe_sysctls):
        return Refusal("SysctlForbidden", f"forbidden sysctl: {problem}")
    if context(spec).get("supplementalGroupsPolicy") == "Strict" and not host.group_policies:
        message = "SupplementalGroupsPolicy=Strict is not supported in this node"
        return Refusal("SupplementalGroupsPolicyNotSupported", message)
    return None


def wants_app_armor(spec: Object, container: Object) -> bool:
    if context(container).get("privileged"):
        return False
    profile = setting(spec, container, "appArmorProfile")
    return profile is not None and profile.get("type") != "Unconfined"


def sysctl_problems(spec: Object, unsafe: Sequence[str]) -> Iterator[str]:
    shared = {"net": spec.get("hostNetwork"), "ipc": spec.get("hostIPC")}
    for entry in context(spec).get("sysctls") or ():
        name = str(entry.get("name", "")).replace("/", ".")
        if not any(allows(pattern, name) for pattern in (*SAFE_SYSCTLS, *unsafe)):
            yield f'"{name}" not allowlisted'
        kind = namespace_of(name)
        if shared.get(kind):
            yield f'"{name}" not allowed with host {kind} enabled'


def allows(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def namespace_of(sysctl: str) -> str:
    """Return the namespace that has a sysctl for itself, "" where it is the whole machine's."""
    return next((kind for kind, prefixes in NAMESPACED if sysctl.startswith(prefixes)), "")
