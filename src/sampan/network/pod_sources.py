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

TABLE, FAMILY = "sampan-sources", "bridge"
SETS = {4: ("held-4",), 6: ("held-6", "told-6")}
ALL = ("guarded", "routers", *SETS[4], *SETS[6])
LONGEST_INTERFACE = 16
BASE = f"""table {FAMILY} {TABLE} {{
  set guarded {{ type ifname; }}
  set routers {{ type ifname . ether_addr; }}
  set held-4 {{ type ifname . ether_addr . ipv4_addr; }}
  set held-6 {{ type ifname . ether_addr . ipv6_addr; }}
  set told-6 {{ typeof iifname . ether saddr . @nh,384,128; }}
  chain prerouting {{
    type filter hook prerouting priority -300; policy accept;
    iifname != @guarded accept
    ether type arp iifname . ether saddr . arp saddr ip @held-4 iifname . arp saddr ether . arp saddr ip @held-4 accept
    ether type ip6 icmpv6 type nd-neighbor-advert iifname . ether saddr . @nh,384,128 != @told-6 counter drop
    ether type ip6 icmpv6 type nd-neighbor-solicit iifname . ether saddr . ip6 saddr @held-6 accept
    iifname . ether daddr != @routers counter drop
    ether type ip iifname . ether saddr . ip saddr @held-4 accept
    ether type ip6 iifname . ether saddr . ip6 saddr @held-6 accept
    counter drop
  }}
  chain output {{
    type filter hook output priority 0; policy accept;
    oifname @guarded icmp type redirect counter drop
    oifname @guarded icmpv6 type nd-redirect counter drop
  }}
}}
"""
"""The router must not tell pods of the shorter way past it (which it does in IPv6, whatever is asked of the kernel).
``@nh,384,128`` is the address that an advertisement tells of, where no other header stands between."""


class PodSources:
    """The senders of this network namespace's pods; ``router``: the bridge's hardware address. Every method blocks, and
    may be called from any thread."""

    def __init__(self, router: str) -> None:
        self._lock = threading.Lock()
        self._router = router
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
        wanted: dict[Element, Value] = {(FAMILY, "guarded", name): None}
        wanted[FAMILY, "routers", name + packed(self._router)] = None
        for each in addresses:
            wanted.update({(FAMILY, set_, name + packed(mac) + each.packed): None for set_ in SETS[each.version]})
        with self._lock:
            self._change([element for element in self._held() if link_of(element) == link], wanted)

    def release(self, link: str) -> None:
        """Forget a link; one that is not held is no error."""
        with self._lock:
            self._change([element for element in self._held() if link_of(element) == link], {})

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


def packed(mac: str) -> bytes:
    """Return a hardware address as it stands in a key of several parts."""
    return bytes.fromhex(mac.replace(":", "")) + b"\0\0"


def link_of(element: Element) -> str:
    return element[2][:LONGEST_INTERFACE].rstrip(b"\0").decode()
