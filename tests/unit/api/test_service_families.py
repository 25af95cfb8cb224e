"""Which families a Service has on a cluster of one family, and of both."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
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
    assert settle_families(made, before, ["IPv4"]) == []
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
    causes = settle_families(dict(spec), {}, ["IPv4"])
    assert [f"{cause.field}: {cause.message.rpartition(': ')[2]}" for cause in causes] == told


@pytest.mark.parametrize(
    ("spec", "families", "policy"),
    [
        (SELECTED, ["IPv6"], "SingleStack"),
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv6", "IPv4"], "PreferDualStack"),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4"]}, ["IPv4", "IPv6"], "RequireDualStack"),
        ({"ipFamilies": ["IPv4"]}, ["IPv4"], "SingleStack"),
        (FOUR, ["IPv4"], "SingleStack"),
        ({**BOTH, "ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], "PreferDualStack"),
        ({**NONE, **SELECTED, "ipFamilyPolicy": "RequireDualStack"}, ["IPv6", "IPv4"], "RequireDualStack"),
    ],
)
def test_families_of_a_cluster_that_has_both(spec: Any, families: list[str], policy: str) -> None:
    made = dict(spec)
    assert settle_families(made, {}, ["IPv6", "IPv4"]) == []
    assert (made["ipFamilies"], made["ipFamilyPolicy"]) == (families, policy)


SERVICES = "/api/v1/namespaces/default/services"


def service(name: str, **spec: Any) -> dict[str, Any]:
    body = {"ports": [{"port": 80}], "selector": {"app": name}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


async def test_addresses_of_both_families_are_given_kept_and_taken_back(open_whole: Any) -> None:
    call = await open_whole(service_cidr="10.96.0.0/24,fd00:1::/112")
    code, made = await call("POST", SERVICES, service("two", ipFamilyPolicy="PreferDualStack"))
    first, second = made["spec"]["clusterIPs"]
    assert code == 201 and made["spec"]["clusterIP"] == first
    assert ip_address(first) in ip_network("10.96.0.0/24") and ip_address(second) in ip_network("fd00:1::/112")
    code, one = await call("POST", SERVICES, service("one"))
    assert one["spec"]["ipFamilies"] == ["IPv4"] and len(one["spec"]["clusterIPs"]) == 1

    wanted = {"clusterIP": "10.96.0.200", "clusterIPs": ["10.96.0.200", second]}
    taken = service("taken", ipFamilyPolicy="RequireDualStack", **wanted)
    code, refused = await call("POST", SERVICES, taken)
    assert code == 422 and f"failed to allocate IP {second}: provided IP is already allocated" in refused["message"]
    taken["spec"]["clusterIPs"] = ["10.96.0.200", "fd00:1::77"]
    code, now = await call("POST", SERVICES, taken)
    assert (code, now["spec"]["ipFamilies"]) == (201, ["IPv4", "IPv6"]), "what was refused has kept nothing"
    wanted = {"clusterIP": "10.96.0.201", "clusterIPs": ["10.96.0.201", "fd00:2::1"]}
    outside = service("outside", ipFamilyPolicy="RequireDualStack", **wanted)
    code, refused = await call("POST", SERVICES, outside)
    assert code == 422 and "The range of valid IPs is fd00:1::/112" in refused["message"]

    # a second family is added, and released, without a change of the first
    grown = {**one, "spec": {**one["spec"], "ipFamilyPolicy": "RequireDualStack"}}
    code, grown = await call("PUT", f"{SERVICES}/one", grown)
    assert code == 200 and grown["spec"]["clusterIPs"][0] == one["spec"]["clusterIP"]
    added = grown["spec"]["clusterIPs"][1]
    single = {**grown, "spec": {**grown["spec"], "ipFamilyPolicy": "SingleStack"}}
    code, single = await call("PUT", f"{SERVICES}/one", single)
    assert (code, single["spec"]["clusterIPs"], single["spec"]["ipFamilies"]) == (
        200,
        [one["spec"]["clusterIP"]],
        ["IPv4"],
    )
    code, again = await call("POST", SERVICES, service("again", ipFamilies=["IPv6"], clusterIP=added))
    assert (code, again["spec"]["clusterIPs"]) == (201, [added]), "the released address is free"


async def test_a_cluster_of_ipv6_alone(open_whole: Any) -> None:
    call = await open_whole(service_cidr="fd00:1::/112", advertise=("fd00::2", 6443))
    _, found = await call("GET", f"{SERVICES}/kubernetes")
    assert (found["spec"]["clusterIPs"], found["spec"]["ipFamilies"]) == (["fd00:1::1"], ["IPv6"])
    _, slice_ = await call("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert (slice_["addressType"], slice_["endpoints"][0]["addresses"]) == ("IPv6", ["fd00::2"])
    code, refused = await call("POST", SERVICES, service("four", ipFamilies=["IPv4"]))
    assert code == 422 and "not configured on this cluster" in refused["message"]
