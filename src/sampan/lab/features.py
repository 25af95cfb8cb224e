"""What this kernel has: found out by asking it for the thing, in a namespace that is thrown away.

A kernel may have a feature as a module that loads when it is asked for, so no list of modules and no configuration tells.
"""

from __future__ import annotations

import errno
import functools

from sampan.lab.errors import TopologyError
from sampan.lab.namespaces import new_places
from sampan.lab.topology import Topology
from sampan.network import links, qdiscs
from sampan.network.netlink import NetlinkError

UNKNOWN_KIND = {errno.EOPNOTSUPP, errno.ENOENT}
LOOPBACK = 1
WHERE = {
    "vlan": "802.1Q VLANs (CONFIG_VLAN_8021Q)",
    "netem": "delays (netem, CONFIG_NET_SCH_NETEM)",
    "tbf": "token buckets (CONFIG_NET_SCH_TBF)",
}


@functools.cache
def has(feature: str) -> bool:
    """Whether the kernel has ``vlan``, ``netem`` or ``tbf``. Raises ``OSError`` when namespaces cannot be made."""
    requests = {
        "vlan": links.add_vlan("probe", 0, LOOPBACK, 2, "02:00:00:00:00:01"),
        "netem": qdiscs.emulate(LOOPBACK, 0.001),
        "tbf": qdiscs.shape(LOOPBACK, 1_000_000),
    }
    (place,) = new_places(["probe"])
    try:
        place.netlink.batch([requests[feature]])
    except NetlinkError as error:
        return error.errno not in UNKNOWN_KIND
    finally:
        place.close()
    return True


def require(topology: Topology) -> None:
    """Raise ``TopologyError`` for what a topology asks of a kernel that has it not."""
    wanted = [(f"subnets[{i}].vlan", "vlan") for i, subnet in enumerate(topology.subnets) if subnet.vlan]
    impaired = [(f"links[{i}]", link.impairment) for i, link in enumerate(topology.links)]
    for i, node in enumerate(topology.nodes):
        impaired += [(f"nodes[{i}].interfaces[{j}]", one.impairment) for j, one in enumerate(node.interfaces)]
    wanted += [(f"{path}.delay", "netem") for path, impairment in impaired if impairment.delay_seconds]
    ranges = [
        (f"subnets[{i}].cidr", network) for i, subnet in enumerate(topology.subnets) for network in subnet.networks
    ]
    ranges += [("pools", network) for network in topology.pools]
    unable = [path for path, network in ranges if network.version == 6 and not links.IPV6.exists()]
    problems = [f"{path}: this kernel has no IPv6, or was told to have none (ipv6.disable)" for path in unable]
    problems += [f"{path}: this kernel has no {WHERE[feature]}" for path, feature in wanted if not has(feature)]
    if problems:
        raise TopologyError(problems)
