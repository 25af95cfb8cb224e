"""Shapes and values of fields: each is read from a value and its path; what cannot be read is told and replaced by something
of the right type, so that one mistake does not hide the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any, TypeVar

from sampan.lab.topology import DELAY_MAX_SECONDS, RATE_MAX_BITS, Impairment
from sampan.network.families import Address, Network

NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
INTERFACE_NAME = re.compile(r"[^\s/:%]+")
INTERFACE_NAME_MAX = 15
"""IFNAMSIZ without the zero byte (linux/if.h)."""
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
BITS = {"": 1, "bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
IMPAIRMENT = ("loss", "rate", "delay", "jitter")
VLAN_MAX = 4094

T = TypeVar("T")


class Fields:
    """Reads shapes and values; ``problems`` is what could not be read."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(f"{path or 'topology'}: {message}")

    # shapes

    def fields(
        self, value: object, path: str, known: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.wrong(path, f"must be a mapping with {', '.join(known)}, is {shown(value)}")
            return {}
        for key in value:
            if key not in known:
                self.wrong(at_field(path, str(key)), f"unknown field; there are {', '.join(known)}")
        for key in required:
            if value.get(key) in (None, ""):
                self.wrong(at_field(path, key), "required")
        return {key: given for key, given in value.items() if given is not None}

    def each(self, value: object, path: str) -> Iterator[tuple[str, Any]]:
        if value is None:
            return
        if not isinstance(value, list | tuple):
            self.wrong(path, f"must be a list, is {shown(value)}")
            return
        for index, one in enumerate(value):
            yield f"{path}[{index}]", one

    def one_or_more(self, value: object, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, list | tuple):
            yield from self.each(value, path)
        elif value is not None:
            yield path, value

    # values

    def text(self, value: object, path: str, pattern: re.Pattern[str], what: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int) or not pattern.fullmatch(str(value)):
            self.wrong(path, f"must be {what}, is {shown(value)}")
            return ""
        return str(value)

    def name(self, value: object, path: str) -> str:
        return self.text(value, path, NAME, "a name of letters, digits and '-', at most 63")

    def reference(self, value: object, path: str) -> str:
        return "" if value in (None, "") else self.name(value, path)

    def interface_name(self, value: object, path: str) -> str:
        if value in (None, ""):
            return ""
        name = self.text(value, path, INTERFACE_NAME, "an interface's name without blanks, '/', ':' and '%'")
        if len(name.encode()) > INTERFACE_NAME_MAX:
            length = len(name.encode())
            self.wrong(path, f"{name!r} is {length} bytes long; Linux takes at most {INTERFACE_NAME_MAX}")
        elif name in (".", "..", "lo", "all", "default"):
            self.wrong(path, f"{name!r} cannot be the name of an interface")
        return name

    def flag(self, value: object, path: str) -> bool:
        if not isinstance(value, bool):
            self.wrong(path, f"must be true or false, is {shown(value)}")
        return value is True

    def number(self, value: object, path: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(path, f"must be a number from {low} to {high}, is {shown(value)}")
            return low
        return value

    def parsed(self, value: object, path: str, parse: Callable[[str], T], what: str) -> T | None:
        try:
            if not isinstance(value, str):
                raise ValueError
            return parse(value)
        except ValueError:
            self.wrong(path, f"must be {what}, is {shown(value)}")
            return None

    def addresses(self, value: object, path: str) -> tuple[Address, ...]:
        found = [self.parsed(one, at, ip_address, "an IP address") for at, one in self.one_or_more(value, path)]
        return tuple(one for one in found if one is not None)

    def networks(self, value: object, path: str) -> tuple[Network, ...]:
        found = []
        for at, one in self.one_or_more(value, path):
            network = self.parsed(one, at, lambda text: ip_network(text, strict=False), "a range such as 10.1.0.0/24")
            if network is None:
                continue
            if str(network) != one and "/" in one and str(network.network_address) != one.split("/")[0].lower():
                self.wrong(at, f"{one} has host bits set; the range is {network}")
            found.append(network)
        for version in (4, 6):
            if len([one for one in found if one.version == version]) > 1 and not path.startswith("pools"):
                self.wrong(path, f"more than one range of IPv{version}")
        return tuple(found)

    def quantity(self, value: object, path: str, units: Mapping[str, float], what: str) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).lower())
        if isinstance(value, bool) or not match or match[2] not in units:
            self.wrong(path, f"must be {what}, is {shown(value)}")
            return 0
        return float(match[1]) * units[match[2]]

    def impairment(self, data: Mapping[str, Any], path: str) -> Impairment:
        loss = 0.0
        if "loss" in data:
            try:
                loss = float(str(data["loss"]).rstrip("%"))
            except ValueError:
                loss = -1
            if not 0 <= loss <= 100 or isinstance(data["loss"], bool):
                self.wrong(at_field(path, "loss"), f"must be a percentage from 0 to 100, is {shown(data['loss'])}")
        rate, delay, jitter = 0.0, 0.0, 0.0
        if "rate" in data:
            rate = self.quantity(data["rate"], at_field(path, "rate"), BITS, "a rate such as 10mbit")
            if rate > RATE_MAX_BITS:
                self.wrong(at_field(path, "rate"), f"must be at most {RATE_MAX_BITS // 10**9}gbit")
        if "delay" in data:
            delay = self.quantity(data["delay"], at_field(path, "delay"), SECONDS, "a time such as 20ms")
            if delay > DELAY_MAX_SECONDS:
                self.wrong(at_field(path, "delay"), f"must be at most {DELAY_MAX_SECONDS}s")
        if "jitter" in data:
            jitter = self.quantity(data["jitter"], at_field(path, "jitter"), SECONDS, "a time such as 5ms")
            if jitter > delay:
                self.wrong(at_field(path, "jitter"), "must not be more than the delay")
        return Impairment(max(loss, 0), int(rate), delay, jitter)


def at_field(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool) or value is None else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
