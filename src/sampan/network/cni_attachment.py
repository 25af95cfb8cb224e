"""A pod's link in the kernel: a veth pair between the bridge and the pod, with the pod's addresses and routes.

A pod has addresses of one alone (/32, /128) and its only routes lead to the bridge, so that every packet between pods is
routed and passes connection tracking: Services work without the br_netfilter module, and NetworkPolicy sees all.
``pod_sources.py`` holds a pod to it.
The link's name is the container's, its alias the pod's, so that who looks at the kernel knows whose it is.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_network
from typing import Any

from sampan.network import route_netlink
from sampan.network.cni_call import INVALID_ENVIRONMENT, IO_FAILURE, NOT_AS_ADDED, Call, CniError, result
from sampan.network.families import Address, family_of
from sampan.network.netlink import NetlinkError
from sampan.network.netns import entered
from sampan.network.node_network import SYSCTL
from sampan.network.pod_addresses import OUTER, mac_of
from sampan.network.route_netlink import Link, Netlink

LINK_LOCAL = IPv6Network("fe80::/64")


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    """Of the link at the bridge."""
    interface: str
    """In the pod."""
    addresses: tuple[Address, ...]
    gateways: tuple[Address, ...]
    """One for each address, of its family."""
    outer_mac: str
    inner_mac: str
    mtu: int = 1500
    alias: str = ""


def link_name(container_id: str, interface: str) -> str:
    """Return the name of a pod's link at the bridge (15 characters at most)."""
    return "pod" + hashlib.sha256(f"{container_id}/{interface}".encode()).hexdigest()[:12]


def link_local(address: Address) -> IPv6Address:
    """Return the link-local address of the end of a link whose hardware address carries an address."""
    return LINK_LOCAL[int.from_bytes(address.packed[-4:], "big")]


def senders(addresses: Iterable[Address]) -> list[Address]:
    """Return what a pod with some addresses may send from: those, and the link-local one of IPv6."""
    return [sender for each in addresses for sender in ((each, link_local(each)) if each.version == 6 else (each,))]


def make_bridge(name: str, gateways: Sequence[tuple[Address, int]], mtu: int) -> Link:
    """Make a bridge that is the pods' gateway, or mend it; return it. ``gateways`` are (address, prefix length)."""
    with Netlink() as here:
        found = here.link(name)
        if found is None:
            with contextlib.suppress(FileExistsError):
                _request(here, route_netlink.add_bridge(name, mac_of(gateways[0][0], OUTER), mtu))
            found = here.link(name)
            if found is None:
                raise CniError(IO_FAILURE, f"the bridge {name} went while it was made")
        addresses = []
        for address, length in gateways:
            addresses.append(route_netlink.add_address(found.number, address, length))
            if address.version == 6:  # what neighbours are asked from, for packets of others
                addresses.append(route_netlink.add_address(found.number, link_local(address), LINK_LOCAL.prefixlen))
        here.request(route_netlink.set_up(name), *addresses)
        return found


def _request(here: Netlink, request: bytes) -> None:
    try:
        here.request(request)
    except NetlinkError as error:
        if error.errno == errno.EEXIST:
            raise FileExistsError(error.errno, str(error)) from error
        raise


