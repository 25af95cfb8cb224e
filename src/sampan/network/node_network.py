"""What the cluster's namespace must be told before packets flow in it: forwarding, and no help from the bridge code."""

from __future__ import annotations

from pathlib import Path

SYSCTL = Path("/proc/sys/net")
SWITCHES = {
    "ipv4/ip_forward": "1",
    # a pod's packets leave by the interface they came in by, which is no reason to tell it of a shorter way
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    # answers of a pod to an outer address come in by the bridge, those of the host by the link
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/default/disable_ipv6": "1",
    # where Docker has loaded br_netfilter: rules are for routed packets only
    "bridge/bridge-nf-call-iptables": "0",
}
OPTIONAL = ("bridge/", "ipv6/")


def switch(root: Path = SYSCTL) -> None:
    """Set the switches of this network namespace. Raises ``OSError`` where one that is needed cannot be set."""
    for name, value in SWITCHES.items():
        path = root / name
        if path.exists() or not name.startswith(OPTIONAL):
            path.write_text(value)


def uplink_mtu(interface: str, root: Path = Path("/sys/class/net")) -> int:
    """Return the MTU of the link to the host, for the pods to have the same; 1500 where there is none."""
    try:
        return int((root / interface / "mtu").read_text())
    except OSError:
        return 1500
