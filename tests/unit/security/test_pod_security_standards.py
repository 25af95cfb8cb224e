"""Every check of the Pod Security Standards: what it lets through, what it refuses in which words, from which version on."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.security.checks import Violation
from sampan.security.levels import LATEST, Level, Standard
from sampan.security.standards import NEWEST, Evaluator, check_judges
from sampan.security.templates import pod_of

PSS = Evaluator()


def pod(*, annotations: dict[str, str] | None = None, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    spec.setdefault("containers", [{"name": "a"}])
    return {"annotations": annotations or {}}, spec


def one(**container: Any) -> list[dict[str, Any]]:
    return [{"name": "a", **container}]


def two(context: Any) -> dict[str, Any]:
    """An init container and a container with the same securityContext."""
    return {"initContainers": [{"name": "i", "securityContext": context}], "containers": one(securityContext=context)}


def said(level: Level, minor: int, given: tuple[dict[str, Any], dict[str, Any]]) -> str:
    return PSS.judge(Standard(level, minor), *given).detail


HARDENED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    "capabilities": {"drop": ["ALL"]},
}

APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
BASELINE = [
    # (since which minor, the pod, what is said of it); "" is a pod that is fine
    (0, pod(), ""),
    (0, pod(securityContext={"appArmorProfile": {"type": "RuntimeDefault"}}), ""),
    (
        0,
        pod(
            securityContext={"appArmorProfile": {"type": "Unconfined"}},
            containers=one(securityContext={"appArmorProfile": {"type": "Nope"}}),
            annotations={
                f"{APPARMOR}a": "unconfined",
                f"{APPARMOR}b": "localhost/x",
                f"{APPARMOR}c": "runtime/default",
            },
        ),
        'forbidden AppArmor profiles (pod and container "a" and annotation must not set AppArmor profile type to "Nope", '
        f'"Unconfined", "{APPARMOR}a="unconfined"")',
    ),
    (
        0,
        pod(annotations={f"{APPARMOR}a": "unconfined"}),
        f'forbidden AppArmor profile (annotation must not set AppArmor profile type to "{APPARMOR}a="unconfined"")',
    ),
    (0, pod(**two({"capabilities": {"add": ["CHOWN", "NET_BIND_SERVICE"], "drop": ["KILL"]}})), ""),
    (
        0,
        pod(**two({"capabilities": {"add": ["SYS_ADMIN", "NET_RAW", "CHOWN"]}})),
        'non-default capabilities (containers "i", "a" must not include "NET_RAW", "SYS_ADMIN" in '
        "securityContext.capabilities.add)",
    ),
    (0, pod(hostNetwork=False, hostPID=False), ""),
    (
        0,
        pod(hostNetwork=True, hostPID=True, hostIPC=True),
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (
        0,
        pod(volumes=[{"name": "x", "hostPath": {"path": "/"}}, {"name": "y", "emptyDir": {}}]),
        'hostPath volumes (volume "x")',
    ),
    (0, pod(containers=one(ports=[{"containerPort": 80}, {"containerPort": 1, "hostPort": 0}])), ""),
    (
        0,
        pod(containers=[*one(ports=[{"hostPort": 80}]), {"name": "b", "ports": [{"hostPort": 80}, {"hostPort": 1}]}]),
        'hostPort (containers "a", "b" use hostPorts 1, 80)',
    ),
    (0, pod(containers=one(ports=[{"hostPort": 80}])), 'hostPort (container "a" uses hostPort 80)'),
    (
        34,
        pod(
            containers=one(
                livenessProbe={"httpGet": {"port": 1, "host": "h2"}},
                lifecycle={"preStop": {"tcpSocket": {"host": "h1"}}},
            )
        ),
        'probe or lifecycle host (container "a" uses probe or lifecycle hosts "h1", "h2")',
    ),
    (
        0,
        pod(ephemeralContainers=[{"name": "e", "securityContext": {"privileged": True}}]),
        'privileged (container "e" must not set securityContext.privileged=true)',
    ),
    (0, pod(**two({"privileged": False, "procMount": "Default"})), ""),
    (
        0,
        pod(**two({"procMount": "Unmasked"})),
        'procMount (containers "i", "a" must not set securityContext.procMount to "Unmasked")',
    ),
    (0, pod(securityContext={"seLinuxOptions": {"type": "container_kvm_t", "level": "s0"}}), ""),
    (
        0,
        pod(
            securityContext={"seLinuxOptions": {"type": "spc_t"}},
            containers=one(securityContext={"seLinuxOptions": {"user": "u", "role": "r"}}),
        ),
        'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be '
        "set; role may not be set)",
    ),
    (19, pod(**two({"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}})), ""),
    (
        19,
        pod(securityContext={"seccompProfile": {"type": "Unconfined"}}, **two({"seccompProfile": {"type": "Odd"}})),
        'seccompProfile (pod and containers "i", "a" must not set securityContext.seccompProfile.type to "Odd", '
        '"Unconfined")',
    ),
    (0, pod(securityContext={"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}), ""),
    (
        0,
        pod(securityContext={"sysctls": [{"name": "kernel.sem"}, {"name": "net.core.somaxconn"}]}),
        "forbidden sysctls (kernel.sem, net.core.somaxconn)",
    ),
    (
        0,
        pod(
            securityContext={"windowsOptions": {"hostProcess": True}},
            containers=one(securityContext={"windowsOptions": {"hostProcess": True}}),
        ),
        'hostProcess (pod and container "a" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
]


@pytest.mark.parametrize("minor", range(NEWEST + 1))
@pytest.mark.parametrize(("since", "given", "expected"), BASELINE)
def test_baseline(minor: int, since: int, given: Any, expected: str) -> None:
    assert said(Level.BASELINE, minor, given) == (expected if minor >= since else "")


HARD = {"securityContext": HARDENED}
RESTRICTED = [
    (0, {}, ""),
    (
        8,
        {"containers": [{"name": "a", "securityContext": {**HARDENED, "allowPrivilegeEscalation": True}}]},
        'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    (
        22,
        {"containers": [{"name": "a", "securityContext": {**HARDENED, "capabilities": {"add": ["CHOWN", "KILL"]}}}]},
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]; container "a" must '
        'not include "CHOWN", "KILL" in securityContext.capabilities.add)',
    ),
    (
        22,
        {"containers": [{"name": "a", "securityContext": {**HARDENED, "capabilities": {"add": ["NET_BIND_SERVICE"]}}}]},
        'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])',
    ),
    (
        0,
        {"volumes": [{"name": v, v: {}} for v in ("configMap", "image", "ephemeral", "csi", "projected")]},
        "",
    ),
    (
        0,
        {"volumes": [{"name": "n", "nfs": {}}, {"name": "h", "hostPath": {}}, {"name": "z", "future": {}}]},
        'restricted volume types (volumes "n", "h", "z" use restricted volume types "hostPath", "nfs", "unknown")',
    ),
    (
        0,
        {"volumes": [{"name": "n", "nfs": {}}]},
        'restricted volume types (volume "n" uses restricted volume type "nfs")',
    ),
    (
        0,
        {"securityContext": {"runAsNonRoot": False}},
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
    ),
    (
        0,
        {"containers": [{"name": "a", "securityContext": {**HARDENED, "runAsNonRoot": None}}]},
        'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
    ),
    (
        23,
        {"securityContext": {"runAsUser": 0}},
        "runAsUser=0 (pod must not set runAsUser=0)",
    ),
    (
        19,
        {"containers": [{"name": "a", "securityContext": {**HARDENED, "seccompProfile": None}}]},
        'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ),
    (
        19,
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
        'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
]


@pytest.mark.parametrize("minor", range(NEWEST + 1))
@pytest.mark.parametrize(("since", "spec", "expected"), RESTRICTED)
def test_restricted(minor: int, since: int, spec: dict[str, Any], expected: str) -> None:
    given = pod(**{"containers": [{"name": "a", **HARD}], **spec})
    if minor < 19 and "seccompProfile" in str(spec) and not expected:
        return
    want = expected if minor >= since else ""
    if since == 22 and minor < 22:  # baseline's check is still in force, and knows these capabilities
        want = ""
    assert said(Level.RESTRICTED, minor, given) == want


def test_what_is_restricted_takes_the_place_of_what_is_basic() -> None:
    given = pod(**two({"capabilities": {"add": ["SYS_ADMIN"]}}), volumes=[{"name": "h", "hostPath": {}}])
    reasons = [v.reason for v in PSS.judge(Standard(Level.RESTRICTED, LATEST), *given).violations]
    assert reasons == [
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "restricted volume types",
        "runAsNonRoot != true",
        "seccompProfile",
    ]


@pytest.mark.parametrize(
    ("sysctl", "since"),
    [
        ("net.ipv4.ip_unprivileged_port_start", 0),
        ("net.ipv4.ip_local_reserved_ports", 27),
        ("net.ipv4.tcp_keepalive_time", 29),
        ("net.ipv4.tcp_rmem", 32),
        ("net.ipv4.tcp_notsent_lowat", 37),
    ],
)
def test_sysctls_become_safe_with_versions(sysctl: str, since: int) -> None:
    given = pod(securityContext={"sysctls": [{"name": sysctl, "value": "1"}]})
    for minor in range(NEWEST + 1):
        assert (said(Level.BASELINE, minor, given) == "") == (minor >= since)


def test_selinux_engine_type_since_31() -> None:
    given = pod(securityContext={"seLinuxOptions": {"type": "container_engine_t"}})
    assert "container_engine_t" in said(Level.BASELINE, 30, given)
    assert said(Level.BASELINE, 31, given) == ""


def test_seccomp_annotations_until_18() -> None:
    pod_key, container_key = (f"{word}seccomp.security.alpha.kubernetes.io/" for word in ("", "container."))
    given = pod(annotations={f"{pod_key}pod": "unconfined", f"{container_key}a": "x", f"{container_key}other": "x"})
    detail = f'seccompProfile (forbidden annotations {container_key}a="x", {pod_key}pod="unconfined")'
    assert said(Level.BASELINE, 18, given) == detail
    assert said(Level.BASELINE, 19, given) == ""
    assert said(Level.BASELINE, 18, pod(annotations={f"{pod_key}pod": "docker/default"})) == ""


def test_user_namespaces_relax_since_35() -> None:
    given = pod(hostUsers=False, **two({**HARDENED, "runAsNonRoot": False, "runAsUser": 0, "procMount": "Unmasked"}))
    assert said(Level.BASELINE, 34, given).startswith("procMount")
    assert said(Level.BASELINE, 35, given) == ""
    assert [v.reason for v in PSS.judge(Standard(Level.RESTRICTED, 34), *given).violations] == [
        "procMount",
        "runAsNonRoot != true",
        "runAsUser=0",
    ]
    assert [v.reason for v in PSS.judge(Standard(Level.RESTRICTED, 35), *given).violations] == ["procMount"]


def test_windows_pods_need_not_say_what_windows_has_not_since_25() -> None:
    given = pod(os={"name": "windows"}, securityContext={"runAsNonRoot": True})
    assert said(Level.RESTRICTED, 25, given) == ""
    assert len(PSS.judge(Standard(Level.RESTRICTED, 24), *given).violations) == 3


def test_a_later_version_than_the_emulated_is_the_emulated() -> None:
    given = pod(containers=one(livenessProbe={"tcpSocket": {"host": "h"}}))
    for asked in (34, 99, LATEST):
        assert Evaluator(33).judge(Standard(Level.BASELINE, asked), *given).allowed
        assert not PSS.judge(Standard(Level.BASELINE, asked), *given).allowed


def test_privileged_judges_nothing() -> None:
    assert said(Level.PRIVILEGED, LATEST, pod(hostPID=True, **two({"privileged": True}))) == ""


def test_number_of_checks_of_a_level() -> None:
    assert [len(check_judges(Standard(Level.BASELINE, minor))) for minor in (0, 34)] == [11, 12]
    # 12 and 7 checks, of which three take the place of another and capabilities' of a fourth
    assert len(check_judges(Standard(Level.RESTRICTED, 37))) == 12 + 7 - 4


@pytest.mark.parametrize(
    ("group", "kind", "obj"),
    [
        ("", "Pod", {"spec": {"x": 1}}),
        ("", "PodTemplate", {"template": {"spec": {"x": 1}}}),
        ("apps", "Deployment", {"spec": {"template": {"spec": {"x": 1}}}}),
        ("batch", "CronJob", {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"x": 1}}}}}}),
    ],
)
def test_the_pod_in_an_object(group: str, kind: str, obj: dict[str, Any]) -> None:
    assert pod_of(group, kind, obj) == ({}, {"x": 1})
    assert pod_of(group, kind, {}) is None
    assert pod_of("other", kind, obj) is None


def test_reasons_alone_are_for_many_pods() -> None:
    verdict = PSS.judge(Standard(Level.BASELINE), *pod(hostPID=True, **two({"privileged": True})))
    assert verdict.reason == "host namespaces, privileged"
    assert verdict.violations[0] == Violation("host namespaces", "hostPID=true")
