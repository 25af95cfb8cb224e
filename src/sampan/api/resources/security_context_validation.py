"""Validation of security contexts. Source: kubernetes pkg/apis/core/validation (ValidateSecurityContext …)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sampan.api.resource import Cause
from sampan.api.resources.checking import between, one_of, relative_path
from sampan.api.resources.reading import items
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported, required, too_long
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

MAX_ID = 2**31 - 1
OWN_USERS = "when `hostUsers` is false"
PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
SYSCTL_FORMAT = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
SYSCTL = re.compile(SYSCTL_FORMAT, re.ASCII)
IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
NET_SYSCTLS = ("net.",)
DNS_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
WINDOWS_DOMAIN = re.compile(rf'[^\\/:*?"<>|.][^\\/:*?"<>|]{{0,14}}|{DNS_NAME}(?:\.{DNS_NAME})*')
WINDOWS_BAD = re.compile(r'["/\\:;|=,+*?<>@\[\]]')


def ids(context: Object, field: str, names: tuple[str, ...]) -> Iterator[Cause]:
    for key in names:
        value = context.get(key)
        if value is not None and not 0 <= value <= MAX_ID:
            yield from between(f"{field}.{key}", value, 0, MAX_ID)


def profiles(context: Object, field: str) -> Iterator[Cause]:
    """The parts that a pod and a container have in common."""
    if context.get("seccompProfile") is not None:
        yield from seccomp(context["seccompProfile"], f"{field}.seccompProfile")
    if context.get("appArmorProfile") is not None:
        yield from app_armor(context["appArmorProfile"], f"{field}.appArmorProfile")
    if context.get("windowsOptions") is not None:
        yield from windows_options(context["windowsOptions"], f"{field}.windowsOptions")


def seccomp(profile: Object, field: str) -> Iterator[Cause]:
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if not kind:
        yield required(f"{field}.type", "type is required when seccompProfile is set")
    else:
        yield from one_of(f"{field}.type", kind, PROFILES)
    if kind != "Localhost":
        if local is not None:
            shown = {"Type": kind or "", "LocalhostProfile": local}
            yield invalid(f"{field}.localhostProfile", shown, "can only be set when seccomp type is Localhost")
    elif local is None:
        yield required(f"{field}.localhostProfile", "must be set when seccomp type is Localhost")
    else:
        yield from relative_path(f"{field}.localhostProfile", local)


def app_armor(profile: Object, field: str) -> Iterator[Cause]:
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if not kind:
        yield required(f"{field}.type", "type is required when appArmorProfile is set")
    elif kind not in PROFILES:
        yield not_supported(f"{field}.type", kind, PROFILES)
    elif kind != "Localhost":
        if local is not None:
            yield invalid(f"{field}.localhostProfile", local, "can only be set when AppArmor type is Localhost")
    elif local is not None and local.strip() != local:
        yield invalid(f"{field}.localhostProfile", local, "must not be padded with whitespace")
    elif not local:
        yield required(f"{field}.localhostProfile", "must be set when AppArmor type is Localhost")
    elif len(local) > 4095:
        yield too_long(f"{field}.localhostProfile", 4095)


def windows_options(options: Object, field: str) -> Iterator[Cause]:
    name = options.get("gmsaCredentialSpecName")
    for message in dns1123_subdomain(name) if name is not None else ():
        yield invalid(f"{field}.gmsaCredentialSpecName", name, message)
    spec, user = options.get("gmsaCredentialSpec"), options.get("runAsUserName")
    if spec is not None and not spec:
        yield invalid(f"{field}.gmsaCredentialSpec", spec, "gmsaCredentialSpec cannot be an empty string")
    elif spec is not None and len(spec) > 64 * 1024:
        yield invalid(f"{field}.gmsaCredentialSpec", spec, "gmsaCredentialSpec size must be under 64 KiB")
    if user is not None:
        for message in windows_user(user):
            yield invalid(f"{field}.runAsUserName", user, message)


def windows_user(text: str) -> Iterator[str]:
    domain, backslash, user = text.rpartition("\\")
    if not text:
        yield "runAsUserName cannot be an empty string"
    elif re.search(r"[\x00-\x1f\x7f]", text):
        yield "runAsUserName cannot contain control characters"
    elif "\\" in domain:
        yield "runAsUserName cannot contain more than one backslash"
    else:
        if len(domain) >= 256:
            yield "runAsUserName's Domain length must be under 256 characters"
        if backslash and not WINDOWS_DOMAIN.fullmatch(domain):
            yield "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
        if not user:
            yield "runAsUserName's User cannot be empty"
        elif len(user) > 104:
            yield "runAsUserName's User length must not be longer than 104 characters"
        if user and not user.strip(". "):
            yield "runAsUserName's User cannot contain only periods or spaces"
        if WINDOWS_BAD.search(user):
            yield "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"


def container_context(context: Object, field: str, host_users: bool) -> Iterator[Cause]:
    """Yield why the securityContext of a container is refused."""
    yield from ids(context, field, ("runAsUser", "runAsGroup"))
    mount = context.get("procMount")
    if mount is not None:
        yield from one_of(f"{field}.procMount", mount, ("Default", "Unmasked"))
        if host_users and mount == "Unmasked":
            yield invalid(f"{field}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    if context.get("allowPrivilegeEscalation") is False:
        refusal = "cannot set `allowPrivilegeEscalation` to false and"
        if context.get("privileged"):
            yield invalid(field, context, f"{refusal} `privileged` to true")
        if "CAP_SYS_ADMIN" in items(context, "capabilities", "add"):
            yield invalid(field, context, f"{refusal} `capabilities.Add` CAP_SYS_ADMIN")
    yield from profiles(context, field)


def pod_context(spec: Object, context: Object, field: str, path: str) -> Iterator[Cause]:
    """Yield why the securityContext of a pod is refused; ``path`` is that of the spec."""
    yield from ids(context, field, ("fsGroup", "runAsUser", "runAsGroup"))
    for index, group in enumerate(items(context, "supplementalGroups")):
        yield from between(f"{field}.supplementalGroups[{index}]", group, 0, MAX_ID)
    yield from sysctls(spec, context, f"{field}.sysctls")
    for key, known in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        yield from one_of(f"{field}.{key}", context.get(key), known)
    yield from profiles(context, field)


def sysctls(spec: Object, context: Object, field: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, sysctl in enumerate(items(context, "sysctls")):
        path, name = f"{field}[{index}].name", sysctl.get("name") or ""
        if not name:
            yield required(path)
        elif len(name) > 253 or not SYSCTL.fullmatch(name):
            yield invalid(path, name, f"must have at most 253 characters and match regex ^{SYSCTL_FORMAT}$")
        elif name in seen:
            yield duplicate(path, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith(NET_SYSCTLS):
            yield invalid(path, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and dotted.startswith(IPC_SYSCTLS):
            yield invalid(path, name, "may not be specified when 'hostIPC' is true")


def host_users(spec: Object, field: str) -> Iterator[Cause]:
    """A pod with users of its own shares no other namespace with the host."""
    if spec.get("hostUsers") is not False:
        return
    for key, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(key):
            yield forbidden(f"{field}.{shown}", OWN_USERS)
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            if container.get("volumeDevices"):
                yield forbidden(f"{field}.{kind}[{index}].volumeDevices", OWN_USERS)
