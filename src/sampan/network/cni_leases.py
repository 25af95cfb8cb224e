"""Addresses lent to attachments, as files: who ends in the middle leaves no address lent twice, nor lost for good.

A lease is a file named after its address, whose text is its holder. It is written beside, synced and linked into place, so
that it is there whole or not at all, and is nobody's twice; a lock keeps one call of a network at a time. The next address
is the one after the last that was given out, so that one given back is not soon somebody else's.
Source: link(2), flock(2); the shape of ``ranges`` is the plugin host-local's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from sampan.network.cni_call import INVALID_CONFIG, NO_ADDRESS, CniError
from sampan.network.families import Address, Network

LOCK, LAST = ".lock", ".last"


@dataclass(frozen=True, slots=True)
class Range:
    subnet: Network
    first: Address
    last: Address
    gateway: Address

    def __contains__(self, address: Address) -> bool:
        return address.version == self.first.version and int(self.first) <= int(address) <= int(self.last)


def ranges_of(ipam: Mapping[str, Any]) -> list[list[Range]]:
    """Return ``ipam.ranges``: a list of alternatives for each address that a pod gets. Raises ``CniError``."""
    given = ipam.get("ranges") or ([[ipam]] if ipam.get("subnet") else [])
    if not isinstance(given, list) or not given or not all(isinstance(listed, list) and listed for listed in given):
        raise CniError(INVALID_CONFIG, "ipam.ranges: a list of lists of ranges is asked for, or ipam.subnet")
    found = [
        [_range(entry, f"ipam.ranges[{number}][{place}]") for place, entry in enumerate(listed)]
        for number, listed in enumerate(given)
    ]
    whole = [(each.subnet, f"ipam.ranges[{number}]") for number, listed in enumerate(found) for each in listed]
    for number, (subnet, where) in enumerate(whole):
        for other, _ in whole[:number]:
            if subnet.version == other.version and subnet.overlaps(other):
                raise CniError(INVALID_CONFIG, f"{where}: {subnet} overlaps {other}")
    for number, listed in enumerate(found):
        if len({each.subnet.version for each in listed}) > 1:
            raise CniError(
                INVALID_CONFIG, f"ipam.ranges[{number}]: ranges of both families; give each a list of its own"
            )
    return found


def _range(entry: object, where: str) -> Range:
    if not isinstance(entry, dict):
        raise CniError(INVALID_CONFIG, f"{where} is not an object")
    try:
        subnet = ip_network(str(entry.get("subnet") or ""))
        gateway = ip_address(entry.get("gateway") or str(subnet[1]))
        first = ip_address(entry.get("rangeStart") or str(subnet[1]))
        last = ip_address(entry.get("rangeEnd") or str(subnet[-2] if subnet.version == 4 else subnet[-1]))
    except (ValueError, IndexError) as error:
        raise CniError(INVALID_CONFIG, f"{where}: {error}") from error
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        raise CniError(INVALID_CONFIG, f"{where}: {subnet} is too small: a gateway and a pod need an address each")
    for name, address in (("gateway", gateway), ("rangeStart", first), ("rangeEnd", last)):
        if address not in subnet:
            raise CniError(INVALID_CONFIG, f"{where}.{name}: {address} is no address of {subnet}")
    if int(first) > int(last):
        raise CniError(INVALID_CONFIG, f"{where}: rangeStart {first} is behind rangeEnd {last}")
    return Range(subnet, first, last, gateway)


class Leases:
    """The leases of one network in ``directory``. Use it as a context: it locks, and waits for its turn."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = -1

    def __enter__(self) -> Leases:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def held(self) -> dict[Address, str]:
        """Return the holders by address."""
        found = {}
        for path in self.directory.iterdir():
            if not path.name.startswith("."):
                with contextlib.suppress(ValueError, FileNotFoundError):
                    found[ip_address(path.name.replace("_", ":"))] = path.read_text()
        return found

    def take(self, holder: str, choices: Sequence[Range], wanted: Sequence[Address]) -> tuple[Address, Range]:
        """Lend one address of ``choices``: the one that the holder has, the wanted one, or the next that is free.
        Raises ``CniError``."""
        held = self.held()
        for address, who in held.items():
            if who == holder and (home := _home(address, choices)):
                return address, home
        for address in wanted:
            if home := _home(address, choices):
                if address == home.gateway or not self._write(address, holder):
                    raise CniError(NO_ADDRESS, f"ips: {address} is not free")
                return address, home
        for address, home in self._candidates(choices):
            if address not in held and address != home.gateway and self._write(address, holder):
                self._note(address)
                return address, home
        listed = ", ".join(f"{each.first}-{each.last}" for each in choices)
        raise CniError(NO_ADDRESS, f"every address of {listed} is lent")

    def _candidates(self, choices: Sequence[Range]) -> Iterator[tuple[Address, Range]]:
        version = choices[0].subnet.version
        last = None
        with contextlib.suppress(OSError, ValueError):
            last = ip_address((self.directory / f"{LAST}{version}").read_text())
        begin = next((number for number, each in enumerate(choices) if last is not None and last in each), 0)
        for number in range(begin, begin + len(choices) + 1):
            each = choices[number % len(choices)]
            start = int(last) + 1 if number == begin and last is not None and last in each else int(each.first)
            for value in range(start, int(each.last) + 1):
                yield type(each.first)(value), each

    def release(self, holder: str) -> list[Address]:
        """Take back what a holder has; return it."""
        gone = [address for address, who in self.held().items() if who == holder]
        for address in gone:
            self._path(address).unlink(missing_ok=True)
        return gone

    def holders(self) -> set[str]:
        return set(self.held().values())

    def _write(self, address: Address, holder: str) -> bool:
        beside = self.directory / f".new-{os.getpid()}"
        with open(beside, "w") as file:
            file.write(holder)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, self._path(address))
        except FileExistsError:
            return False
        finally:
            beside.unlink()
        directory = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        return True

    def _path(self, address: Address) -> Path:
        return self.directory / str(address).replace(":", "_")

    def _note(self, address: Address) -> None:
        beside = self.directory / f".last-{os.getpid()}"
        beside.write_text(str(address))
        beside.replace(self.directory / f"{LAST}{address.version}")


def _home(address: Address, choices: Sequence[Range]) -> Range | None:
    return next((each for each in choices if address in each), None)
