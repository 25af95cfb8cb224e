"""The CNI plugin as an executable of its own, for any kubelet, CRI runtime, podman or ``ctr``: no agent, no cluster.

``run`` answers one call from the environment and standard input. The configuration may say ``bridge``, ``mtu``, ``ipMasq``
and ``ipam`` (ours or any other plugin's, see ``cni_ipam.py``). The links are those of a Sampan cluster
(``cni_attachment.py``), so pods are routed and NetworkPolicy sees all. Unlike there, the state is leases in files.
Source: CNI specification 1.1.0.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

from sampan.network import cni_attachment, cni_bandwidth, cni_ipam
from sampan.network.cni_attachment import Attachment, added, link_name, loopback, opened
from sampan.network.cni_call import (
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    LONGEST_NAME,
    NO_ADDRESS,
    NOT_AVAILABLE,
    UNSUPPORTED_FIELD,
    Call,
    CniError,
    check_version,
    failure,
    parse_config,
    supported,
)
from sampan.network.cni_ipam import Lent
from sampan.network.cni_leases import ranges_of
from sampan.network.families import Address
from sampan.network.netlink import NetlinkError
from sampan.network.pod_addresses import INNER, OUTER, mac_of
from sampan.network.pod_sources import PodSources
from sampan.network.route_netlink import Netlink

BRIDGE = "sampan0"
DEFAULT_MTU, SMALLEST_MTU, LARGEST_MTU = 1500, 68, 65535
FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}
KNOWN = ("portMappings", "bandwidth", "ips", "mac")


def main() -> int:
    """Answer one call; return the exit code."""
    variables = {name[4:]: value for name, value in os.environ.items() if name.startswith("CNI_")}
    document, code = run(variables, sys.stdin.buffer.read(), Path(sys.argv[0]).name)
    if document is not None:
        print(json.dumps(document))
    return code


def run(variables: dict[str, str], data: bytes, plugin: str = "sampan") -> tuple[dict[str, Any] | None, int]:
    """Return what to print and the exit code. ``plugin``: the name under which we were called."""
    version = ""
    try:
        call = Call(plugin, variables, parse_config(data))
        version = call.version
        command = call.need("COMMAND")
        if command == "VERSION":
            return supported(call), 0
        check_version(call)
        if plugin == "loopback":
            return loopback(call), 0
        if command not in VERBS:
            raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
        return VERBS[command](call), 0
    except CniError as error:
        return failure(version, error.code, str(error), error.details), 1
    except OSError as error:
        return failure(version, IO_FAILURE, str(error)), 1


def add(call: Call) -> dict[str, Any]:
    bridge, mtu = bridge_of(call), mtu_of(call)
    check_capabilities(call)
    bandwidth, name = cni_bandwidth.bandwidth_of(call.runtime), link_name(call.need("CONTAINERID"), call.interface)
    with opened(call.need("NETNS")) as netns:
        lent = cni_ipam.lend(call)
        try:
            if not lent:
                raise CniError(INVALID_CONFIG, "ipam gives a pod no address")
            gateways = list({each.gateway: each.prefix_length for each in lent}.items())
            made = cni_attachment.make_bridge(bridge, gateways, mtu)
            switch_forwarding_on({each.address.version for each in lent})
            if call.config.get("ipMasq"):
                masquerade(call, lent)
            attachment = Attachment(
                name=name,
                interface=call.interface,
                addresses=tuple(each.address for each in lent),
                gateways=tuple(each.gateway for each in lent),
                outer_mac=mac_of(lent[0].address, OUTER),
                inner_mac=call.wanted_mac or mac_of(lent[0].address, INNER),
                mtu=mtu,
                alias=str(call.pod),
            )
            PodSources(bridge, made.mac).hold(name, attachment.inner_mac, cni_attachment.senders(attachment.addresses))
            cni_attachment.connect(attachment, made.number, netns)
            cni_bandwidth.shape(name, call.interface, netns, bandwidth)
        except BaseException:
            _disconnect(name)
            cni_ipam.take_back(_as(call, "DEL"))
            raise
    return added(call, attachment, bridge)


def delete(call: Call) -> None:
    """Nothing that is gone is an error: DEL may come twice, late, without a namespace or a previous result."""
    _disconnect(link_name(call.need("CONTAINERID"), call.need("IFNAME")))
    cni_ipam.take_back(call)


def _disconnect(name: str) -> None:
    cni_attachment.disconnect(name)
    PodSources("", "").release(name)


def check(call: Call) -> None:
    name, bridge = link_name(call.need("CONTAINERID"), call.interface), bridge_of(call)
    expected = _ours(call, name)
    if not expected:
        raise CniError(INVALID_CONFIG, "prevResult: it has no address of this attachment")
    with Netlink() as here, opened(call.need("NETNS")) as netns:
        found = here.link(bridge)
        if found is None:
            raise CniError(NOT_AVAILABLE, f"the bridge {bridge} is not there")
        cni_attachment.inspect(name, call.interface, found.number, netns, expected)
    cni_ipam.still_lent(call, expected)


def _ours(call: Call, name: str) -> list[Address]:
    """Return the addresses of the previous result that are on our own interface."""
    names = [entry.get("name") for entry in call.previous.get("interfaces") or ()]
    if name not in names or call.interface not in names:
        raise CniError(INVALID_CONFIG, f"prevResult: it has no interfaces {name} and {call.interface}")
    number = names.index(call.interface)
    return [
        ip_interface(entry["address"]).ip
        for entry in call.previous.get("ips") or ()
        if entry.get("interface", number) == number
    ]


def collect(call: Call) -> None:
    """Remove what attachments have that the runtime no longer knows."""
    valid = call.config.get("cni.dev/valid-attachments")
    if not isinstance(valid, list):
        raise CniError(INVALID_CONFIG, "cni.dev/valid-attachments is missing")
    holders = {f"{entry.get('containerID', '')}/{entry.get('ifname', '')}" for entry in valid}
    for holder in cni_ipam.keep_only(call, holders):
        container, _, interface = holder.rpartition("/")
        _disconnect(link_name(container, interface))


def status(call: Call) -> None:
    """Raise ``CniError`` where an ADD could not do its work."""
    bridge_of(call), mtu_of(call)
    try:
        with Netlink() as here:
            here.link(bridge_of(call))
    except NetlinkError as error:
        raise CniError(NOT_AVAILABLE, f"the kernel refuses netlink: {error}") from error
    try:
        cni_ipam.free(call)
    except CniError as error:
        code = NOT_AVAILABLE if error.code == NO_ADDRESS else error.code
        raise CniError(code, str(error), error.details) from error


VERBS: dict[str, Callable[[Call], dict[str, Any] | None]] = {
    "ADD": add,
    "DEL": delete,
    "CHECK": check,
    "GC": collect,
    "STATUS": status,
}


def _as(call: Call, command: str) -> Call:
    return Call(call.plugin, {**call.variables, "COMMAND": command}, call.config)


# the configuration


def bridge_of(call: Call) -> str:
    name = str(call.config.get("bridge") or BRIDGE)
    if len(name) > LONGEST_NAME or "/" in name or any(sign.isspace() for sign in name):
        raise CniError(
            INVALID_CONFIG, f"bridge {name!r} is no name of an interface ({LONGEST_NAME} characters at most)"
        )
    return name


def mtu_of(call: Call) -> int:
    mtu = call.config.get("mtu") or DEFAULT_MTU
    if isinstance(mtu, bool) or not isinstance(mtu, int) or not SMALLEST_MTU <= mtu <= LARGEST_MTU:
        raise CniError(INVALID_CONFIG, f"mtu {mtu!r} is not between {SMALLEST_MTU} and {LARGEST_MTU}")
    return mtu


def check_capabilities(call: Call) -> None:
    """Raise ``CniError`` for what is asked of this plugin and is another's of the chain."""
    if call.runtime.get("portMappings"):
        raise CniError(
            UNSUPPORTED_FIELD,
            "runtimeConfig.portMappings: host ports are not this plugin's without an agent",
            "take portMappings out of its capabilities and put the plugin portmap behind it in the chain",
        )
    for name in call.runtime:
        if name not in KNOWN:
            raise CniError(UNSUPPORTED_FIELD, f"runtimeConfig.{name}: {call.runtime[name]!r} is not supported")


