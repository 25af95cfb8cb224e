"""Capabilities: who gets which, and the masks of the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.security.capabilities import ALL, NAMES, RUNTIME_DEFAULT, granted, mask_of, of_mask, shown


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), RUNTIME_DEFAULT),
        (("net_admin",), ("NET_RAW",), (RUNTIME_DEFAULT | {"NET_ADMIN"}) - {"NET_RAW"}),
        (("CHOWN",), ("ALL",), {"CHOWN"}),
        (("ALL",), ("CHOWN",), ALL - {"CHOWN"}),
        (("CAP_BPF",), ("cap_bpf",), RUNTIME_DEFAULT),
        (("ALL",), ("ALL",), frozenset()),
    ],
)
def test_what_is_granted(add: tuple[str, ...], drop: tuple[str, ...], expected: frozenset[str]) -> None:
    assert granted(add, drop) == expected


def test_masks_are_the_kernels() -> None:
    assert mask_of(RUNTIME_DEFAULT) == 0xA80425FB, "what every container of Docker and containerd shows as CapBnd"
    assert of_mask(0x1FFFFFFFFFF) == ALL and len(NAMES) == 41
    assert of_mask(1 << 60) == {"CAP_60"}


@given(st.sets(st.sampled_from(NAMES)))
def test_masks_go_both_ways(names: set[str]) -> None:
    assert of_mask(mask_of(names)) == names


def test_sets_are_shown_short() -> None:
    assert [shown(names) for names in (set(), ALL, RUNTIME_DEFAULT, ALL - {"BPF"}, RUNTIME_DEFAULT | {"BPF"})] == [
        "none",
        "ALL",
        "default",
        "ALL -BPF",
        "default +BPF",
    ]
    assert shown({"CHOWN", "BPF"}) == "BPF CHOWN"
