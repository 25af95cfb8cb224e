"""The table that people see: users and groups resolved, what the kernel says beside it, where that differs."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.security.capabilities import ALL, RUNTIME_DEFAULT
from sampan.security.host import ANY
from sampan.security.image_user import ImageUser
from sampan.security.table import Process, Row, lines, rows

IMAGE = ImageUser("web", "root:x:0:0::/:\nweb:x:5:6::/:\n", "staff:x:50:web\n")
NODE = {"net": 1, "pid": 2, "ipc": 3, "user": 4, "mnt": 5}
SANDBOX = {"net": 11, "pid": 12, "ipc": 13, "user": 4, "mnt": 15}
WEB = Process(
    pid=100,
    uid=5,
    gid=6,
    groups=frozenset((6, 50)),
    effective=frozenset(),
    bounding=RUNTIME_DEFAULT,
    no_new_privileges=False,
    seccomp=False,
    namespaces={**SANDBOX, "pid": 22, "mnt": 25},
    node_namespaces=NODE,
    sandbox_namespaces=SANDBOX,
    read_only_root=False,
    mounted_over=frozenset(("/proc/sys",)),
    app_armor="cri-containerd.apparmor.d (enforce)",
)


def table(own: Any = None, process: Process | None = None, **spec: Any) -> dict[str, Row]:
    whole = {"containers": [{"name": "c", "securityContext": own or {}}], **spec}
    return {row.setting: row for row in rows(whole, lambda one: IMAGE, ANY, {"c": process} if process else None)}


def test_users_and_groups_are_resolved_by_the_image() -> None:
    found = table(securityContext={"fsGroup": 9})
    assert found["runAsUser"][2:5] == (5, "image", "USER web")
    assert found["runAsGroup"][2:5] == (6, "image", "/etc/passwd")
    assert found["groups"][2:5] == ([9, 50], "[P]+image", "50 of /etc/group")
    assert found["effectiveCapabilities"].value == [] and found["capabilities"].value == sorted(RUNTIME_DEFAULT)
    assert "windowsOptions" not in found


def test_a_process_as_it_was_asked_for_does_not_differ() -> None:
    assert not [row for row in table(process=WEB).values() if row.differs]


@pytest.mark.parametrize(
    ("setting", "own", "spec", "changed"),
    [
        ("runAsUser", {"runAsUser": 7}, {}, {}),
        ("runAsUser", {}, {}, {"uid": 0}),
        ("runAsGroup", {}, {}, {"gid": 0}),
        ("groups", {}, {}, {"groups": frozenset((6,))}),
        ("allowPrivilegeEscalation", {"allowPrivilegeEscalation": False}, {}, {}),
        ("capabilities", {"capabilities": {"drop": ["ALL"]}}, {}, {}),
        ("effectiveCapabilities", {}, {}, {"effective": ALL}),
        ("readOnlyRootFilesystem", {"readOnlyRootFilesystem": True}, {}, {}),
        ("procMount", {}, {}, {"mounted_over": frozenset()}),
        ("seccompProfile", {"seccompProfile": {"type": "RuntimeDefault"}}, {}, {}),
        ("seccompProfile", {}, {}, {"seccomp": True}),
        ("appArmorProfile", {"appArmorProfile": {"type": "RuntimeDefault"}}, {}, {"app_armor": "unconfined"}),
        ("hostNetwork", {}, {"hostNetwork": True}, {}),
        ("hostPID", {}, {}, {"namespaces": {**WEB.namespaces, "pid": 2}}),
        ("hostUsers", {}, {"hostUsers": False}, {}),
        ("shareProcessNamespace", {}, {"shareProcessNamespace": True}, {}),
    ],
)
def test_each_difference_is_found(setting: str, own: Any, spec: Any, changed: Any) -> None:
    assert [
        row.setting
        for row in table(own, WEB._replace(**changed), **spec).values()
        if row.differs and row.setting == setting
    ]


def test_the_table_as_text() -> None:
    whole = {"containers": [{"name": "c", "securityContext": {"privileged": True, "runAsUser": 0}}]}
    found = [
        row for row in rows(whole, lambda one: IMAGE, ANY, {"c": WEB}) if row.setting in ("runAsUser", "procMount")
    ]
    assert list(lines(found, live=True)) == [
        "CONTAINER  SETTING    VALUE     SOURCE               LIVE",
        "c          runAsUser  0         [C]                  5  DIFFERS",
        "c          procMount  Unmasked  derived: privileged  Default  DIFFERS",
    ]
    assert list(lines(found, live=False))[1] == "c          runAsUser  0         [C]"