# the host


def switch_forwarding_on(versions: set[int], root: Path = Path("/proc/sys/net")) -> None:
    for version in versions:
        switch = root / FORWARDING[version]
        if switch.exists() and switch.read_text().strip() == "0":
            switch.write_text("1")


def masquerade(call: Call, lent: list[Lent]) -> None:
    """What leaves a network's own subnet for elsewhere leaves as the host. Raises ``CniError``."""
    table = f"sampan-cni-{hashlib.sha256(str(call.config['name']).encode()).hexdigest()[:12]}"
    rules = []
    subnets = {ip_network((each.address, each.prefix_length), strict=False) for each in lent}
    if not cni_ipam.delegated(call):
        subnets |= {each.subnet for choices in ranges_of(cni_ipam.ipam_of(call)) for each in choices}
    for subnet in sorted(subnets, key=str):
        word, group = ("ip", "224.0.0.0/4") if subnet.version == 4 else ("ip6", "ff00::/8")
        rules.append(f"{word} saddr {subnet} {word} daddr != {{ {subnet}, {group} }} masquerade")
    text = (
        f"table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n  chain postrouting {{\n"
        f"    type nat hook postrouting priority srcnat; policy accept;\n    {chr(10).join(rules)}\n  }}\n}}\n"
    )
    try:
        done = subprocess.run(["nft", "-f", "-"], input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CniError(IO_FAILURE, "ipMasq: nft is not installed (apt-get install nftables)") from error
    if done.returncode:
        raise CniError(IO_FAILURE, "ipMasq: nft refuses the rule", done.stderr.strip()[:500])
