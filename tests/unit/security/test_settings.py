"""The table of settings: whose word holds, and what privileged, images, runtimes and kernels make of it."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.security.capabilities import ALL, RUNTIME_DEFAULT
from sampan.security.context import settle, who
from sampan.security.host import ANY, Host
from sampan.security.image_user import ImageUser
from sampan.security.settings import SETTINGS, Settled

BARE = Host(
    app_armor=False, se_linux=False, user_namespaces=False, group_policies=False, capabilities=ALL - {"SYS_TIME"}
)


@pytest.mark.parametrize(
    ("name", "of_pod", "own", "expected"),
    [
        ("runAsUser", {"runAsUser": 5}, {}, Settled(5, "[P]")),
        ("runAsUser", {"runAsUser": 5}, {"runAsUser": 6}, Settled(6, "[C]")),
        ("runAsUser", {}, {}, Settled(0, "runtime", "the image names no user")),
        ("runAsNonRoot", {"runAsNonRoot": True}, {"runAsNonRoot": False}, Settled(False, "[C]")),
        ("runAsNonRoot", {"runAsNonRoot": True}, {}, Settled(True, "[P]", "refused: the image runs as root")),
        ("runAsNonRoot", {"runAsNonRoot": True, "runAsUser": 0}, {}, Settled(True, "[P]", "refused: runAsUser is 0")),
        ("runAsNonRoot", {"runAsNonRoot": True, "runAsUser": 1}, {}, Settled(True, "[P]")),
        ("fsGroup", {"fsGroup": 5}, {"fsGroup": 6}, Settled(5, "[P]")),
        ("privileged", {"privileged": True}, {}, Settled(False, "default")),
        ("allowPrivilegeEscalation", {}, {}, Settled(True, "default")),
        ("allowPrivilegeEscalation", {}, {"privileged": True}, Settled(True, "derived", "privileged")),
        (
            "allowPrivilegeEscalation",
            {},
            {"allowPrivilegeEscalation": False, "capabilities": {"add": ["CAP_SYS_ADMIN"]}},
            Settled(True, "derived", "capability SYS_ADMIN"),
        ),
        ("seccompProfile", {}, {}, Settled({"type": "Unconfined"}, "default")),
        (
            "seccompProfile",
            {"seccompProfile": {"type": "RuntimeDefault"}},
            {},
            Settled({"type": "RuntimeDefault"}, "[P]"),
        ),
        (
            "seccompProfile",
            {"seccompProfile": {"type": "RuntimeDefault"}},
            {"privileged": True},
            Settled({"type": "Unconfined"}, "derived", "privileged"),
        ),
        ("procMount", {}, {"privileged": True}, Settled("Unmasked", "derived", "privileged")),
        ("capabilities", {}, {}, Settled(sorted(RUNTIME_DEFAULT), "runtime")),
        (
            "capabilities",
            {},
            {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}},
            Settled(["CHOWN"], "[C]", "drop ALL; add CHOWN"),
        ),
        ("capabilities", {}, {"privileged": True}, Settled(sorted(ALL), "derived", "privileged")),
    ],
)
def test_whose_word_holds(name: str, of_pod: Any, own: Any, expected: Settled) -> None:
    assert settle({"securityContext": of_pod}, {"securityContext": own})[name] == expected


@pytest.mark.parametrize(
    ("name", "spec", "note"),
    [
        ("appArmorProfile", {}, "n/a: no AppArmor here"),
        (
            "appArmorProfile",
            {"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}},
            "n/a: no AppArmor here, the pod is refused",
        ),
        ("seLinuxOptions", {"securityContext": {"seLinuxOptions": {"level": "s0"}}}, "n/a: no SELinux here, ignored"),
        ("hostUsers", {"hostUsers": False}, "the runtime cannot, the pod is refused"),
        (
            "supplementalGroupsPolicy",
            {"securityContext": {"supplementalGroupsPolicy": "Strict"}},
            "the runtime cannot, the pod is refused",
        ),
    ],
)
def test_what_a_node_cannot_is_said(name: str, spec: Any, note: str) -> None:
    assert settle(spec, {}, host=BARE)[name].note == note
    assert "refused" not in settle(spec, {}, host=ANY)[name].note


def test_nobody_gets_a_capability_that_the_runtime_has_not() -> None:
    own = {"securityContext": {"capabilities": {"add": ["SYS_TIME", "NET_ADMIN"], "drop": ["ALL"]}}}
    held = settle({}, own, host=BARE)["capabilities"]
    assert held == Settled(["NET_ADMIN"], "[C]", "drop ALL; add SYS_TIME,NET_ADMIN; this node has no SYS_TIME")


def test_a_profile_for_who_names_none_where_the_node_says_so() -> None:
    strict = Host(seccomp_default=True)
    assert settle({}, {}, host=strict)["seccompProfile"].value == {"type": "RuntimeDefault"}
    own = {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}
    assert settle({}, own, host=strict)["seccompProfile"] == Settled({"type": "Unconfined"}, "[C]")
    assert settle({}, {"securityContext": {"privileged": True}}, host=strict)["seccompProfile"].source == "derived"


def test_settings_of_the_spec_itself() -> None:
    held = settle({"hostPID": True, "hostUsers": False}, {})
    assert held["hostPID"] == Settled(True, "[P]") and held["hostUsers"] == Settled(False, "[P]")
    assert held["hostIPC"] == Settled(False, "default")


def test_every_row_is_settled() -> None:
    assert list(settle({}, {})) == [row.name for row in SETTINGS]


def test_who_runs() -> None:
    image = ImageUser("web", "root:x:0:0::/:\nweb:x:5:6::/:\n", "staff:x:50:other,web\n")
    spec = {"securityContext": {"fsGroup": 9, "supplementalGroups": [6, 7]}}
    assert who(spec, {}, image) == (5, 6, {7, 9, 50}, {50})
    spec["securityContext"]["supplementalGroupsPolicy"] = "Strict"  # type: ignore[assignment]
    assert who(spec, {}, image) == (5, 6, {7, 9}, frozenset())
