"""What the cluster's namespace must be told before packets flow in it: forwarding, and no help from the bridge code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from sampan.network.families import IPV4, IPV6, Family

SYSCTL = Path("/proc/sys/net")
SWITCHES = {
    "ipv4/ip_forward": "1",
    # where Docker has loaded br_netfilter: rules are for routed packets only
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
}
WITHOUT_IPV6 = {"ipv6/conf/default/disable_ipv6": "1"}
WITH_IPV6 = {
    "ipv6/conf/all/disable_ipv6": "0",
    "ipv6/conf/default/disable_ipv6": "0",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/forwarding": "1",
}
OPTIONAL = "bridge/"
OF_INTERFACES = {
    # a pod's packets leave by the interface they came in by, which is no reason to tell it of a shorter way
    "send_redirects": "0",
    # answers of a pod to an outer address come in by the bridge, those of the host by the link
    "rp_filter": "0",
}
"""Switches of every interface: those that are there already have their own by now."""


def switch(families: Iterable[Family] = (IPV4,), root: Path = SYSCTL) -> None:
    """Set the switches of this network namespace. Raises ``OSError`` where one that is needed cannot be set."""
    with_ipv6 = IPV6 in families
    for name, value in {**SWITCHES, **(WITH_IPV6 if with_ipv6 else WITHOUT_IPV6)}.items():
        path = root / name
        if path.exists() or not (name.startswith(OPTIONAL) or name in WITHOUT_IPV6):
            path.write_text(value)
    for interface in (root / "ipv4" / "conf").iterdir():
        for name, value in OF_INTERFACES.items():
            with contextlib.suppress(FileNotFoundError):  # a pod's link may go meanwhile
                (interface / name).write_text(value)


def uplink_mtu(interface: str, root: Path = Path("/sys/class/net")) -> int:
    """Return the MTU of the link to the host, for the pods to have the same; 1500 where there is none."""
    try:
        return int((root / interface / "mtu").read_text())
    except OSError:
        return 1500