def connect(attachment: Attachment, bridge: int, netns: int) -> None:
    """Make the link, give the pod its addresses and routes. Raises ``CniError`` and ``OSError``."""
    macs = {"mac": attachment.outer_mac, "peer_mac": attachment.inner_mac}
    with Netlink() as here:
        pair = route_netlink.add_veth(
            attachment.name, attachment.interface, netns, mtu=attachment.mtu, master=bridge, **macs
        )
        try:
            _request(here, pair)
        except FileExistsError:
            # what a call that was cut short has left, or the pod has such an interface already
            if here.link(attachment.name) is None:
                raise CniError(
                    INVALID_ENVIRONMENT, f"CNI_IFNAME {attachment.interface!r}: the pod has an interface of this name"
                ) from None
            here.request(route_netlink.delete_link(attachment.name))
            here.request(pair)
        outer = here.link(attachment.name)
        if outer is None:
            raise CniError(IO_FAILURE, f"the link {attachment.name} went while it was made")
        here.request(route_netlink.hairpin(outer.number))
        if attachment.alias:
            here.request(route_netlink.set_alias(attachment.name, attachment.alias))
    with Netlink(netns) as pod:
        # link-local addresses are given below, where there are to be any; a kernel without IPv6 refuses, and needs it not
        with contextlib.suppress(NetlinkError):
            pod.request(route_netlink.no_ipv6_address(attachment.interface))
        pod.request(route_netlink.set_up("lo"), route_netlink.set_up(attachment.interface))
        inner = pod.link(attachment.interface)
        if inner is None:
            raise CniError(IO_FAILURE, f"the interface {attachment.interface} went while it was made")
        requests = []
        for address, gateway in zip(attachment.addresses, attachment.gateways, strict=True):
            if address.version == 6:
                requests.append(route_netlink.add_address(inner.number, link_local(address), LINK_LOCAL.prefixlen))
            requests += [
                route_netlink.add_address(inner.number, address, address.max_prefixlen),
                route_netlink.add_route(ip_network(gateway), inner.number),
                route_netlink.add_route(family_of(address).anywhere, inner.number, gateway),
            ]
        pod.request(*requests)
    _believe_no_redirects(netns, attachment.interface)


def _believe_no_redirects(netns: int, interface: str) -> None:
    """Have a pod keep to its routes: it knows its neighbours by the router alone. Raises ``OSError``."""
    with entered(netns):
        for place in ("ipv4/conf/all", f"ipv4/conf/{interface}", f"ipv6/conf/{interface}"):
            with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
                (SYSCTL / place / "accept_redirects").write_text("0")


def added(call: Call, attachment: Attachment, bridge: str) -> dict[str, Any]:
    """Return the result of an ADD."""
    gateways = attachment.gateways
    return result(
        call,
        [
            {"name": bridge, "mac": mac_of(gateways[0], OUTER)},
            {"name": attachment.name, "mac": attachment.outer_mac},
            {"name": attachment.interface, "mac": attachment.inner_mac, "sandbox": call.need("NETNS")},
        ],
        [
            (f"{address}/{address.max_prefixlen}", str(gateway))
            for address, gateway in zip(attachment.addresses, gateways, strict=True)
        ],
        [{"dst": str(family_of(gateway).anywhere), "gw": str(gateway)} for gateway in gateways],
    )


def disconnect(name: str) -> None:
    """Delete a link; one that is gone is no error."""
    with Netlink() as here:
        try:
            here.request(route_netlink.delete_link(name))
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise


def inspect(name: str, interface: str, bridge: int, netns: int, expected: Sequence[Address]) -> None:
    """Raise ``CniError`` where a link is not as it was made, or has lost one of its addresses."""
    with Netlink() as here, Netlink(netns) as pod:
        outer, inner = here.link(name), pod.link(interface)
        if outer is None or inner is None or outer.master != bridge:
            raise CniError(NOT_AS_ADDED, f"the link of {interface} is not as it was added")
        there = set(pod.addresses(inner.number))
        for address in expected:
            if address not in there:
                raise CniError(NOT_AS_ADDED, f"{interface} has lost its address {address}")
        for family in {family_of(address) for address in expected}:
            if not any(route.destination == family.anywhere for route in pod.routes(family)):
                raise CniError(NOT_AS_ADDED, f"{interface} has lost its default route of {family.name}")


def loopback(call: Call) -> dict[str, Any] | None:
    """What the plugin ``loopback`` does; containerd 1.x wants it for every pod."""
    if call.need("COMMAND") != "ADD":
        return None
    with opened(call.need("NETNS")) as netns, Netlink(netns) as pod:
        pod.request(route_netlink.set_up("lo"))
    interface = {"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": call.need("NETNS")}
    return result(call, [interface], [("127.0.0.1/8", "")])


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Open a pod's namespace. Raises ``CniError``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CniError(INVALID_ENVIRONMENT, f"failed to open netns {path!r}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
