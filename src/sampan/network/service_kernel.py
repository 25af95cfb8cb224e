"""The tables of Services in the kernel: made when they are not there, kept when they are, changed by differences.

``adopt`` takes over the tables that an earlier run of the agent has left: what is in them is read and brought to what
there should be, so that a restart interrupts nobody. Every method blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sampan.network import nft, service_table
from sampan.network.affinity_rules import remembering
from sampan.network.nft_elements import Element, Elements, Value
from sampan.network.rule_table import Change, RuleTable, affinity_text, picked_of, without_affinity
from sampan.network.service_endpoints import endpoint_data
from sampan.network.service_table import PLAIN, RANGES, TABLE, ProxyConfig
from sampan.network.services import Affinity


class ServiceKernel:
    def __init__(self, config: ProxyConfig) -> None:
        self.config = config
        self.elements = Elements(TABLE, RANGES)

    def close(self) -> None:
        self.elements.close()

    def apply(self, change: Change) -> None:
        """Bring a difference into the kernel. The elements, which is what packets follow, change in one transaction; what
        they need is made before, what nobody needs goes after. Raises ``NftError``."""
        self._make(change.before, change.affinities)
        self.elements.change(change.removed, change.added)
        for affinity, endpoints in change.remembered.items():
            self._forget(affinity, frozenset(map(endpoint_data, endpoints)))
        if change.after:
            nft.run(change.after)

    def _make(self, text: str, affinities: Iterable[Affinity]) -> None:
        if text:
            nft.run(text)
        self.elements.transact([remembering(one.family, one.name, one.seconds) for one in affinities])

    def _forget(self, affinity: Affinity, kept: frozenset[bytes]) -> None:
        """Forget the clients that are remembered to go to endpoints which are no more."""
        held = self.elements.held(affinity.family.nft, affinity.name)
        self.elements.change([element for element, value in held.items() if value not in kept], {})

    def adopt(self, table: RuleTable) -> None:
        """Bring the kernel to what a table holds, whatever is there. Raises ``NftError``."""
        wanted = table.elements()
        affinities = {one: to for rules in table.services.values() for one, to in rules.affinities.items()}
        listed = {family.nft: nft.listed("table", family.nft, TABLE) for family in self.config.families}
        fresh = all(f'"sampan {service_table.mark(self.config)}"' in text for text in listed.values())
        if not fresh:
            nft.run(service_table.whole(self.config))
            listed = dict.fromkeys(listed, "")
        self._structure(affinities, listed, wanted)
        held: dict[Element, Value] = {}
        if fresh:
            for family in self.config.families:
                for name in PLAIN:
                    held.update(self.elements.held(family.nft, name))
        removed = [element for element, value in held.items() if wanted.get(element, ...) != value]
        self.elements.change(removed, {e: v for e, v in wanted.items() if e not in held or held[e] != v})
        for affinity, endpoints in affinities.items():
            self._forget(affinity, frozenset(map(endpoint_data, endpoints)))
        known = {affinity.name for affinity in affinities}
        for nft_family, text in listed.items():
            for name in re.findall(r"^\tmap (affinity-\S+) {", text, re.M):
                if name not in known:
                    nft.run(without_affinity(nft_family, name))

    def _structure(self, affinities: Iterable[Affinity], listed: dict[str, str], wanted: dict[Element, Value]) -> None:
        """Make the chains that elements will lead to, where they are missing or were left half made."""
        numbers = sorted({picked_of(value) for value in wanted.values() if isinstance(value, str)})
        made, unfinished = "", []
        for family in self.config.families:
            text = listed[family.nft]
            for number in numbers:
                if number > service_table.READY_MADE and f"chain pick-{number} {{" not in text:
                    made += f"table {family.nft} {TABLE} {{\n{service_table.picking(family, number)}}}\n"
        for affinity in affinities:
            text = listed[affinity.family.nft]
            if f"chain {affinity.name} {{" not in text:
                made += affinity_text(affinity)
                unfinished.append(affinity)
            elif f"chain {affinity.name}-remember {{\n\t}}" in text:
                unfinished.append(affinity)
        self._make(made, unfinished)
