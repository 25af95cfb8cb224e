"""What the kernel is asked for a plan, and for the change from one plan to another: lists of netlink requests. Pure.

Each request goes with the words for what it is about, for the error when it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv6Address
from typing import NamedTuple

from sampan.lab.plan import FABRIC, Cable, Plan, PlannedBridge, PlannedInterface, PlannedNode, PlannedRoute, Plug
from sampan.network import links, route_netlink

LOOPBACK = 1


class Request(NamedTuple):
    message: bytes
    what: str


Descriptors = Mapping[str, int]
"""Place → descriptor of its namespace."""


def bridges(made: Mapping[str, PlannedBridge], fabric: int) -> Iterator[Request]:
    for name, bridge in made.items():
        end = links.End(fabric, bridge.name, bridge.number, bridge.mac, bridge.mtu)
        yield Request(links.add_bridge(end), f"bridge {name}")


def cables(made: Mapping[str, Cable], plan: Plan, places: Descriptors) -> Iterator[Request]:
    """Both ends of every cable where they belong; a port of a bridge is up at once, an interface of a node not yet."""

    def end(plug: Plug, *, up: bool) -> links.End:
        master = plan.bridges[plug.bridge].number if plug.bridge else 0
        return links.End(places[plug.place], plug.name, plug.number, plug.mac, plug.mtu, master, up=up)

    for name, cable in made.items():
        one, other = cable.ends
        yield Request(links.add_pair(end(one, up=one.place == FABRIC), end(other, up=False)), f"link {name}")
        if other.bridge:  # the second end of a cable between bridges
            master = plan.bridges[other.bridge].number
            yield Request(links.set_master(other.number, master), f"link {name}")


def interface(one: PlannedInterface, node: PlannedNode) -> Iterator[Request]:
    """An interface of a node that has just been plugged in: settings, up, addresses."""
    path = f"{node.name}/{one.name}"
    if one.parent:
        parent = node.interface(one.parent).number
        yield Request(links.add_vlan(one.name, one.number, parent, one.vlan, one.mac), f"VLAN {one.vlan} of {path}")
    end = links.End(-1, one.name, one.number, one.mac, one.mtu, forwarding=node.router)
    for message in links.settle(end):
        yield Request(message, f"interface {path}")
    yield from addresses(one, path)


def addresses(one: PlannedInterface, path: str) -> Iterator[Request]:
    if any(address.version == 6 for address in one.addresses):
        # a router asks for its neighbours from this one (RFC 4861 7.2.2); given out here, it need not be proved unique
        yield Request(route_netlink.add_address(one.number, link_local(one.mac), 64), f"link-local address of {path}")
    for address in one.addresses:
        message = route_netlink.add_address(one.number, address.ip, address.network.prefixlen)
        yield Request(message, f"address {address} of {path}")


def link_local(mac: str) -> IPv6Address:
    """Return the link-local address of a hardware address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return IPv6Address(b"\xfe\x80" + bytes(6) + identifier)


def route(node: PlannedNode, planned: PlannedRoute) -> Request:
    number = node.interface(planned.interface).number
    return Request(route_netlink.add_route(planned.to, number, planned.via), f"route of {node.name} to {planned.to}")


def node(made: PlannedNode) -> Iterator[Request]:
    """Everything of a node that is new."""
    yield Request(links.set_state(LOOPBACK, up=True), f"lo of {made.name}")
    for one in made.interfaces:
        yield from interface(one, made)
    for planned in made.routes:
        yield route(made, planned)


def changed_node(
    before: PlannedNode, after: PlannedNode, unplugged: Callable[[PlannedInterface], bool]
) -> Iterator[Request]:
    """What a node is asked for to become another. ``unplugged`` says which interfaces of ``before`` went with their cable."""
    kept = {one.name: one for one in before.interfaces if not unplugged(one)}
    wanted = {one.name: one for one in after.interfaces}
    again: set[str] = set()
    """Interfaces whose routes the kernel has forgotten."""
    for name, one in kept.items():
        if name not in wanted or (one.number, one.parent, one.vlan) != (
            wanted[name].number,
            wanted[name].parent,
            wanted[name].vlan,
        ):
            if one.parent:
                yield Request(links.delete(one.number), f"interface {before.name}/{name}")
            again.add(name)
    for name, one in wanted.items():
        if name not in kept or name in again:
            again.add(name)
            yield from interface(one, after)
            continue
        yield from _changed_interface(kept[name], one, before, after, again)
    gone = {(planned.to, planned.via, planned.interface) for planned in after.routes}
    for planned in before.routes:
        key = (planned.to, planned.via, planned.interface)
        replaced = any(planned.to == other.to for other in after.routes)
        if key not in gone and not replaced and planned.interface in kept and planned.interface not in again:
            number = kept[planned.interface].number
            message = route_netlink.delete_route(planned.to, number, planned.via)
            yield Request(message, f"route of {before.name} to {planned.to}")
    had = {(planned.to, planned.via, planned.interface) for planned in before.routes}
    for planned in after.routes:
        if (planned.to, planned.via, planned.interface) not in had or planned.interface in again:
            yield route(after, planned)


def _changed_interface(
    one: PlannedInterface, other: PlannedInterface, before: PlannedNode, after: PlannedNode, again: set[str]
) -> Iterator[Request]:
    path = f"{after.name}/{one.name}"
    if before.router != after.router:
        settings = links.family_settings(after.router, link_local=True)
        yield Request(links.set_settings(one.number, settings), f"interface {path}")
    removed = [address for address in one.addresses if address not in other.addresses]
    for address in removed:
        message = route_netlink.delete_address(one.number, address.ip, address.network.prefixlen)
        yield Request(message, f"address {address} of {path}")
    if removed or set(other.addresses) != set(one.addresses):
        # with an interface's first address of a range the kernel drops the others, and the routes that go by them
        again.add(one.name)
        yield from addresses(other, path)
