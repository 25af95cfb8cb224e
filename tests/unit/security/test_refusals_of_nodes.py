"""What a node cannot give, it refuses in the kubelet's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.security.host import ANY, Host
from sampan.security.refusals import Refusal, no_user_namespace, refusal

BARE = Host(app_armor=False, group_policies=False)


def spec(own: Any = None, **of_pod: Any) -> dict[str, Any]:
    return {"securityContext": of_pod, "containers": [{"name": "a", "securityContext": own or {}}]}


def sysctl(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "value": "1"} for name in names]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (spec(), None),
        (spec(appArmorProfile={"type": "Unconfined"}), None),
        (spec({"appArmorProfile": {"type": "RuntimeDefault"}, "privileged": True}), None),
        (
            spec(appArmorProfile={"type": "RuntimeDefault"}),
            Refusal("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host"),
        ),
        (
            spec(supplementalGroupsPolicy="Strict"),
            Refusal(
                "SupplementalGroupsPolicyNotSupported",
                "SupplementalGroupsPolicy=Strict is not supported in this node",
            ),
        ),
    ],
)
def test_what_needs_the_kernel_or_the_runtime(given: dict[str, Any], expected: Refusal | None) -> None:
    assert refusal(given, BARE) == expected
    assert refusal(given, ANY) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (spec(sysctls=sysctl("net.ipv4.tcp_syncookies", "net/ipv4/ip_local_port_range")), ""),
        (spec(sysctls=sysctl("kernel.sem")), ""),
        (spec(sysctls=sysctl("net.core.somaxconn")), 'forbidden sysctl: "net.core.somaxconn" not allowlisted'),
        (
            {**spec(sysctls=sysctl("net.ipv4.tcp_syncookies")), "hostNetwork": True},
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
        ),
        (
            {**spec(sysctls=sysctl("kernel.sem")), "hostIPC": True},
            'forbidden sysctl: "kernel.sem" not allowed with host ipc enabled',
        ),
    ],
)
def test_sysctls(given: dict[str, Any], message: str) -> None:
    assert refusal(given, ANY, ("kernel.sem", "net.ipv6.*")) == (
        Refusal("SysctlForbidden", message) if message else None
    )


def test_user_namespaces_by_handler() -> None:
    mixed = Host(without_user_namespaces=frozenset(("kata",)))
    assert no_user_namespace(mixed, "") == "" and no_user_namespace(mixed, "runc") == ""
    why = "can't set `spec.hostUsers: false`, "
    assert no_user_namespace(mixed, "kata") == f'{why}RuntimeClass handler "kata" does not support user namespaces'
    old = Host(user_namespaces=False)
    assert no_user_namespace(old, "") == f"{why}runtime does not support user namespaces"
    assert no_user_namespace(old, "crun") != ""
