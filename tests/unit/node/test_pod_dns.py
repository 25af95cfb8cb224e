"""What a pod's resolv.conf says, for every policy and at its limits, in the kubelet's words."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.node.pod_dns import DnsSettings, dns_config, formed, is_stub, read_resolv_conf

HOST = DnsSettings(
    "10.96.0.10", "cluster.local", ("9.9.9.9",), ("host.example", "svc.cluster.local"), ("rotate", "ndots:1")
)
FIRST = ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "host.example"]


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        ({}, ["10.96.0.10"], FIRST, ["ndots:5"]),
        ({"hostNetwork": True}, ["9.9.9.9"], ["host.example", "svc.cluster.local"], ["rotate", "ndots:1"]),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, ["10.96.0.10"], FIRST, ["ndots:5"]),
        ({"dnsPolicy": "Default"}, ["9.9.9.9"], ["host.example", "svc.cluster.local"], ["rotate", "ndots:1"]),
        ({"dnsPolicy": "None"}, [], [], []),
    ],
)
def test_policies_and_what_is_merged_in(
    spec: dict[str, Any], servers: list[str], searches: list[str], options: list[str]
) -> None:
    made = dns_config(pod(**spec), HOST)
    assert (list(made.servers), list(made.searches), list(made.options)) == (servers, searches, options)
    own = {"nameservers": [*servers, "1.1.1.1"], "searches": ["own.example", *searches[:1]]}
    own["options"] = [{"name": "ndots", "value": "2"}, {"name": "debug"}]
    made = dns_config(pod(**spec, dnsConfig=own), HOST)
    assert list(made.servers) == [*servers, "1.1.1.1"]
    assert list(made.searches) == list(dict.fromkeys([*searches, "own.example"]))
    assert set(made.options) == {*(one for one in options if not one.startswith("ndots")), "ndots:2", "debug"}


def test_limits_are_told() -> None:
    own = {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3"], "searches": ["x" * 254, *(f"s{n}" for n in range(40))]}
    made, warnings = formed(pod(dnsConfig=own), HOST)
    assert list(made.servers) == ["10.96.0.10", "1.1.1.1", "2.2.2.2"]
    assert len(made.searches) == 31 and made.searches[-1] == "s26"
    assert warnings == [
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
        "10.96.0.10 1.1.1.1 2.2.2.2",
        "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
        + " ".join(made.searches),
    ]
    assert formed(pod(), HOST).warnings == []


def test_no_resolv_conf_is_no_resolver() -> None:
    made = dns_config(pod(dnsPolicy="Default"), DnsSettings("10.96.0.10", "cluster.local", has_host=False))
    assert (list(made.servers), list(made.searches)) == (["127.0.0.1"], ["."])


def test_the_hosts_file() -> None:
    text = (
        "# x\ndomain y\nnameserver 1.1.1.1\nnameserver ::1\nsearch a.\nsearch b. c\noptions rotate\noptions ndots:1\n"
    )
    assert read_resolv_conf(text) == (("1.1.1.1", "::1"), ("b", "c"), ("ndots:1",))
    assert is_stub(["127.0.0.53"]) and is_stub(["::1", "127.0.0.1"])
    assert not is_stub(["127.0.0.53", "10.0.0.1"]) and not is_stub([]) and not is_stub(["rubbish"])
