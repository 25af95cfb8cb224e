"""Services in a laboratory whose links break: a node leads a client to pods behind it, with the node's own rules."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sampan.lab import Lab
from sampan.network.rule_table import RuleTable
from sampan.network.service_kernel import ServiceKernel
from sampan.network.services import rules_of

from .network_world import ASK, CONFIG, FIRST, PODS, SECOND, SERVER, cluster_ips, service, slices

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["ipv4", "ipv6"])


def pod(name: str, *addresses: str) -> dict[str, Any]:
    served = {"command": [sys.executable, "-c", SERVER, name], "listens": 8080}
    return {"name": name, "interfaces": [{"subnet": "pods", "address": list(addresses)}], "run": [served]}


BRIDGE = [str(network[1]) for network in PODS]
"""What pods have as their node's address."""
TOPOLOGY: dict[str, Any] = {
    "pools": ["198.51.100.0/24", "2001:db8::/48"],
    "subnets": [{"name": "pods", "cidr": [str(network) for network in PODS]}, "outside"],
    "nodes": [
        {"name": "node", "router": True, "interfaces": [{"subnet": "pods", "address": BRIDGE}, "outside"]},
        {"name": "client", "interfaces": ["outside"]},
        pod("pod0", *FIRST),
        pod("pod1", *SECOND),
    ],
}


@FAMILIES
def test_a_service_goes_round_a_pod_that_is_cut_off(lab_factory: Callable[..., Lab], family: int) -> None:
    lab = lab_factory(TOPOLOGY)
    table, address = RuleTable(CONFIG), str(cluster_ips(7)[family])
    made = service("web", 7)

    def ask(times: int) -> set[str]:
        answers = lab.exec("client", sys.executable, "-c", ASK, address, "80", str(times)).out.splitlines()
        return {answer.split()[0] for answer in answers}

    table.update({"web": rules_of(made, slices(FIRST, SECOND), CONFIG)})
    with lab.entered("node"):
        ServiceKernel(CONFIG).adopt(table)
    assert ask(24) == {"pod0", "pod1"}
    lab.cut("pod0-pods")
    assert not lab.reaches("node", "pod0", seconds=0.2)
    change = table.update({"web": rules_of(made, slices(SECOND), CONFIG)})
    with lab.entered("node"):
        ServiceKernel(CONFIG).apply(change)
    assert ask(12) == {"pod1"}
    lab.heal()
    assert lab.reaches("node", "pod0", count=3)
    assert ask(12) == {"pod1"}, "it is no endpoint yet"
