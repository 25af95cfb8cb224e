"""The one link between the host and a cluster's network namespace: a veth pair, a route, a masquerade rule.

``connect`` runs in the host's namespace once the cluster's is pinned, and may run again at any time: it makes what is
missing. ``disconnect`` undoes what it did, and nothing else. Links and routes go by netlink, the rules by one ``nft``.

What the host keeps: interface ``smp<index>``, a route to the cluster's /16 through it, nftables table ``sampan-<name>``,
and forwarding switched on where packets enter (the link, and the interfaces of the default routes); forwarding that was
off before is noted in ``<state>/forwarding`` and switched off again. Where a firewall drops what is forwarded (Docker
sets that policy), two accepting rules are put before its own and noted in ``<state>/forward-accept``.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sampan.network import netlink
from sampan.network.netlink import Netlink, NetlinkError

SYSCTL = Path("/proc/sys/net/ipv4/conf")
NODE_INTERFACE = "uplink"
ANYWHERE = ipaddress.IPv4Network("0.0.0.0/0")


class LinkError(Exception):
    """The link could not be made; the message says what was refused and why."""


@dataclass(frozen=True, slots=True)
class LinkConfig:
    name: str
    index: int
    netns_path: Path
    state_dir: Path
    cluster_cidr: ipaddress.IPv4Network
    host_ip: ipaddress.IPv4Address
    node_ip: ipaddress.IPv4Address

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
            defaults = {route.interface for route in host.routes() if route.destination == ANYWHERE}
            outward = [link.name for link in host.links() if link.number in defaults]
    except OSError as error:
        raise LinkError(f"linking the host to {config.netns_path}: {error.strerror or error}") from error
    chains = run(["nft", "-f", "-"], host_rules(config) + "list chains ip\n")
    if drops_forwarded(chains):
        _accept_forwarded(config)
    _switch_forwarding_on(config, outward)


def _make_pair(config: LinkConfig, host: Netlink, cluster: Netlink, netns: int) -> None:
    outer, inner = host.link(config.host_interface), cluster.link(NODE_INTERFACE)
    if outer is not None and inner is None:
        # it leads to a namespace that is no longer the cluster's
        host.request(netlink.delete_link(config.host_interface))
        outer = None
    if outer is None:
        host.request(netlink.add_veth(config.host_interface, NODE_INTERFACE, netns, mtu=_mtu(host)))
        outer, inner = host.link(config.host_interface), cluster.link(NODE_INTERFACE)
    if outer is None or inner is None:
        raise LinkError(f"the link {config.host_interface} went while it was made")
    cluster.request(
        netlink.set_up("lo"),
        netlink.set_up(NODE_INTERFACE),
        netlink.add_address(inner.number, config.node_ip, 30),
        netlink.add_route(ANYWHERE, inner.number, config.host_ip),
    )
    host.request(
        netlink.set_up(config.host_interface),
        netlink.add_address(outer.number, config.host_ip, 30),
        netlink.add_route(config.cluster_cidr, outer.number, config.node_ip),
    )


def _mtu(host: Netlink) -> int:
    """Return the smallest MTU of the interfaces that lead out, so that pods need not find it out."""
    defaults = {route.interface for route in host.routes() if route.destination == ANYWHERE}
    return min((link.mtu for link in host.links() if link.number in defaults), default=1500)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def host_rules(config: LinkConfig) -> str:
    """Return the host's table as nft text: what leaves the cluster for the world leaves as the host."""
    return f"""table ip {config.table}
delete table ip {config.table}
table ip {config.table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {config.cluster_cidr} oifname != "{config.host_interface}" masquerade
  }}
}}
"""


def disconnect(config: LinkConfig) -> None:
    """Remove the link and the rules; restore forwarding. What is already gone is no error. Raises ``LinkError``."""
    _restore_forwarding(config)
    _accept_no_longer(config)
    run(["nft", "-f", "-"], f"table ip {config.table}\ndelete table ip {config.table}\n")
    try:
        with Netlink() as host:
            if host.link(config.host_interface) is not None:
                host.request(netlink.delete_link(config.host_interface))
    except NetlinkError as error:
        raise LinkError(f"removing {config.host_interface}: {error.strerror}") from error


def clashing_route(cluster_cidr: ipaddress.IPv4Network) -> str:
    """Return the destination of a route of the host that overlaps a range, or ``""``."""
    with Netlink() as host:
        for route in host.routes():
            if route.destination != ANYWHERE and route.destination.overlaps(cluster_cidr):
                return str(route.destination)
    return ""


# forwarding


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


def _switch_forwarding_on(config: LinkConfig, outward: list[str]) -> None:
    changed = []
    for interface in sorted({config.host_interface, *outward}):
        switch = SYSCTL / interface / "forwarding"
        if switch.exists() and switch.read_text().strip() == "0":
            switch.write_text("1")
            if interface != config.host_interface:
                changed.append(interface)
    if changed:
        _note(config.state_dir / "forwarding", changed)


def _restore_forwarding(config: LinkConfig) -> None:
    """Switch off what ``connect`` switched on; when other clusters still run, the note goes to one of them."""
    note = config.state_dir / "forwarding"
    if not note.exists():
        return
    heirs = [path for path in config.state_dir.parent.glob("*/cluster.json") if path.parent != config.state_dir]
    if heirs:
        _note(heirs[0].parent / "forwarding", note.read_text().split())
    else:
        for interface in note.read_text().split():
            switch = SYSCTL / interface / "forwarding"
            if switch.exists():
                switch.write_text("0")
    note.unlink()


def _note(path: Path, interfaces: list[str]) -> None:
    known = set(path.read_text().split()) if path.exists() else set()
    path.write_text("\n".join(sorted(known | set(interfaces))))


def run(command: list[str], text: str = "") -> str:
    """Return what a command printed. Raises ``LinkError`` with its own words."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LinkError(f"{command[0]} is not installed (apt-get install nftables iptables)") from error
    if done.returncode != 0:
        raise LinkError(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
