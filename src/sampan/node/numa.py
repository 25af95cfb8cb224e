"""The NUMA nodes of this machine, and what the kubelet's memory and topology managers are told of them.

Both are honoured on machines with one NUMA node, as laptops and virtual machines have: there everything that can be had is
local, so what is left of the topology manager's policies is what they say of a pod that asks for more than there is.
Source: KEP-693, KEP-1769, kubernetes pkg/kubelet/cm/{topologymanager,memorymanager}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sampan.node.cpu_sets import parsed
from sampan.node.kubelet_config import ConfigFault, KubeletConfig
from sampan.node.node_status import kept_free, reserved
from sampan.node.resources import HUGEPAGES
from sampan.scheduler.pod_info import amount
from sampan.security.refusals import Refusal

ONLINE = "/sys/devices/system/node/online"
STRICT = ("restricted", "single-numa-node")
"""The policies that refuse pods."""
AFFINITY = Refusal("TopologyAffinityError", "Resources cannot be allocated with Topology locality")


def numa_nodes() -> list[int]:
    """Return the ids of the machine's NUMA nodes; a kernel that knows none has one."""
    try:
        return sorted(parsed(Path(ONLINE).read_text())) or [0]
    except (OSError, ValueError):
        return [0]


def check(config: KubeletConfig, nodes: list[int], memory: str) -> None:
    """Raise ``ConfigFault`` where the settings and the machine do not go together. ``memory``: what it has."""
    if len(nodes) > 1 and (config.memory_manager_policy != "None" or config.topology_manager_policy != "none"):
        names = "memoryManagerPolicy must be 'None' and topologyManagerPolicy 'none'"
        raise ConfigFault(f"{names} on a machine with {len(nodes)} NUMA nodes: they are honoured on those with one")
    if config.memory_manager_policy != "Static":
        return
    given: dict[str, int] = {}
    for one in config.reserved_memory:
        if one["numaNode"] not in nodes:
            what = "the reserved memory configuration references"
            raise ConfigFault(f"{what} a NUMA node {one['numaNode']} that does not exist on this machine")
        for name, value in one["limits"].items():
            given[name] = given.get(name, 0) + amount(name, str(value))
    wanted = {"memory": reserved(config, "memory") + kept_free(config, "memory.available", memory)}
    for name in sorted({*given, *wanted}):
        if given.get(name, 0) != wanted.get(name, 0):
            what = f'reservedMemory: the total amount "{given.get(name, 0)}" of type "{name}"'
            value = f'the value "{wanted.get(name, 0)}" determined by Node Allocatable feature'
            raise ConfigFault(f"{what} is not equal to {value}")
    if not given.get("memory"):
        raise ConfigFault("memoryManagerPolicy Static needs reservedMemory: memory of the system's own")


def memory_of(config: KubeletConfig, capacity: Mapping[str, str]) -> dict[str, int] | None:
    """Return the bytes that Guaranteed pods may have, by ``memory`` and size of huge pages; None: nobody counts them (policy
    ``None``)."""
    if config.memory_manager_policy != "Static":
        return None
    total = {name: amount(name, value) for name, value in capacity.items() if name == "memory" or is_pages(name)}
    total["memory"] -= sum(value for name, value in total.items() if is_pages(name))
    for one in config.reserved_memory:
        for name, value in one["limits"].items():
            total[name] = total.get(name, 0) - amount(name, str(value))
    return total


def is_pages(resource: str) -> bool:
    return resource.startswith(HUGEPAGES)
