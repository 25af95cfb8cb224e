"""Profiles of system calls, and their names."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from sampan.node.syscalls import ANSWER, NOTIFICATION, Names, NoSeccomp, profile_of, watching_profile


def test_profiles() -> None:
    watching = watching_profile(["read", "write", "open"], Path("/run/x.sock"))
    assert watching["listenerPath"] == "/run/x.sock"
    assert watching["syscalls"] == [{"names": ["open", "read"], "action": "SCMP_ACT_NOTIFY"}], (
        "write cannot be asked about"
    )
    allowed = profile_of({"read"})
    names = set(allowed["syscalls"][0]["names"])
    assert allowed["defaultAction"] == "SCMP_ACT_ERRNO" and {"read", "write", "exit_group"} <= names


def test_the_kernels_structures() -> None:
    assert (NOTIFICATION.size, ANSWER.size) == (80, 24)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are the numbers of x86-64")
def test_names_of_this_machine() -> None:
    try:
        names = Names().by_number
    except NoSeccomp:
        pytest.skip("libseccomp is not installed")
    assert (names[0], names[1], names[59]) == ("read", "write", "execve") and len(names) > 300
