"""The checks of the baseline level: known ways to become the host's root. Source: Pod Security Standards, KEP-2579."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from sampan.schema.objects import Object
from sampan.security.checks import (
    Check,
    Judge,
    Revision,
    Violation,
    containers,
    context,
    listed,
    names,
    plural,
    quoted,
    setters,
    unless_in_user_namespace,
)
from sampan.security.levels import Level

APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_POD_ANNOTATION = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER_ANNOTATION = "container.seccomp.security.alpha.kubernetes.io/"
PROFILES = ("RuntimeDefault", "Localhost")
CAPABILITIES = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
     "SETPCAP", "SETUID", "SYS_CHROOT")
)  # fmt: skip
SELINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))
SYSCTLS = (
    (0, ("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
         "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start")),
    (27, ("net.ipv4.ip_local_reserved_ports",)),
    (29, ("net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
          "net.ipv4.tcp_keepalive_probes")),
    (32, ("net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")),
    (37, ("net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat")),
)  # fmt: skip
"""Sysctls that a pod may set, and since when."""


def profile_type(holder: Object, field: str) -> str | None:
    """Return the type of a profile (``seccompProfile``), None where none is set."""
    profile = context(holder).get(field)
    return None if profile is None else profile.get("type", "")


def app_armor(metadata: Object, spec: Object) -> Violation | None:
    def bad(holder: Object) -> bool:
        kind = profile_type(holder, "appArmorProfile")
        return kind is not None and kind not in PROFILES

    pod, wrong = bad(spec), [one for one in containers(spec) if bad(one)]
    values = {profile_type(one, "appArmorProfile") or "" for one in (*([spec] if pod else []), *wrong)}
    annotations = sorted(
        f'{key}="{value}"'
        for key, value in (metadata.get("annotations") or {}).items()
        if key.startswith(APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    who = setters(pod, names(wrong))
    who = " and ".join(word for word in (who, plural("annotation", len(annotations)) if annotations else "") if word)
    if not who:
        return None
    listing = [*sorted(values), *annotations]
    return Violation(
        plural("forbidden AppArmor profile", len(listing)),
        f"{who} must not set AppArmor profile type to {quoted(listing)}",
    )


def capabilities(metadata: Object, spec: Object) -> Violation | None:
    bad, added = [], set()
    for one in containers(spec):
        extra = {c for c in (context(one).get("capabilities") or {}).get("add") or () if c not in CAPABILITIES}
        if extra:
            bad.append(one)
            added |= extra
    if not bad:
        return None
    detail = f"{listed(names(bad))} must not include {quoted(sorted(added))} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def host_namespaces(metadata: Object, spec: Object) -> Violation | None:
    shared = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return Violation("host namespaces", ", ".join(shared)) if shared else None


def host_path_volumes(metadata: Object, spec: Object) -> Violation | None:
    bad = [volume.get("name", "") for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", f"{plural('volume', len(bad))} {quoted(bad)}") if bad else None


def host_ports(metadata: Object, spec: Object) -> Violation | None:
    bad, ports = [], set()
    for one in containers(spec):
        used = {str(port["hostPort"]) for port in one.get("ports") or () if port.get("hostPort")}
        if used:
            bad.append(one)
            ports |= used
    if not bad:
        return None
    uses = "uses" if len(bad) == 1 else "use"
    detail = f"{listed(names(bad))} {uses} {plural('hostPort', len(ports))} {', '.join(sorted(ports))}"
    return Violation("hostPort", detail)


def handlers(container: Object) -> Iterator[Object]:
    for field in ("livenessProbe", "readinessProbe", "startupProbe"):
        yield container.get(field) or {}
    lifecycle = container.get("lifecycle") or {}
    for field in ("postStart", "preStop"):
        yield lifecycle.get(field) or {}


def handler_hosts(container: Object) -> set[str]:
    found = (
        (handler.get(field) or {}).get("host") for handler in handlers(container) for field in ("httpGet", "tcpSocket")
    )
    return {host for host in found if host}


def handler_host(metadata: Object, spec: Object) -> Violation | None:
    bad = {str(one.get("name", "")): handler_hosts(one) for one in containers(spec) if handler_hosts(one)}
    if not bad:
        return None
    hosts = sorted(set().union(*bad.values()))
    uses, what = "uses" if len(bad) == 1 else "use", plural("probe or lifecycle host", len(hosts))
    return Violation("probe or lifecycle host", f"{listed(sorted(bad))} {uses} {what} {quoted(hosts)}")


def privileged(metadata: Object, spec: Object) -> Violation | None:
    bad = names(one for one in containers(spec) if context(one).get("privileged"))
    return Violation("privileged", f"{listed(bad)} must not set securityContext.privileged=true") if bad else None


def proc_mount(metadata: Object, spec: Object) -> Violation | None:
    bad = [one for one in containers(spec) if context(one).get("procMount", "Default") not in ("Default", None)]
    if not bad:
        return None
    kinds = sorted({context(one)["procMount"] for one in bad})
    return Violation("procMount", f"{listed(names(bad))} must not set securityContext.procMount to {quoted(kinds)}")


def se_linux(types: Collection[str]) -> Judge:
    def bad(holder: Object) -> bool:
        options = context(holder).get("seLinuxOptions") or {}
        return (options.get("type") or "") not in types or bool(options.get("user") or options.get("role"))

    def judge(metadata: Object, spec: Object) -> Violation | None:
        pod, wrong = bad(spec), [one for one in containers(spec) if bad(one)]
        options = [context(one)["seLinuxOptions"] for one in (*([spec] if pod else []), *wrong)]
        if not options:
            return None
        kinds = sorted({one.get("type") or "" for one in options} - set(types))
        said = [f"{plural('type', len(kinds))} {quoted(kinds)}"] if kinds else []
        said += [f"{key} may not be set" for key in ("user", "role") if any(one.get(key) for one in options)]
        detail = f"{setters(pod, names(wrong))} set forbidden securityContext.seLinuxOptions: {'; '.join(said)}"
        return Violation("seLinuxOptions", detail)

    return judge


def seccomp_annotations(metadata: Object, spec: Object) -> Violation | None:
    annotations = metadata.get("annotations") or {}
    keys = [SECCOMP_POD_ANNOTATION, *(SECCOMP_CONTAINER_ANNOTATION + name for name in names(containers(spec)))]
    bad = {
        f'{key}="{annotations[key]}"'
        for key in keys
        if key in annotations
        and annotations[key] not in ("runtime/default", "docker/default")
        and not annotations[key].startswith("localhost/")
    }
    if not bad:
        return None
    return Violation("seccompProfile", f"forbidden {plural('annotation', len(bad))} {', '.join(sorted(bad))}")


def wrong_seccomp(spec: Object) -> Violation | None:
    """Return the violation of those that set a seccomp profile that is neither of the two good ones."""

    def bad(holder: Object) -> bool:
        kind = profile_type(holder, "seccompProfile")
        return kind is not None and kind not in PROFILES

    pod, wrong = bad(spec), [one for one in containers(spec) if bad(one)]
    if not pod and not wrong:
        return None
    values = sorted({profile_type(one, "seccompProfile") or "" for one in (*([spec] if pod else []), *wrong)})
    who = setters(pod, names(wrong))
    return Violation("seccompProfile", f"{who} must not set securityContext.seccompProfile.type to {quoted(values)}")


def seccomp(metadata: Object, spec: Object) -> Violation | None:
    return wrong_seccomp(spec)


def sysctls(allowed: Collection[str]) -> Judge:
    def judge(metadata: Object, spec: Object) -> Violation | None:
        bad = [one.get("name", "") for one in context(spec).get("sysctls") or () if one.get("name") not in allowed]
        return Violation("forbidden sysctls", ", ".join(bad)) if bad else None

    return judge


def sysctl_revisions() -> Iterator[Revision]:
    allowed: tuple[str, ...] = ()
    for minor, more in SYSCTLS:
        allowed += more
        yield Revision(minor, sysctls(frozenset(allowed)))


def windows_host_process(metadata: Object, spec: Object) -> Violation | None:
    def bad(holder: Object) -> bool:
        return bool((context(holder).get("windowsOptions") or {}).get("hostProcess"))

    who = setters(bad(spec), names(one for one in containers(spec) if bad(one)))
    return (
        Violation("hostProcess", f"{who} must not set securityContext.windowsOptions.hostProcess=true") if who else None
    )


def always(judge: Callable[[Object, Object], Violation | None]) -> tuple[Revision, ...]:
    return (Revision(0, judge),)


CHECKS = (
    Check("appArmorProfile", Level.BASELINE, always(app_armor)),
    Check("capabilities_baseline", Level.BASELINE, always(capabilities)),
    Check("hostNamespaces", Level.BASELINE, always(host_namespaces)),
    Check("hostPathVolumes", Level.BASELINE, always(host_path_volumes)),
    Check("hostPorts", Level.BASELINE, always(host_ports)),
    Check("hostProbesAndHostLifecycle", Level.BASELINE, (Revision(34, handler_host),)),
    Check("privileged", Level.BASELINE, always(privileged)),
    Check(
        "procMount",
        Level.BASELINE,
        (Revision(0, proc_mount), Revision(35, unless_in_user_namespace(proc_mount))),
    ),
    Check(
        "seLinuxOptions",
        Level.BASELINE,
        (Revision(0, se_linux(SELINUX_TYPES)), Revision(31, se_linux(SELINUX_TYPES | {"container_engine_t"}))),
    ),
    Check("seccompProfile_baseline", Level.BASELINE, (Revision(0, seccomp_annotations), Revision(19, seccomp))),
    Check("sysctls", Level.BASELINE, tuple(sysctl_revisions())),
    Check("windowsHostProcess", Level.BASELINE, always(windows_host_process)),
)
