"""What the kernel holds of Services is what the model says, after any changes and after any restart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.network import nft, service_table
from sampan.network.families import FAMILIES
from sampan.network.nft import NftError
from sampan.network.rule_table import RuleTable
from sampan.network.service_kernel import ServiceKernel
from sampan.network.service_table import PLAIN, TABLE
from sampan.network.services import NOTHING, ServiceRules, rules_of

from . import netns_sandbox as sandbox
from .eventually import eventually
from .network_world import CONFIG, service, slices

pytestmark = sandbox.needs_root

SERVICE = st.fixed_dictionaries(
    {
        "endpoints": st.sets(st.integers(2, 9), max_size=5),
        "elsewhere": st.booleans(),
        "node_port": st.sampled_from([0, 30000]),
        "balanced": st.booleans(),
        "affinity": st.sampled_from([0, 0, 60, 600]),
        "external": st.sampled_from(["Cluster", "Local"]),
        "internal": st.sampled_from(["Cluster", "Local"]),
        "ranges": st.sampled_from([[], ["10.0.0.0/8"], ["10.1.0.0/16", "10.0.0.0/8", "fd00::/8"]]),
    }
)
STATES = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), SERVICE), min_size=1), min_size=1, max_size=6
)


def rules(name: str, given_service: dict[str, Any] | None) -> ServiceRules:
    if given_service is None:
        return NOTHING
    seconds = given_service["affinity"]
    spec: dict[str, Any] = {
        "sessionAffinity": "ClientIP" if seconds else "None",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}},
        "externalTrafficPolicy": given_service["external"],
        "internalTrafficPolicy": given_service["internal"],
        "loadBalancerSourceRanges": given_service["ranges"],
        "externalIPs": ["192.0.2.7"],  # which all of them want
    }
    number = ord(name)
    port = given_service["node_port"] + number if given_service["node_port"] else 0
    made = service(name, number, node_port=port, balanced=given_service["balanced"], **spec)
    node = {"nodeName": "other" if given_service["elsewhere"] else CONFIG.node_name}
    found = [(f"10.250.0.{one}", f"fd53:6d70:fa::{one:x}") for one in sorted(given_service["endpoints"])]
    return rules_of(made, slices(*found, **node), CONFIG)


def held(kernel: ServiceKernel) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    for family in FAMILIES:
        for name in PLAIN:
            found.update(kernel.elements.held(family.nft, name))
    return found


def maps_of_affinity() -> set[tuple[str, str]]:
    return {
        (family.nft, name)
        for family in FAMILIES
        for name in re.findall(r"^\tmap (affinity-\S+) {", nft.listed("table", family.nft, TABLE), re.M)
    }


def wanted_maps(table: RuleTable) -> set[tuple[str, str]]:
    return {(one.family.nft, one.name) for rules in table.services.values() for one in rules.affinities}


@contextmanager
def kernel_of(config: Any = CONFIG) -> Iterator[ServiceKernel]:
    kernel = ServiceKernel(config)
    try:
        yield kernel
    finally:
        kernel.close()


def in_a_namespace(work: Callable[[], None]) -> None:
    with sandbox.namespaces() as spaces:
        sandbox.within(spaces.new(), work)


def test_any_changes_leave_in_the_kernel_what_the_model_says() -> None:
    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(STATES)
    def walk(states: list[dict[str, Any]]) -> None:
        table = RuleTable(CONFIG)
        nft.run(service_table.removal())
        with kernel_of() as kernel:
            kernel.adopt(table)
            for state in states:
                kernel.apply(table.update({f"shop/{name}": rules(name, wanted) for name, wanted in state.items()}))
                assert held(kernel) == table.elements()
            assert maps_of_affinity() == wanted_maps(table)
            # who begins with what an earlier run has left comes to the same
            other = RuleTable(CONFIG)
            other.update({f"shop/{name}": rules(name, wanted) for name, wanted in states[0].items()})
            kernel.adopt(other)
            assert held(kernel) == other.elements() and maps_of_affinity() == wanted_maps(other)

    in_a_namespace(walk)


def test_a_restart_changes_nothing_and_another_layout_everything() -> None:
    def work() -> None:
        table = RuleTable(CONFIG)
        full = {"endpoints": {2, 3}, "elsewhere": False, "node_port": 30000, "balanced": True, "affinity": 60}
        full |= {"external": "Local", "internal": "Cluster", "ranges": ["10.0.0.0/8"]}
        table.update({"shop/a": rules("a", full)})
        many = [(f"10.250.1.{one}", f"fd53:6d70:fa::1:{one:x}") for one in range(30)]
        table.update({"shop/many": rules_of(service("many", 9), slices(*many), CONFIG)})
        with kernel_of() as kernel:
            kernel.adopt(table)
            affinities = table.services["shop/a"].affinities.items()
            name = next(one.name for one, to in affinities if one.family.nft == "ip" and 8080 in {e.port for e in to})
            client = {("ip", name, bytes([10, 0, 0, 1])): bytes([10, 250, 0, 2, 0x1F, 0x90, 0, 0])}
            kernel.elements.change([], client)
            handles = nft._call(["nft", "-a", "list", "table", "ip", TABLE])
        with kernel_of() as kernel:
            kernel.adopt(table)
            assert (
                nft._call(["nft", "-a", "list", "table", "ip", TABLE]).split("timeout")[0]
                == handles.split("timeout")[0]
            )
            assert kernel.elements.held("ip", name).keys() == client.keys(), "a client stays with its endpoint"
        changed = replace(CONFIG, uplink="other")
        with kernel_of(changed) as kernel:
            kernel.adopt(table)
            assert held(kernel) == table.elements() and 'iifname "other"' in nft.listed("table", "ip", TABLE)
        with kernel_of(replace(CONFIG, node_ips=CONFIG.node_ips[:1])) as kernel:
            only = RuleTable(kernel.config)
            kernel.adopt(only)
            assert not nft.listed("table", "ip6", TABLE), "a family that is left has no table any more"

    in_a_namespace(work)


def test_what_the_kernel_refuses_is_told_and_changes_nothing() -> None:
    def work() -> None:
        with kernel_of() as kernel:
            kernel.adopt(RuleTable(CONFIG))
            key = bytes(12)
            for wrong in ({("ip", "service_ips", key): "goto nowhere"}, {("ip", "no-such", key): None}):
                try:
                    kernel.elements.change([], {("ip", "guarded", key): None, **wrong})
                except NftError as error:
                    assert "No such file or directory" in str(error)
                else:
                    raise AssertionError("it was taken")
                assert not kernel.elements.held("ip", "guarded")
            kernel.elements.change([], {("ip", "guarded", key): None})
            assert kernel.elements.held("ip", "guarded") == {("ip", "guarded", key): None}

    in_a_namespace(work)


def test_thousands_of_elements_are_one_transaction() -> None:
    def work() -> None:
        with kernel_of() as kernel:
            kernel.adopt(RuleTable(CONFIG))
            many = {("ip6", "hairpins", number.to_bytes(32, "big")): None for number in range(20_000)}
            kernel.elements.change([], many)
            # while the kernel makes its hash table larger, a listing may lack some
            eventually("all are there", lambda: kernel.elements.held("ip6", "hairpins") == many)
            kernel.elements.change(many, {})
            assert not kernel.elements.held("ip6", "hairpins")

    in_a_namespace(work)
