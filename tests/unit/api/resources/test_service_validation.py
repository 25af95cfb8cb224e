"""Services, Endpoints and EndpointSlices: what they may be, how they change, what is kept and dropped."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.api.resources.services import prepare

from .conftest import causes, changed, declared

SERVICE = declared("Service")
IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
GOOD: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "clusterIP": "10.96.0.10",
        "clusterIPs": ["10.96.0.10"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "ports": [{"port": 80, "protocol": "TCP"}],
    },
}
TWO_PORTS = [{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]
SHOWN = '{"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}'


def test_a_good_service_has_no_complaint() -> None:
    assert causes(SERVICE, GOOD) == {}
    assert causes(SERVICE, {"spec": {"type": "ExternalName", "externalName": "example.com."}}) == {}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.ports", [], "spec.ports", "Required value"),
        (
            "spec.ports.0",
            {"port": 70000, "targetPort": 80},
            "spec.ports[0].port",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            "spec.ports.0.protocol",
            "ICMP",
            "spec.ports[0].protocol",
            'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
        ),
        ("spec.ports", TWO_PORTS, "spec.ports[1]", f"Duplicate value: {SHOWN}"),
        ("spec.ports", [*TWO_PORTS[:1], {"port": 81}], "spec.ports[1].name", "Required value"),
        (
            "spec.ports.0.nodePort",
            30000,
            "spec.ports[0].nodePort",
            "Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "spec.type",
            "Cluster",
            "spec.type",
            'Unsupported value: "Cluster": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        ),
        ("spec.clusterIP", "10.96.0.11", "spec.clusterIPs",
         'Invalid value: ["10.96.0.10"]: first value must match `clusterIP`'),
        ("spec.clusterIPs", ["None"], "spec.clusterIPs", 'Invalid value: ["None"]: first value must match `clusterIP`'),
        ("spec.externalIPs", ["x"], "spec.externalIPs[0]", f'Invalid value: "x": {IP}'),
        (
            "spec.externalIPs",
            ["127.0.0.1"],
            "spec.externalIPs[0]",
            'Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
        ),
        (
            "spec.externalTrafficPolicy",
            "Local",
            "spec.externalTrafficPolicy",
            'Invalid value: "Local": may only be set for externally-accessible services',
        ),
        (
            "spec.loadBalancerSourceRanges",
            ["10.0.0.0/8"],
            "spec.LoadBalancerSourceRanges",
            "Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            "spec.loadBalancerClass",
            "x",
            "spec.loadBalancerClass",
            "Forbidden: may only be used when `type` is 'LoadBalancer'",
        ),
        (
            "spec.trafficDistribution",
            "Random",
            "spec.trafficDistribution",
            'Unsupported value: "Random": supported values: "PreferClose", "PreferSameZone", "PreferSameNode"',
        ),
        (
            "spec.sessionAffinityConfig",
            {"clientIP": {"timeoutSeconds": 86401}},
            None,
            None,
        ),
        (
            "spec.ipFamilies",
            ["IPv6"],
            "spec.clusterIPs[0]",
            'Invalid value: "10.96.0.10": expected an IPv6 value as indicated by `ipFamilies[0]`',
        ),
    ],
)  # fmt: skip
def test_one_wrong_thing(path: str, value: Any, field: str | None, message: str | None) -> None:
    found = causes(SERVICE, changed(GOOD, path, value))
    assert found == ({} if field is None else {field: message})


def test_affinity_lasts_a_day_at_most() -> None:
    sticky = changed(GOOD, "spec.sessionAffinity", "ClientIP")
    assert causes(SERVICE, sticky) == {}
    sticky = changed(sticky, "spec.sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 86401}})
    why = "Invalid value: 86401: must be greater than 0 and less than 86400"
    assert causes(SERVICE, sticky) == {"spec.sessionAffinityConfig.clientIP.timeoutSeconds": why}


def test_traffic_spreads_as_the_version_knows() -> None:
    near = changed(GOOD, "spec.trafficDistribution", "PreferSameZone")
    why = 'Unsupported value: "PreferSameZone": supported values: "PreferClose"'
    assert causes(declared("Service", minor=33), near) == {"spec.trafficDistribution": why}


# updates


def updated(path: str, value: Any, old: dict[str, Any] = GOOD) -> dict[str, str]:
    new = changed(old, path, value)
    prepare(new, old)
    return causes(SERVICE, new, old)


def test_an_address_stays() -> None:
    assert updated("spec.clusterIP", "10.96.0.11") == {
        "spec.clusterIPs[0]": 'Invalid value: ["10.96.0.11"]: may not change once set'
    }
    assert updated("spec.clusterIPs", None) == {}
    left_out = changed(changed(GOOD, "spec.clusterIP", None), "spec.clusterIPs", None)
    prepare(left_out, GOOD)
    assert left_out["spec"]["clusterIPs"] == ["10.96.0.10"]


def test_what_belongs_to_a_type_goes_with_it() -> None:
    balancer = changed(GOOD, "spec.type", "LoadBalancer")
    balancer["spec"] |= {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True}
    balancer["spec"]["ports"][0]["nodePort"] = 30000
    plain = changed(balancer, "spec.type", "ClusterIP")
    prepare(plain, balancer)
    assert "nodePort" not in plain["spec"]["ports"][0]
    assert not {"externalTrafficPolicy", "allocateLoadBalancerNodePorts"} & plain["spec"].keys()
    again = changed(balancer, "spec.ports", [{"port": 80, "protocol": "TCP"}])
    prepare(again, balancer)
    assert again["spec"]["ports"][0]["nodePort"] == 30000
    other = changed(balancer, "spec.loadBalancerClass", "example.com/x")
    assert causes(SERVICE, other, balancer)["spec.loadBalancerClass"] == (
        'Invalid value: "example.com/x": may not change once set'
    )


def test_only_load_balancers_have_points_of_entry() -> None:
    entered = changed(GOOD, "status.loadBalancer.ingress", [{"ip": "1.2.3.4"}])
    why = "Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    assert causes(SERVICE, entered, GOOD, "status") == {"status.loadBalancer.ingress": why}
    balancer = changed(entered, "spec.type", "LoadBalancer")
    assert causes(SERVICE, balancer, GOOD, "status") == {}
    assert causes(
        SERVICE, changed(balancer, "status.loadBalancer.ingress", [{"hostname": "1.2.3.4"}]), GOOD, "status"
    ) == {"status.loadBalancer.ingress[0].hostname": 'Invalid value: "1.2.3.4": must be a DNS name, not an IP address'}


def test_warnings() -> None:
    headless = changed(GOOD, "spec.clusterIP", "None")
    headless["spec"] |= {
        "type": "ClusterIP",
        "sessionAffinity": "ClientIP",
        "loadBalancerIP": "1.2.3.4",
        "externalName": "x",
    }
    headless["spec"]["externalIPs"] = ["2001:DB8::0"]
    assert SERVICE.warn is not None
    assert list(SERVICE.warn(headless, None)) == [
        "spec.loadBalancerIP is ignored for headless services",
        "spec.externalIPs is ignored for headless services",
        "spec.SessionAffinity is ignored for headless services",
        'spec.externalIPs[0]: IPv6 address "2001:DB8::0" should be in RFC 5952 canonical format ("2001:db8::")',
        'spec.externalName is ignored when spec.type is not "ExternalName"',
    ]


# endpoints


def test_endpoints_are_deprecated_since_1_33() -> None:
    assert declared("Endpoints", minor=32).deprecated == ""
    why = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert declared("Endpoints").deprecated == why


def test_endpoints() -> None:
    subset = {"addresses": [{"ip": "127.0.0.1"}, {"ip": "1.2.3"}], "ports": [{"port": 0}]}
    assert causes(declared("Endpoints"), {"subsets": [subset, {}]}) == {
        "subsets[0].addresses[0].ip": (
            'Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)'
        ),
        "subsets[0].addresses[1].ip": f'Invalid value: "1.2.3": {IP} | Invalid value: "1.2.3": must be a valid IP address',
        "subsets[0].ports[0].port": "Invalid value: 0: must be between 1 and 65535, inclusive",
        "subsets[1]": "Required value: must specify `addresses` or `notReadyAddresses`",
    }


@pytest.mark.parametrize(
    ("slice", "field", "message"),
    [
        ({}, "addressType", "Required value"),
        ({"addressType": "IP"}, "addressType", 'Unsupported value: "IP": supported values: "FQDN", "IPv4", "IPv6"'),
        (
            {"addressType": "IPv6", "endpoints": [{"addresses": ["10.0.0.1"]}]},
            "endpoints[0].addresses",
            'Invalid value: "10.0.0.1": must be an IPv6 address',
        ),
        (
            {"addressType": "IPv4", "endpoints": [{"addresses": ["01.2.3.4"]}]},
            "endpoints[0].addresses[0]",
            'Invalid value: "01.2.3.4": must not have leading 0s',
        ),
        (
            {"addressType": "IPv6", "endpoints": [{"addresses": ["FD00::1"]}]},
            "endpoints[0].addresses[0]",
            'Invalid value: "FD00::1": must be in canonical form ("fd00::1")',
        ),
        (
            {"addressType": "IPv6", "endpoints": [{"addresses": ["::ffff:1.2.3.4"]}]},
            "endpoints[0].addresses[0]",
            'Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address',
        ),
        (
            {"addressType": "FQDN", "endpoints": [{"addresses": ["a."]}]},
            "endpoints[0].addresses[0]",
            'Invalid value: "a": should be a domain with at least two segments separated by dots',
        ),
        (
            {"addressType": "FQDN", "endpoints": [{"addresses": [f"{'x' * 64}.a"]}]},
            "endpoints[0].addresses[0]",
            f'Invalid value: "{"x" * 64}": must be no more than 63 characters',
        ),
        (
            {"addressType": "IPv4", "endpoints": [{"addresses": []}]},
            "endpoints[0].addresses",
            "Required value",
        ),
        (
            {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"] * 101}]},
            "endpoints[0].addresses",
            "Too many: 101: must have at most 100 items",
        ),
        ({"addressType": "IPv4", "ports": [{"port": 1}, {"port": 2}]}, "ports[1].name", 'Duplicate value: ""'),
    ],
)
def test_endpoint_slices(slice: dict[str, Any], field: str, message: str) -> None:
    assert causes(declared("EndpointSlice", "discovery.k8s.io"), slice) == {field: message}


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"hostname": ""}, "endpoints[0].hostname"),
        ({"nodeName": ""}, "endpoints[0].nodeName"),
        ({"hints": {"forNodes": [{"name": ""}]}}, "endpoints[0].hints.forNodes[0].name"),
        ({"hints": {"forZones": [{"name": "a b"}]}}, "endpoints[0].hints.forZones[0].name"),
        ({"hints": {"forZones": [{"name": "a"}, {"name": "a"}]}}, "endpoints[0].hints.forZones[1].name"),
    ],
)
def test_the_names_of_an_endpoint(extra: dict[str, Any], field: str) -> None:
    slice = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], **extra}]}
    assert list(causes(declared("EndpointSlice", "discovery.k8s.io"), slice)) == [field]
    old = copy.deepcopy(slice)
    assert causes(declared("EndpointSlice", "discovery.k8s.io"), slice, old) == {}, "what was there may stay"


def test_addresses_that_programs_read_otherwise_were_fine_before_1_36() -> None:
    endpoints = {"subsets": [{"addresses": [{"ip": "::ffff:10.2.3.4"}]}]}
    refused = {
        "subsets[0].addresses[0].ip": 'Invalid value: "::ffff:10.2.3.4": must not be an IPv4-mapped IPv6 address'
    }
    assert causes(declared("Endpoints"), endpoints) == refused
    assert causes(declared("Endpoints", minor=35), endpoints) == {}
    service = {"spec": {"type": "ClusterIP", "ports": [{"port": 80}], "externalIPs": ["::ffff:10.2.3.4"]}}
    assert list(causes(declared("Service"), service)) == ["spec.externalIPs[0]"]
    assert causes(declared("Service"), service, service) == {}
    assert causes(declared("Service", minor=35), service) == {}


def test_the_node_of_an_address_has_a_name() -> None:
    endpoints = {"subsets": [{"addresses": [{"ip": "10.2.3.4", "nodeName": ""}]}]}
    assert list(causes(declared("Endpoints"), endpoints)) == ["subsets[0].addresses[0].nodeName"]


def test_the_topology_of_endpoints_is_only_kept_where_it_was() -> None:
    prepare = declared("EndpointSlice", "discovery.k8s.io").prepare
    assert prepare is not None
    old = {"endpoints": [{"addresses": ["10.0.0.1"], "deprecatedTopology": {"kubernetes.io/hostname": "n"}}]}
    new = copy.deepcopy(old)
    prepare(new, old)
    assert new == old
    prepare(new, None)
    assert new == {"endpoints": [{"addresses": ["10.0.0.1"]}]}


def test_the_address_type_of_a_slice_stays() -> None:
    resource = declared("EndpointSlice", "discovery.k8s.io")
    why = 'Invalid value: "IPv6": field is immutable'
    assert causes(resource, {"addressType": "IPv6"}, {"addressType": "IPv4"}) == {"addressType": why}
