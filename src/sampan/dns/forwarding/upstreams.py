"""The resolvers of a ``forward`` line: which there are, which are well, and who is asked next.

A resolver that fails is asked ``. IN NS`` every half second until it answers; after ``max_fails`` of those in vain it counts
as down and the others are asked. When all are down one is asked nevertheless. Source: resolv.conf(5), CoreDNS's ``forward``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from sampan.dns import wire
from sampan.dns.forwarding.exchange import Address, ask
from sampan.dns.observed import Observed

logger = logging.getLogger("sampan.dns")

RESOLV_CONF = Path("/etc/resolv.conf")
BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")
"""Where systemd-resolved names the resolvers that its stub at 127.0.0.53 asks."""
CHECK_SECONDS = 0.5
HEALTH_QUESTION = b"\0" + struct.pack("!HH", wire.NS, wire.IN)
LOOK_SECONDS = 1.0
"""How often it is looked whether a resolv.conf changed."""

Policy = Literal["random", "round_robin", "sequential"]


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """A ``forward`` line. ``addresses`` and ``files`` in the order of the line; ``zone`` is FROM, in wire form."""

    zone: bytes = b"\0"
    addresses: tuple[Address, ...] = ()
    files: tuple[Path, ...] = ()
    excluded: tuple[bytes, ...] = ()
    force_tcp: bool = False
    policy: Policy = "random"
    max_fails: int = 2
    check_seconds: float = CHECK_SECONDS
    check_recursion: bool = True
    check_name: bytes = b"\0"
    max_concurrent: int = 0
    read_seconds: float = 2.0
    failover: frozenset[int] = frozenset()
    """Codes after which the next resolver is asked."""
    fail_fast: bool = False
    """Ask nobody when all are down."""


@dataclass(slots=True, eq=False)
class Upstream:
    address: Address
    fails: int = 0
    checking: bool = False
    failed_checks: int = 0
    answered: dict[str, Observed] = field(default_factory=dict)
    """How long its answers took, by their code."""


def nameservers(text: str, excluded: Collection[str]) -> list[str]:
    """Return the resolvers that a resolv.conf names, without those that lead back to us."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and words[1] not in excluded:
            try:
                address = ip_address(words[1])
            except ValueError:
                continue
            if not address.is_loopback and not address.is_unspecified:
                found.append(words[1])
    return found


def searches(text: str) -> tuple[str, ...]:
    """Return the search list of a resolv.conf: the last line that gives one."""
    found: tuple[str, ...] = ()
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in ("search", "domain"):
            found = tuple(words[1:])
    return found


class Upstreams:
    """The resolvers of one line. ``spawn`` starts a task of the owner's group."""

    def __init__(
        self,
        settings: ForwardSettings,
        excluded: Collection[str],
        spawn: Callable[..., object],
        behind_stub: Path = BEHIND_STUB,
    ) -> None:
        self.settings = settings
        self.broken = 0
        """How often all were down."""
        self._excluded = excluded
        self._spawn = spawn
        self._behind_stub = behind_stub
        self._turn = 0
        self._looked = -LOOK_SECONDS
        self._read: tuple[float, ...] = ()
        self._known = {address: Upstream(address) for address in settings.addresses}
        self.all = list(self._known.values())

    def refresh(self, now: float) -> None:
        """Read the resolv.conf files again if they changed."""
        if not self.settings.files or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        changed = tuple(_changed(file) for file in self.settings.files)
        if changed == self._read:
            return
        self._read = changed
        wanted = [*self.settings.addresses]
        for file in self.settings.files:
            wanted += [Address(host) for host in self._load(file)]
        self._known = {address: self._known.get(address) or Upstream(address) for address in dict.fromkeys(wanted)}
        self.all = list(self._known.values())
        if not self.all:
            files = ", ".join(map(str, self.settings.files))
            logger.warning("%s names no resolver that is reachable: outer names are not resolved", files)

    def _load(self, file: Path) -> list[str]:
        # only the host's own file may name a stub that cannot be reached from here
        for path in (file, self._behind_stub) if file == RESOLV_CONF else (file,):
            try:
                found = nameservers(path.read_text(), self._excluded)
            except OSError:
                continue
            if found:
                return found
        return []

    def in_turn(self) -> Iterator[Upstream]:
        """Yield whom to ask, the first one first: those that are well, else one of all."""
        self._turn += 1
        order = list(self.all)
        if self.settings.policy == "random":
            random.shuffle(order)
        elif self.settings.policy == "round_robin" and order:
            turn = self._turn % len(order)
            order = order[turn:] + order[:turn]
        well = [one for one in order if not self.is_down(one)]
        if not well and order:
            self.broken += 1
            if not self.settings.fail_fast:
                yield random.choice(order)
            return
        yield from well

    def close(self) -> None:
        """End the checks of resolvers that do not answer."""
        self._known = {}

    def is_down(self, upstream: Upstream) -> bool:
        return 0 < self.settings.max_fails <= upstream.fails

    def failed(self, upstream: Upstream) -> None:
        """Look after a resolver that did not answer, until it does."""
        if self.settings.max_fails and not upstream.checking:
            upstream.checking = True
            self._spawn(self._check(upstream), name=f"dns-check-{upstream.address}")

    async def _check(self, upstream: Upstream) -> None:
        settings = self.settings
        flags = wire.RECURSION_DESIRED if settings.check_recursion else 0
        question = settings.check_name + HEALTH_QUESTION[1:]
        query = struct.pack("!HHHHHH", 0, flags, 1, 0, 0, 0) + question
        try:
            while self._known.get(upstream.address) is upstream:
                try:
                    async with asyncio.timeout(settings.read_seconds):
                        await ask(upstream.address, query, udp=not settings.force_tcp)
                    if self.is_down(upstream):
                        logger.info("resolver %s answers again", upstream.address)
                    upstream.fails = 0
                    return
                except (OSError, TimeoutError) as error:
                    upstream.fails += 1
                    upstream.failed_checks += 1
                    if upstream.fails == settings.max_fails:
                        logger.warning("resolver %s is down: %s", upstream.address, error or type(error).__name__)
                await asyncio.sleep(settings.check_seconds)
        finally:
            upstream.checking = False


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return -1.0
