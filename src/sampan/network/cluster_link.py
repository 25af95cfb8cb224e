"""The one link between the host and a cluster's network namespace: a veth pair, a route, a masquerade rule.

``connect`` runs in the host's namespace once the cluster's is pinned, and may run again at any time: it makes what is
missing. ``disconnect`` undoes what it did, and nothing else. Links and routes go by netlink, the rules by one ``nft``.

What the host keeps: interface ``smp<index>``, a route to the cluster's range (of each family) through it, nftables table
``sampan-<name>``, and forwarding switched on where packets enter (the link, and the interfaces of the default routes),
which ``host_forwarding`` does and undoes. IPv6 is forwarded by the switch ``force_forwarding`` of those interfaces alone
(Linux 6.17): the older one is for the whole host, and makes it deaf for router advertisements; without it pods reach the
host by IPv6, and the world where the host is a router already. Where a firewall drops what is forwarded (Docker sets that
policy), two accepting rules are put before its own and noted in ``<state>/forward-accept``.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.network import host_forwarding, route_netlink
from sampan.network.families import FAMILIES, IPV4, IPV6, Address, Family, Network, family_of
from sampan.network.host_forwarding import SYSCTL_IPV6
from sampan.network.netlink import NetlinkError
from sampan.network.route_netlink import Netlink

NODE_INTERFACE = "uplink"
LINK_BITS = {IPV4: 30, IPV6: 126}
"""How long the prefix of the link's range is."""


class LinkError(Exception):
    """The link could not be made; the message says what was refused and why."""


@dataclass(frozen=True, slots=True)
class LinkConfig:
    name: str
    index: int
    netns_path: Path
    state_dir: Path
    cluster_cidrs: tuple[Network, ...]
    """One range, or one of each family, and so for the two ends of the link."""
    host_ips: tuple[Address, ...]
    node_ips: tuple[Address, ...]

    @property
    def families(self) -> tuple[Family, ...]:
        return tuple(family_of(network) for network in self.cluster_cidrs)

    @property
    def host_interface(self) -> str:
        return f"smp{self.index}"

    @property
    def table(self) -> str:
        return f"sampan-{self.name}"


def connect(config: LinkConfig) -> None:
    """Make the link, or mend it. Raises ``LinkError``."""
    try:
        with Netlink() as host, _opened(config.netns_path) as netns, Netlink(netns) as cluster:
            _make_pair(config, host, cluster, netns)
            outward = [link.name for link in host.links() if link.number in _defaults(host)]
    except OSError as error:
        raise LinkError(f"linking the host to {config.netns_path}: {error.strerror or error}") from error
    chains = run(["nft", "-f", "-"], host_rules(config) + "list chains ip\n")
    if IPV4 in config.families and drops_forwarded(chains):
        _accept_forwarded(config)
    host_forwarding.switch_on(config.state_dir, config.families, config.host_interface, outward)


def _make_pair(config: LinkConfig, host: Netlink, cluster: Netlink, netns: int) -> None:
    outer, inner = host.link(config.host_interface), cluster.link(NODE_INTERFACE)
    if outer is not None and inner is None:
        # it leads to a namespace that is no longer the cluster's
        host.request(route_netlink.delete_link(config.host_interface))
        outer = None
    if outer is None:
        host.request(route_netlink.add_veth(config.host_interface, NODE_INTERFACE, netns, mtu=_mtu(host)))
        outer, inner = host.link(config.host_interface), cluster.link(NODE_INTERFACE)
    if outer is None or inner is None:
        raise LinkError(f"the link {config.host_interface} went while it was made")
    cluster.request(route_netlink.set_up("lo"), route_netlink.set_up(NODE_INTERFACE))
    host.request(route_netlink.set_up(config.host_interface))
    ends = zip(config.cluster_cidrs, config.host_ips, config.node_ips, strict=True)
    for cluster_cidr, host_ip, node_ip in ends:
        family = family_of(cluster_cidr)
        try:
            cluster.request(
                route_netlink.add_address(inner.number, node_ip, LINK_BITS[family]),
                route_netlink.add_route(family.anywhere, inner.number, host_ip),
            )
            host.request(
                route_netlink.add_address(outer.number, host_ip, LINK_BITS[family]),
                route_netlink.add_route(cluster_cidr, outer.number, node_ip),
            )
        except NetlinkError as error:
            if family == IPV6 and not ipv6_works():
                raise LinkError(
                    "this machine has no IPv6, or it is switched off (net.ipv6.conf.all.disable_ipv6)"
                ) from error
            raise


