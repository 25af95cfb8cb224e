"""The checks that the restricted level adds to baseline: hardening as it is good practice. Source: Pod Security Standards."""

from __future__ import annotations

from sampan.schema.objects import Object
from sampan.security.baseline import proc_mount, profile_type, wrong_seccomp
from sampan.security.checks import (
    Check,
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
    unless_windows,
)
from sampan.security.levels import Level

GOOD_VOLUMES = frozenset(
    (
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
)
OTHER_VOLUMES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "flexVolume",
    "cinder", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk",
    "portworxVolume", "scaleIO", "storageos",
)  # fmt: skip


def privilege_escalation(metadata: Object, spec: Object) -> Violation | None:
    bad = names(one for one in containers(spec) if context(one).get("allowPrivilegeEscalation") is not False)
    if not bad:
        return None
    detail = f"{listed(bad)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def capabilities(metadata: Object, spec: Object) -> Violation | None:
    keeping, adding, added = [], [], set()
    for one in containers(spec):
        wanted = context(one).get("capabilities") or {}
        if "ALL" not in (wanted.get("drop") or ()):
            keeping.append(one)
        extra = {capability for capability in wanted.get("add") or () if capability != "NET_BIND_SERVICE"}
        if extra:
            adding.append(one)
            added |= extra
    details = []
    if keeping:
        details.append(f'{listed(names(keeping))} must set securityContext.capabilities.drop=["ALL"]')
    if adding:
        who = listed(names(adding))
        details.append(f"{who} must not include {quoted(sorted(added))} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def volume_types(metadata: Object, spec: Object) -> Violation | None:
    bad, kinds = [], set()
    for volume in spec.get("volumes") or ():
        sources = {key for key, value in volume.items() if value is not None}
        if not sources & GOOD_VOLUMES:
            bad.append(volume.get("name", ""))
            kinds.add(next((kind for kind in OTHER_VOLUMES if kind in sources), "unknown"))
    if not bad:
        return None
    uses, what = "uses" if len(bad) == 1 else "use", plural("restricted volume type", len(kinds))
    return Violation(
        "restricted volume types", f"{plural('volume', len(bad))} {quoted(bad)} {uses} {what} {quoted(sorted(kinds))}"
    )


def run_as_non_root(metadata: Object, spec: Object) -> Violation | None:
    reason, of_pod = "runAsNonRoot != true", context(spec).get("runAsNonRoot")
    explicit = names(one for one in containers(spec) if context(one).get("runAsNonRoot") is False)
    who = setters(of_pod is False, explicit)
    if who:
        return Violation(reason, f"{who} must not set securityContext.runAsNonRoot=false")
    unset = names(one for one in containers(spec) if context(one).get("runAsNonRoot") is None)
    if unset and not of_pod:
        return Violation(reason, f"pod or {listed(unset)} must set securityContext.runAsNonRoot=true")
    return None


def run_as_user(metadata: Object, spec: Object) -> Violation | None:
    who = setters(
        context(spec).get("runAsUser") == 0,
        names(one for one in containers(spec) if context(one).get("runAsUser") == 0),
    )
    return Violation("runAsUser=0", f"{who} must not set runAsUser=0") if who else None


def seccomp(metadata: Object, spec: Object) -> Violation | None:
    wrong = wrong_seccomp(spec)
    if wrong is not None:
        return wrong
    unset = names(one for one in containers(spec) if profile_type(one, "seccompProfile") is None)
    if not unset or profile_type(spec, "seccompProfile") is not None:
        return None
    detail = f'pod or {listed(unset)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", detail)


CHECKS = (
    Check(
        "allowPrivilegeEscalation",
        Level.RESTRICTED,
        (Revision(8, privilege_escalation), Revision(25, unless_windows(privilege_escalation))),
    ),
    Check(
        "capabilities_restricted",
        Level.RESTRICTED,
        (
            Revision(22, capabilities, ("capabilities_baseline",)),
            Revision(25, unless_windows(capabilities), ("capabilities_baseline",)),
        ),
    ),
    Check("procMount_restricted", Level.RESTRICTED, (Revision(35, proc_mount, ("procMount",)),)),
    Check("restrictedVolumes", Level.RESTRICTED, (Revision(0, volume_types, ("hostPathVolumes",)),)),
    Check(
        "runAsNonRoot",
        Level.RESTRICTED,
        (Revision(0, run_as_non_root), Revision(35, unless_in_user_namespace(run_as_non_root))),
    ),
    Check(
        "runAsUser", Level.RESTRICTED, (Revision(23, run_as_user), Revision(35, unless_in_user_namespace(run_as_user)))
    ),
    Check(
        "seccompProfile_restricted",
        Level.RESTRICTED,
        (
            Revision(19, seccomp, ("seccompProfile_baseline",)),
            Revision(25, unless_windows(seccomp), ("seccompProfile_baseline",)),
        ),
    ),
)
