"""The tables of Services in the kernel: made when they are not there, kept when they are, changed by differences.

``adopt`` takes over the tables that an earlier run of the agent has left: what is in them is read and brought to what
there should be, so that a restart interrupts nobody. Every method blocks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable

from sampan.network import nft, service_table
from sampan.network.families import FAMILIES, Family
from sampan.network.nft import NftError
from sampan.network.nft_elements import Element, Elements, Value
from sampan.network.rule_table import Change, RuleTable, picked_of
from sampan.network.service_chains import new_affinity, picking, without_affinity
from sampan.network.service_endpoints import endpoint_data
from sampan.network.service_table import PLAIN, RANGES, TABLE, ProxyConfig
from sampan.network.services import Affinity

logger = logging.getLogger("sampan.network")


class ServiceKernel:
    def __init__(self, config: ProxyConfig) -> None:
        self.config = config
        self.elements = Elements(TABLE, RANGES)
        self._obsolete: set[tuple[Family, str]] = set()
        """Affinities that no Service has any more."""

    def close(self) -> None:
        self.elements.close()

    def apply(self, change: Change) -> None:
        """Bring a difference into the kernel: one transaction for what packets follow, and what nobody needs goes after it.
        Raises ``NftError``."""
        requests = self._structure(change.numbers, change.affinities)
        self.elements.transact([*requests, *self.elements.requests(change.removed, change.added)])
        for affinity, endpoints in change.remembered.items():
            self._forget(affinity, frozenset(map(endpoint_data, endpoints)))
        self._clear(change.obsolete)

    def _structure(self, numbers: Iterable[int], affinities: Iterable[Affinity]) -> list[bytes]:
        """Return the requests for chains and maps that are missing."""
        picks = [request for family in self.config.families for n in numbers for request in picking(family, n)]
        sticky = [
            request
            for number, one in enumerate(affinities, 1)
            for request in new_affinity(one.family, one.name, one.seconds, number)
        ]
        return picks + sticky

    def _clear(self, obsolete: Iterable[Affinity]) -> None:
        self._obsolete.update((one.family, one.name) for one in obsolete)
        if not self._obsolete:
            return
        try:
            self.elements.transact([r for family, name in self._obsolete for r in without_affinity(family, name)])
        except NftError as error:
            # an old kernel (before 6.2) notices a moment later that no element leads to them: with the next change
            logger.info("what is left of session affinity stays for now: %s", error)
            return
        self._obsolete.clear()

    def _forget(self, affinity: Affinity, kept: frozenset[bytes]) -> None:
        """Forget the clients that are remembered to go to endpoints which are no more."""
        held = self.elements.held(affinity.family.nft, affinity.name)
        self.elements.change([element for element, value in held.items() if value not in kept], {})

    def adopt(self, table: RuleTable) -> None:
        """Bring the kernel to what a table holds, whatever is there. Raises ``NftError``."""
        wanted = table.elements()
        affinities = {one: to for rules in table.services.values() for one, to in rules.affinities.items()}
        listed = {family.nft: nft.listed("table", family.nft, TABLE) for family in FAMILIES}
        marked = f'"sampan {service_table.mark(self.config)}"'
        fresh = all((marked in listed[f.nft]) if f in self.config.families else not listed[f.nft] for f in FAMILIES)
        if not fresh:
            nft.run(service_table.whole(self.config))
            listed = dict.fromkeys(listed, "")
        held: dict[Element, Value] = {}
        if fresh:
            for family in self.config.families:
                for name in PLAIN:
                    held.update(self.elements.held(family.nft, name))
        removed = [element for element, value in held.items() if wanted.get(element, ...) != value]
        added = {e: v for e, v in wanted.items() if e not in held or held[e] != v}
        numbers = {number for value in wanted.values() if (number := picked_of(value))}
        there = {int(number) for number in re.findall(r"^\tchain pick-(\d+) {", "".join(listed.values()), re.M)}
        known = {
            (family, name)
            for family in self.config.families
            for name in re.findall(r"^\tmap (affinity-\S+) {", listed[family.nft], re.M)
        }
        missing = [one for one in affinities if (one.family, one.name) not in known]
        requests = self._structure(sorted(numbers - there), missing)
        self.elements.transact([*requests, *self.elements.requests(removed, added)])
        table.made(numbers | there)
        for one, endpoints in affinities.items():
            self._forget(one, frozenset(map(endpoint_data, endpoints)))
        self._obsolete = known - {(one.family, one.name) for one in affinities}
        self._clear(())
