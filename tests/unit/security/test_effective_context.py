"""What holds for a container of a pod."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.security.context import effective, escalates


def test_the_containers_setting_wins() -> None:
    spec = {
        "securityContext": {
            "runAsUser": 1,
            "runAsGroup": 2,
            "fsGroup": 3,
            "seccompProfile": {"type": "Unconfined"},
            "windowsOptions": {"runAsUserName": "pod", "gmsaCredentialSpecName": "spec"},
        }
    }
    container = {
        "securityContext": {
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
            "privileged": False,
            "fsGroup": 9,
            "windowsOptions": {"runAsUserName": "container"},
        }
    }
    assert effective(spec, container) == {
        "runAsUser": 0,
        "runAsGroup": 2,
        "fsGroup": 3,
        "seccompProfile": {"type": "RuntimeDefault"},
        "privileged": False,
        "allowPrivilegeEscalation": True,
        "windowsOptions": {"runAsUserName": "container", "gmsaCredentialSpecName": "spec"},
    }
    assert effective({}, {}) == {"allowPrivilegeEscalation": True}


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, True),
        ({"allowPrivilegeEscalation": False}, False),
        ({"allowPrivilegeEscalation": False, "privileged": True}, True),
        ({"allowPrivilegeEscalation": False, "capabilities": {"add": ["SYS_ADMIN"]}}, True),
    ],
)
def test_escalation(own: dict[str, Any], expected: bool) -> None:
    assert escalates(own) is expected
