"""Keeps the kernel's table equal to the Services: what changed within a tick of the loop becomes one ``nft -f -``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from sampan.client.informer import Informer, key_of
from sampan.network.conntrack import forget_stale
from sampan.network.rule_table import RuleTable
from sampan.network.services import NOTHING, SERVICE_NAME, Endpoint, ProxyConfig, ServiceRules, rules_of
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.network")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0


class NftError(Exception):
    """nft refused a transaction; nothing of it is in the kernel. The message is nft's own."""


async def apply(text: str) -> None:
    """Have the kernel take a transaction. Raises ``NftError``."""
    pipe = asyncio.subprocess.PIPE
    try:
        nft = await asyncio.create_subprocess_exec("nft", "-f", "-", stdin=pipe, stdout=pipe, stderr=pipe)
    except FileNotFoundError as error:
        raise NftError("nft is not installed (apt-get install nftables)") from error
    _, said = await nft.communicate(text.encode())
    if nft.returncode:
        raise NftError(said.decode(errors="replace").strip()[:2000])


def service_keys(piece: Object) -> Iterable[str]:
    """Yield the key of the Service that an EndpointSlice belongs to."""
    name = (piece["metadata"].get("labels") or {}).get(SERVICE_NAME)
    if name:
        yield f"{piece['metadata'].get('namespace')}/{name}"


class ServiceProxy:
    """Watches Services and EndpointSlices; ``run`` applies them."""

    def __init__(self, config: ProxyConfig, services: Informer, slices: Informer) -> None:
        self.config = config
        self.table = RuleTable(config)
        self._services = services
        self._slices = slices
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        slices.add_index("service", service_keys)
        services.add_handler(self._on_service)
        slices.add_handler(self._on_slice)

    def _on_service(self, change: str, old: Object | None, new: Object) -> None:
        self._changed.add(key_of(new))
        self._wake.set()

    def _on_slice(self, change: str, old: Object | None, new: Object) -> None:
        self._changed.update(service_keys(new))
        if old is not None:
            self._changed.update(service_keys(old))
        self._wake.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Apply until cancelled; ``ready`` is called when the first whole table is in the kernel."""
        await self._services.synced()
        await self._slices.synced()
        whole, pause = True, FIRST_PAUSE_SECONDS
        announced = False
        while True:
            self._wake.clear()
            changed = {key: self._rules(key) for key in self._changed}
            self._changed.clear()
            stale = self._stale(changed)
            text = self.table.update(changed)
            try:
                if whole or text:
                    await apply(self.table.whole() if whole else text)
            except NftError as error:
                logger.error("nftables refused the Services' rules: %s", error)
                whole = True
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            whole, pause = False, FIRST_PAUSE_SECONDS
            if stale:
                await asyncio.to_thread(_forget, stale)
            if not announced:
                announced = True
                ready()
            await self._wake.wait()

    def _rules(self, key: str) -> ServiceRules:
        return rules_of(self._services.get(key), self._slices.by_index("service", key), self.config)

    def _stale(self, changed: dict[str, ServiceRules]) -> dict[tuple[str, int], frozenset[Endpoint]]:
        """Return where UDP goes now, for the addresses where it went elsewhere before."""
        found: dict[tuple[str, int], frozenset[Endpoint]] = {}
        for key, new in changed.items():
            old = self.table.services.get(key, NOTHING).datagrams
            for address in {*old, *new.datagrams}:
                now = new.datagrams.get(address, frozenset())
                if old.get(address) != now:
                    found[address] = now
        return found


def _forget(stale: dict[tuple[str, int], frozenset[Endpoint]]) -> None:
    try:
        forget_stale(stale)
    except OSError as error:
        logger.warning("stale UDP entries of connection tracking stay until they time out: %s", error)