def ipv6_works() -> bool:
    """Whether the kernel has IPv6, and it is not switched off for new interfaces."""
    switches = [SYSCTL_IPV6 / name / "disable_ipv6" for name in ("all", "default")]
    return all(switch.exists() and switch.read_text().strip() == "0" for switch in switches)


def forwards_ipv6() -> bool:
    """Whether pods can reach the world by IPv6: single interfaces can be told to forward, or the host does so already."""
    everywhere = SYSCTL_IPV6 / "all" / "forwarding"
    alone = (SYSCTL_IPV6 / "lo" / "force_forwarding").exists()
    return alone or (everywhere.exists() and everywhere.read_text().strip() != "0")


def _defaults(host: Netlink) -> set[int]:
    """Return the interfaces that lead out."""
    routes = (route for family in FAMILIES for route in host.routes(family))
    return {route.interface for route in routes if route.destination.prefixlen == 0}


def _mtu(host: Netlink) -> int:
    """Return the smallest MTU of the interfaces that lead out, so that pods need not find it out."""
    defaults = _defaults(host)
    return min((link.mtu for link in host.links() if link.number in defaults), default=1500)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def host_rules(config: LinkConfig) -> str:
    """Return the host's tables as nft text: what leaves the cluster for the world leaves as the host."""
    return "".join(
        f"""table {family_of(network).nft} {config.table}
delete table {family_of(network).nft} {config.table}
table {family_of(network).nft} {config.table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    {family_of(network).nft} saddr {network} oifname != "{config.host_interface}" masquerade
  }}
}}
"""
        for network in config.cluster_cidrs
    )


def disconnect(config: LinkConfig) -> None:
    """Remove the link and the rules; restore forwarding. What is already gone is no error. Raises ``LinkError``."""
    host_forwarding.restore(config.state_dir)
    _accept_no_longer(config)
    gone = (
        f"table {family.nft} {config.table}\ndelete table {family.nft} {config.table}\n" for family in config.families
    )
    run(["nft", "-f", "-"], "".join(gone))
    try:
        with Netlink() as host:
            if host.link(config.host_interface) is not None:
                host.request(route_netlink.delete_link(config.host_interface))
    except NetlinkError as error:
        raise LinkError(f"removing {config.host_interface}: {error.strerror}") from error


def clashing_route(cluster_cidr: Network) -> str:
    """Return the destination of a route of the host that overlaps a range, or ``""``."""
    with Netlink() as host:
        for route in host.routes(family_of(cluster_cidr)):
            if route.destination.prefixlen and overlap(route.destination, cluster_cidr):
                return str(route.destination)
    return ""


def overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one[0] <= other[-1] and other[0] <= one[-1]  # type: ignore[operator]


# a firewall that drops what is forwarded


def drops_forwarded(chains: str) -> bool:
    """Whether the iptables chain FORWARD drops what no rule accepts. ``chains`` is what ``nft list chains`` prints;
    iptables' older backend is asked itself, where it is in use."""
    table = ""
    for line in map(str.strip, chains.splitlines()):
        if line.startswith("table "):
            table = line
        elif table.startswith("table ip filter") and "hook forward" in line and "policy drop" in line:
            return True
    legacy = Path("/proc/net/ip_tables_names")
    if legacy.exists() and "filter" in legacy.read_text().split():
        with contextlib.suppress(LinkError):
            return "-P FORWARD DROP" in run(["iptables-legacy", "-S", "FORWARD"])
    return False


def _forward_rules(config: LinkConfig) -> list[list[str]]:
    comment = ["-m", "comment", "--comment", config.table, "-j", "ACCEPT"]
    return [["FORWARD", side, config.host_interface, *comment] for side in ("-i", "-o")]


def _accept_forwarded(config: LinkConfig) -> None:
    for rule in _forward_rules(config):
        try:
            run(["iptables", "-w", "-C", *rule])
        except LinkError:
            run(["iptables", "-w", "-I", *rule])
    (config.state_dir / "forward-accept").write_text(config.host_interface)


def _accept_no_longer(config: LinkConfig) -> None:
    note = config.state_dir / "forward-accept"
    if note.exists():
        for rule in _forward_rules(config):
            # the firewall may have been loaded anew since, and our rules with it be gone
            with contextlib.suppress(LinkError):
                run(["iptables", "-w", "-D", *rule])
        note.unlink()


def run(command: list[str], text: str = "") -> str:
    """Return what a command printed. Raises ``LinkError`` with its own words."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LinkError(f"{command[0]} is not installed (apt-get install nftables iptables)") from error
    if done.returncode != 0:
        raise LinkError(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
