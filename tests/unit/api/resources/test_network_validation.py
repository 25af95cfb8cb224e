"""networking.k8s.io and policy: Ingresses, classes, NetworkPolicies, addresses, budgets."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import causes, changed, declared

NET = "networking.k8s.io"
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
INGRESS: dict[str, Any] = {
    "metadata": {"name": "i"},
    "spec": {
        "rules": [{"host": "a.example", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}]
    },
}
P = "spec.rules.0.http.paths.0"
F = "spec.rules[0].http.paths[0]"
POLICY: dict[str, Any] = {
    "metadata": {"name": "p"},
    "spec": {
        "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80}]}]
    },
}
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def test_good_ones_have_no_complaint() -> None:
    assert causes(declared("Ingress", NET), INGRESS) == {}
    assert causes(declared("NetworkPolicy", NET), POLICY) == {}


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.rules", [], "spec", "Invalid value: []: either `defaultBackend` or `rules` must be specified"),
        ("spec.rules.0.host", "1.2.3.4", "spec.rules[0].host",
         'Invalid value: "1.2.3.4": must be a DNS name, not an IP address'),
        ("spec.rules.0.host", "a.*.b", "spec.rules[0].host", None),
        (f"{P}.pathType", None, f"{F}.pathType", "Required value: pathType must be specified"),
        (f"{P}.path", "x", f"{F}.path", 'Invalid value: "x": must be an absolute path'),
        (f"{P}.path", "/a//b", f"{F}.path", "Invalid value: \"/a//b\": must not contain '//'"),
        (f"{P}.path", "/a/..", f"{F}.path", "Invalid value: \"/a/..\": cannot end with '/..'"),
        (f"{P}.backend", {}, f"{F}.backend", 'Invalid value: "": resource or service backend is required'),
        (f"{P}.backend.service.port", {}, f"{F}.backend", "Required value: port name or number is required"),
        (f"{P}.backend.service.name", "1Web", f"{F}.backend.service.name", None),
        ("spec.tls", [{"hosts": ["A"]}], "spec.tls[0].hosts[0]", None),
        ("spec.ingressClassName", "A b", "spec.ingressClassName", None),
    ],
)  # fmt: skip
def test_one_wrong_thing_of_an_ingress(path: str, value: Any, field: str, message: str | None) -> None:
    found = causes(declared("Ingress", NET), changed(INGRESS, path, value))
    assert list(found) == [field], found
    assert message is None or found[field] == message


def test_a_wildcard_is_the_first_label() -> None:
    assert causes(declared("Ingress", NET), changed(INGRESS, "spec.rules.0.host", "*.example.com")) == {}


def test_the_old_annotation_of_a_class_is_warned_of() -> None:
    resource = declared("Ingress", NET)
    noted = changed(INGRESS, "metadata.annotations", {"kubernetes.io/ingress.class": "x"})
    assert resource.warn is not None
    assert list(resource.warn(noted, None)) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    assert list(causes(resource, changed(noted, "spec.ingressClassName", "y"))) == [
        "annotations.kubernetes.io/ingress.class"
    ]


@pytest.mark.parametrize(
    ("path", "value", "field", "message"),
    [
        ("spec.ingress.0.from", [{}], "spec.ingress[0].from[0]", "Required value: must specify a peer"),
        ("spec.ingress.0.from.0.ipBlock.cidr", "10.0.0.0", "spec.ingress[0].from[0].ipBlock.cidr",
         f'Invalid value: "10.0.0.0": {CIDR}'),
        ("spec.ingress.0.from.0.ipBlock.except", ["11.0.0.0/16"], "spec.ingress[0].from[0].ipBlock.except[0]",
         'Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'),
        ("spec.ingress.0.from.0.podSelector", {}, "spec.ingress[0].from[0]",
         "Forbidden: may not specify both ipBlock and another peer"),
        ("spec.ingress.0.ports.0.endPort", 79, "spec.ingress[0].ports[0].endPort",
         "Invalid value: 79: must be greater than or equal to `port`"),
        ("spec.ingress.0.ports.0", {"endPort": 1}, "spec.ingress[0].ports[0].endPort",
         "Invalid value: 1: may not be specified when `port` is not specified"),
        ("spec.policyTypes", ["Sideways"], "spec.policyTypes[0]",
         'Unsupported value: "Sideways": supported values: "Ingress", "Egress"'),
    ],
)  # fmt: skip
def test_one_wrong_thing_of_a_policy(path: str, value: Any, field: str, message: str) -> None:
    assert causes(declared("NetworkPolicy", NET), changed(POLICY, path, value)) == {field: message}


@pytest.mark.parametrize(
    ("kind", "obj", "field", "message"),
    [
        ("IngressClass", {"spec": {}}, "spec.controller", "Required value"),
        ("IngressClass", {"spec": {"controller": "x"}}, "spec.controller",
         'Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")'),
        ("IngressClass", {"spec": {"controller": "a.b/c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}},
         "spec.parameters.namespace", "Required value: `parameters.scope` is set to 'Namespace'"),
        ("IPAddress", {"metadata": {"name": "10.0.0.1"}, "spec": {}}, "spec.parentRef", "Required value"),
        ("ServiceCIDR", {"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8"]}}, "spec.cidrs",
         'Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: may specify no more than one IP for each IP family, i.e '
         "192.168.0.0/24 and 2001:db8::/64"),
    ],
)  # fmt: skip
def test_one_wrong_thing_of_the_small_ones(kind: str, obj: dict[str, Any], field: str, message: str) -> None:
    assert causes(declared(kind, NET), {"metadata": {"name": "x"}, **obj}) == {field: message}


def test_a_budget_counts_one_way() -> None:
    both = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "maxUnavailable": "50%"}}
    (message,) = causes(declared("PodDisruptionBudget", "policy"), both).values()
    assert message.endswith("minAvailable and maxUnavailable cannot be both set")
    share = {"metadata": {"name": "b"}, "spec": {"minAvailable": "half"}}
    (message,) = causes(declared("PodDisruptionBudget", "policy"), share).values()
    assert message.startswith('Invalid value: "half": a valid percent string must be a numeric string')


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("10.0.0.0/8", ""),
        ("fd00::/8", ""),
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
        ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
    ],
)
def test_cidrs_are_of_one_network_since_136(cidr: str, why: str) -> None:
    """Those that were there before may stay."""
    made = {
        "metadata": {"name": "n"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]},
    }
    said = {"spec.ingress[0].from[0].ipBlock.cidr": f'Invalid value: "{cidr}": {why}'} if why else {}
    assert causes(declared("NetworkPolicy", NET), made) == said
    assert causes(declared("NetworkPolicy", NET, minor=35), made) == {}
    assert causes(declared("NetworkPolicy", NET), made, made) == {}
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "loadBalancerSourceRanges": [cidr]}
    spec |= {
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    service = {"metadata": {"name": "s"}, "spec": spec}
    said = {"spec.LoadBalancerSourceRanges[0]": f'Invalid value: "{cidr}": {why}'} if why else {}
    assert causes(declared("Service"), service) == said
    assert causes(declared("Service", minor=35), service) == {}
    assert causes(declared("Service"), service, service) == {}
    node = {"metadata": {"name": "n"}, "spec": {"podCIDRs": [cidr]}}
    assert bool(causes(declared("Node"), node)) is bool(why)
    assert causes(declared("Node", minor=35), node) == {}


def test_services_may_have_names_that_begin_with_a_digit_since_136() -> None:
    assert [declared("Service", minor=minor).name_is for minor in (35, 36)] == ["label1035", "label"]
    backend = {"service": {"name": "1a", "port": {"number": 80}}}
    ingress = {"metadata": {"name": "i"}, "spec": {"defaultBackend": backend}}
    assert causes(declared("Ingress", NET), ingress) == {}
    assert list(causes(declared("Ingress", NET, minor=35), ingress)) == ["spec.defaultBackend.service.name"]
