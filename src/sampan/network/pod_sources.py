"""A pod sends from its own addresses, and to the router alone: other frames are dropped where they come in by its link.

A container with CAP_NET_RAW may write any frame it likes. What is believed of a frame is the port of the bridge it came by;
the hardware and IP address of its sender, and those that it tells of in ARP and neighbour discovery, must be those of that
port's pod, and it must be for the bridge itself. So what a policy says of an address is true of the pod, and all that pods
send each other is routed, where policies stand (ports isolated from each other would do that, too, but not let through what
br_netfilter leads to a Service). The kernel keeps the elements over a restart of the agent.
Source: nft(8), bridge family; RFC 826, RFC 4861.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence

from sampan.network import nft
from sampan.network.families import Address
from sampan.network.nft import NftError
from sampan.network.nft_elements import Element, Elements, Value

logger = logging.getLogger("sampan.network")

TABLE, FAMILY, ROUTED = "sampan-sources", "bridge", "inet"
SETS = {4: ("sent-4", "held-4"), 6: ("sent-6", "held-6", "told-6")}
ALL = ("guarded", *SETS[4], *SETS[6])
LONGEST_INTERFACE = 16
ETHER_TYPES = {4: "0800", 6: "86dd"}
BASE = f"""table {FAMILY} {TABLE} {{
  set guarded {{ type ifname; }}
  set sent-4 {{ typeof iifname . @ll,0,112 . @nh,96,32; }}
  set sent-6 {{ typeof iifname . @ll,0,112 . @nh,64,128; }}
  set held-4 {{ type ifname . ether_addr . ipv4_addr; }}
  set held-6 {{ type ifname . ether_addr . ipv6_addr; }}
  set told-6 {{ typeof iifname . ether saddr . @th,64,128; }}
  chain neighbours {{
    icmpv6 type nd-neighbor-advert iifname . ether saddr . @th,64,128 != @told-6 counter drop
    icmpv6 type nd-neighbor-solicit iifname . ether saddr . ip6 saddr @held-6 accept
  }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy accept;
    iifname . @ll,0,112 . @nh,96,32 @sent-4 accept
    iifname != @guarded accept
    meta l4proto ipv6-icmp jump neighbours
    iifname . @ll,0,112 . @nh,64,128 @sent-6 accept
    ether type arp iifname . ether saddr . arp saddr ip @held-4 iifname . arp saddr ether . arp saddr ip @held-4 accept
    counter drop
  }}
}}
table {ROUTED} {TABLE} {{
  set bridges {{ type ifname; }}
  chain output {{
    type filter hook output priority 0; policy accept;
    icmp type redirect oifname @bridges counter drop
    icmpv6 type nd-redirect oifname @bridges counter drop
  }}
}}
"""
"""What pods send most is told by its first lookup alone: ``@ll,0,112`` is a frame's head (to whom, from whom, what it
carries), ``@nh,96,32`` and ``@nh,64,128`` the sender in a header of IP; ``@th,64,128`` is the address that an advertisement
tells of. The router must not tell pods of the shorter way past it (which it does in IPv6, whatever is asked of the kernel);
that is asked of what the node itself sends, not of what it forwards."""


class PodSources:
    """The senders of this network namespace's pods; ``bridge`` and ``router``: the bridge's name and hardware address.
    Every method blocks, and may be called from any thread."""

    def __init__(self, bridge: str, router: str) -> None:
        self._lock = threading.Lock()
        self._bridge, self._router = bridge, router
        self._possible = True
        self._elements: Elements | None = None

    def keep(self, links: Mapping[str, tuple[str, Sequence[Address]]]) -> None:
        """Forget links that are gone, and hold those that nobody held: ``links`` have their pod's hardware address and its
        addresses."""
        with self._lock:
            held = self._held()
            known = {link_of(element) for element in held}
            self._change([element for element in held if link_of(element) not in links], {})
        for name in links.keys() - known:
            self.hold(name, *links[name])

    def hold(self, link: str, mac: str, addresses: Iterable[Address]) -> None:
        """Let what comes in by a link come from these addresses alone, from now on."""
        name = padded(link)
        wanted: dict[Element, Value] = {
            (FAMILY, "guarded", name): None,
            (ROUTED, "bridges", padded(self._bridge)): None,
        }
        for each in addresses:
            keys = {set_: name + packed(mac) + each.packed for set_ in SETS[each.version]}
            keys[f"sent-{each.version}"] = name + self._head(mac, each.version) + each.packed
            wanted.update({(FAMILY, set_, key): None for set_, key in keys.items()})
        with self._lock:
            self._change([element for element in self._held() if link_of(element) == link], wanted)

    def release(self, link: str) -> None:
        """Forget a link; one that is not held is no error."""
        with self._lock:
            self._change([element for element in self._held() if link_of(element) == link], {})

    def _head(self, mac: str, version: int) -> bytes:
        """Return the head of the frames that a pod sends to the router, as it stands in a key of several parts."""
        return packed(self._router + mac + ETHER_TYPES[version])

    def _held(self) -> list[Element]:
        try:
            return [each for name in ALL for each in self._open().held(FAMILY, name)]
        except NftError:
            return []  # there is no table yet

    def _change(self, removed: list[Element], added: Mapping[Element, Value]) -> None:
        if not self._possible or not (removed or added):
            return
        try:
            self._open().change(removed, added)
        except NftError:
            try:
                nft.run(BASE)
                self._open().change(removed, added)
            except NftError as error:
                self._possible = False
                logger.warning(
                    "a pod with CAP_NET_RAW may send with others' addresses: the kernel has no filter for bridges"
                    " (CONFIG_NF_TABLES_BRIDGE): %s",
                    error,
                )

    def _open(self) -> Elements:
        if self._elements is None:
            self._elements = Elements(TABLE)
        return self._elements


def padded(link: str) -> bytes:
    """Return the name of a link as the kernel compares it."""
    return link.encode().ljust(LONGEST_INTERFACE, b"\0")


def packed(text: str) -> bytes:
    """Return hardware addresses, or what else is written as their digits, as they stand in a key of several parts."""
    return bytes.fromhex(text.replace(":", "")) + b"\0\0"


def link_of(element: Element) -> str:
    return element[2][:LONGEST_INTERFACE].rstrip(b"\0").decode()
