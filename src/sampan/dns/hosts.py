"""Names of a hosts file, as CoreDNS's ``hosts`` directive serves them: written in the Corefile, or in a file.

A file is looked at when it is asked for, at most once in ``reload_seconds``. Source: hosts(5), CoreDNS's ``hosts``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sampan.dns import wire
from sampan.dns.entries import Ip, parsed
from sampan.dns.records import type_of
from sampan.dns.zone import Found

logger = logging.getLogger("sampan.dns")

Names = dict[bytes, list[Ip]]


@dataclass(frozen=True, slots=True)
class HostsSettings:
    zones: tuple[bytes, ...]
    lines: tuple[str, ...] = ()
    file: Path | None = None
    ttl: int = 3600
    reverse: bool = True
    reload_seconds: float = 5.0
    fallthrough: tuple[bytes, ...] = ()


class Hosts:
    def __init__(self, settings: HostsSettings) -> None:
        self.settings = settings
        self.entries = 0
        self._names: Names = {}
        self._reverse: dict[bytes, list[bytes]] = {}
        self._looked = float("-inf")
        self._read: float | None = None
        self._load("")

    def _load(self, text: str) -> None:
        self._names, self._reverse = {}, {}
        inline = list(entries(self.settings.lines))
        said = {name for _, names in inline for name in names}
        # what the Corefile says of a name counts, not what the file says
        for address, names in (*inline, *entries(text.splitlines(), said)):
            for name in names:
                self._names.setdefault(name, []).append(address)
            if self.settings.reverse and (plain := [name for name in names if name[:2] != b"\x01*"]):
                self._reverse.setdefault(wire.name_to_wire(address.reverse_pointer), []).extend(plain)
        self.entries = sum(map(len, self._names.values()))

    def _refresh(self, now: float) -> None:
        file, pause = self.settings.file, self.settings.reload_seconds
        if file is None or (self._read is not None and (not pause or now - self._looked < pause)):
            return
        self._looked = now
        try:
            changed = file.stat().st_mtime
            if changed != self._read:
                self._load(file.read_text(errors="replace"))
        except OSError as error:
            changed = -1.0
            if changed != self._read:
                logger.warning("hosts: %s cannot be read: %s", file, error.strerror)
                self._load("")
        self._read = changed

    def look(self, name: bytes, kind: int, now: float) -> Found | None:
        """Return the answer, None where others are to be asked."""
        if not any(wire.is_below(name, zone) for zone in self.settings.zones):
            return None
        self._refresh(now)
        ttl = self.settings.ttl
        if name in self._reverse:
            records = [wire.record(name, wire.PTR, ttl, target) for target in self._reverse[name]]
            return Found(wire.NO_ERROR, records if kind in (wire.PTR, wire.ANY) else [], [], [], True, "hosts")
        addresses = self._names.get(name)
        if addresses is None and (rest := name[name[0] + 1 :]):
            addresses = self._names.get(b"\x01*" + rest)
        if addresses is not None:
            wanted = [address for address in addresses if kind in (type_of(address), wire.ANY)]
            made = [wire.record(name, type_of(address), ttl, address.packed) for address in dict.fromkeys(wanted)]
            return Found(wire.NO_ERROR, made, [], [], True, "hosts")
        if any(wire.is_below(name, zone) for zone in self.settings.fallthrough):
            return None
        return Found(wire.NAME_ERROR, [], [], [], True, "hosts")


def entries(lines: Iterable[str], without: Iterable[bytes] = ()) -> Iterable[tuple[Ip, list[bytes]]]:
    """Yield the address and the names (wire form, lower case) of each line that has both."""
    left_out = set(without)
    for line in lines:
        address, *texts = line.partition("#")[0].split() or ("",)
        ip = parsed(address.partition("%")[0])
        if ip is None:
            continue
        names = []
        for text in texts:
            try:
                names.append(wire.name_to_wire(text.lower()))
            except wire.WireError:
                continue
        if names := [name for name in names if name not in left_out]:
            yield ip, names
