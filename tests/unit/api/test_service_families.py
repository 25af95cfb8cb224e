"""Which families a Service has on a cluster that has IPv4 only."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.admission.service_families import settle_families

NOT_DUAL = "spec.ipFamilyPolicy: this cluster is not configured for dual-stack services"
SELECTED = {"selector": {"app": "web"}}
NONE = {"clusterIP": "None", "clusterIPs": ["None"]}
FOUR = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}
SIX = {"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]}
BOTH = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}


@pytest.mark.parametrize(
    ("spec", "before", "families", "policy"),
    [
        (SELECTED, {}, ["IPv4"], "SingleStack"),
        ({**SELECTED, "ipFamilyPolicy": "PreferDualStack"}, {}, ["IPv4"], "PreferDualStack"),
        (FOUR, {}, ["IPv4"], "SingleStack"),
        (NONE, {}, ["IPv4", "IPv6"], "RequireDualStack"),
        ({**NONE, **SELECTED}, {}, ["IPv4"], "SingleStack"),
        ({**NONE, "ipFamilyPolicy": "SingleStack"}, {}, ["IPv4"], "SingleStack"),
        ({**NONE, "ipFamilies": ["IPv6"]}, {}, ["IPv6", "IPv4"], "RequireDualStack"),
        (FOUR, {**FOUR, "ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4"]}, ["IPv4"], "PreferDualStack"),
    ],
)
def test_families(spec: Any, before: Any, families: list[str], policy: str) -> None:
    made = dict(spec)
    assert settle_families(made, before, "IPv4") == []
    assert (made["ipFamilies"], made["ipFamilyPolicy"]) == (families, policy)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"ipFamilyPolicy": "RequireDualStack"}, [NOT_DUAL]),
        ({**NONE, **SELECTED, "ipFamilyPolicy": "RequireDualStack"}, [NOT_DUAL]),
        ({"ipFamilies": ["IPv6"]}, ["spec.ipFamilies[0]: not configured on this cluster"]),
        (SIX, ["spec.clusterIPs[0]: IPv6 is not configured on this cluster"]),
        (
            {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv4", "IPv6"]},
            ["spec.ipFamilies[1]: not configured on this cluster"],
        ),
        (
            {"ipFamilies": ["IPv4", "IPv6"]},
            [
                "spec.ipFamilyPolicy: must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are "
                "specified"
            ],
        ),
        (
            BOTH,
            [
                "spec.ipFamilyPolicy: must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are "
                "specified"
            ],
        ),
    ],
)
def test_families_that_a_cluster_has_not(spec: Any, told: list[str]) -> None:
    causes = settle_families(dict(spec), {}, "IPv4")
    assert [f"{cause.field}: {cause.message.rpartition(': ')[2]}" for cause in causes] == told
