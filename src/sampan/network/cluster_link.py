"""The one link between the host and a cluster's network namespace: a veth pair, a route, a masquerade rule.

``connect`` runs in the host's namespace once the cluster's is pinned; ``disconnect`` undoes what it did, and nothing else.
All of it is two forks: ``ip -batch`` and ``nft -f``, quicker than importing a netlink library.

What the host keeps: interface ``smp<index>``, a route to the cluster's /16 through it, nftables table ``sampan-<name>``,
and forwarding switched on where packets enter (the link, and the interfaces of the default routes); forwarding that was
off before is noted in ``<state>/forwarding`` and switched off again.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

SYSCTL = Path("/proc/sys/net/ipv4/conf")


class LinkError(Exception):
    """The link could not be made; the message says which command refused and why."""


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


NODE_INTERFACE = "uplink"


def connect(config: LinkConfig) -> None:
    """Make the link, or leave it as it is when it is there. Raises ``LinkError``."""
    host = config.host_interface
    if not (Path("/sys/class/net") / host).exists():
        lines = [
            f"link add {host} type veth peer name {NODE_INTERFACE} netns {config.netns_path}",
            f"addr add {config.host_ip}/30 dev {host}",
            f"link set {host} up",
            f"route replace {config.cluster_cidr} via {config.node_ip} dev {host}",
        ]
        run(["ip", "-batch", "-"], "\n".join(lines))
        inside = [
            "link set lo up",
            f"addr add {config.node_ip}/30 dev {NODE_INTERFACE}",
            f"link set {NODE_INTERFACE} up",
            f"route replace default via {config.host_ip}",
        ]
        run(["nsenter", f"--net={config.netns_path}", "ip", "-batch", "-"], "\n".join(inside))
    run(["nft", "-f", "-"], host_rules(config))
    _switch_forwarding_on(config)


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
    """Remove the link and the rules; restore forwarding. What is already gone is no error."""
    _restore_forwarding(config)
    run(["nft", "-f", "-"], f"table ip {config.table}\ndelete table ip {config.table}\n")
    if (Path("/sys/class/net") / config.host_interface).exists():
        run(["ip", "link", "delete", config.host_interface])


def clashing_route(cluster_cidr: ipaddress.IPv4Network) -> str:
    """Return the destination of a route of the host that overlaps a range, or ``""``."""
    shown = run(["ip", "-json", "route", "show", "table", "main"])
    for route in json.loads(shown or "[]"):
        destination = route.get("dst", "")
        if destination in ("", "default"):
            continue
        if ipaddress.ip_network(destination, strict=False).overlaps(cluster_cidr):
            return str(destination)
    return ""


def _switch_forwarding_on(config: LinkConfig) -> None:
    routes = json.loads(run(["ip", "-json", "route", "show", "default"]) or "[]")
    interfaces = {config.host_interface, *(route["dev"] for route in routes if "dev" in route)}
    changed = []
    for interface in sorted(interfaces):
        switch = SYSCTL / interface / "forwarding"
        if switch.exists() and switch.read_text().strip() == "0":
            switch.write_text("1")
            if interface != config.host_interface:
                changed.append(interface)
    if changed:
        (config.state_dir / "forwarding").write_text("\n".join(changed))


def _restore_forwarding(config: LinkConfig) -> None:
    """Switch off what ``connect`` switched on; when other clusters still run, the note goes to one of them."""
    note = config.state_dir / "forwarding"
    if not note.exists():
        return
    heirs = [path for path in config.state_dir.parent.glob("*/cluster.json") if path.parent != config.state_dir]
    if heirs:
        heir = heirs[0].parent / "forwarding"
        known = set(heir.read_text().split()) if heir.exists() else set()
        heir.write_text("\n".join(sorted(known | set(note.read_text().split()))))
    else:
        for interface in note.read_text().split():
            switch = SYSCTL / interface / "forwarding"
            if switch.exists():
                switch.write_text("0")
    note.unlink()


def run(command: list[str], text: str = "") -> str:
    """Return what a command printed. Raises ``LinkError`` with its own words."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LinkError(f"{command[0]} is not installed (apt-get install iproute2 nftables util-linux)") from error
    if done.returncode != 0:
        raise LinkError(f"{' '.join(command[:3])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
