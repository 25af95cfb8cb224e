"""How the arguments of a directive are read: numbers, times, zones and addresses, each refused with its line."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sampan.dns import wire
from sampan.dns.corefile.configuration import zones_of
from sampan.dns.corefile.grammar import Directive

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


def only(directive: Directive, most: int, least: int = 0) -> tuple[str, ...]:
    """Return the arguments. Raises where there are more or fewer, or a block that means nothing."""
    count = len(directive.arguments)
    if not least <= count <= most:
        wanted = f"{least} to {most}" if least != most else str(least)
        raise directive.refuse(f"it takes {wanted} arguments, not {count}")
    return directive.arguments


def without_lines(directive: Directive) -> None:
    if directive.lines:
        raise directive.refuse("it takes no block")


def lines_of(directive: Directive, known: Iterable[str]) -> Iterable[Directive]:
    for line in directive.lines:
        if line.name not in known:
            raise line.refuse(f"there is no such option of {directive.name} here; there are {', '.join(sorted(known))}")
        yield line


def number(directive: Directive, text: str, most: int = 1 << 31) -> int:
    if not text.isdigit() or int(text) > most:
        raise directive.refuse(f"{text!r} is no number from 0 to {most}")
    return int(text)


def seconds(directive: Directive, text: str) -> float:
    """Return a Go duration (``5s``, ``1h30m``), or whole seconds."""
    if text.isdigit():
        return float(text)
    found = DURATION.fullmatch(text)
    if not text or found is None:
        raise directive.refuse(f"{text!r} is no duration (5s, 1h30m, 300ms)")
    hours, minutes, whole, millis = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + whole + millis / 1000


def zones(directive: Directive, texts: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(wire.name_to_wire(zone) for text in texts for zone in zones_of(text, directive.refuse))


def address(directive: Directive, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), number(directive, port, 65535)
