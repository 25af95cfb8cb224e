"""Amounts with a suffix: ``resource.Quantity`` of Kubernetes (``100m``, ``1.5Gi``, ``1e3``).

A quantity is an exact integer of nano units plus the format it was written in; finer fractions are rounded up, and
binary ones past 2^63-1 are capped, as apimachinery's ``pkg/api/resource`` does. ``str()`` is the canonical form in which
Kubernetes stores it (``1000m`` is ``1``, ``0.5Gi`` is ``512Mi``).
"""

from __future__ import annotations

import re
from functools import total_ordering

from sampan.schema.remembering import remembered

NANO = 10**9
MAX_INT64 = 2**63 - 1
LIMIT = MAX_INT64 * NANO

FORMAT_WRONG = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_WRONG = "unable to parse quantity's suffix"
NUMBER_WRONG = "unable to parse numeric part of quantity"

DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in DECIMAL.items()}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
BINARY_SUFFIX = {power: suffix for suffix, power in BINARY.items()}

_shape = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_number = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?", re.ASCII)
_exponent = re.compile(r"[eE]([-+]?[0-9]{1,18})", re.ASCII)

LONGEST = 1000
"""Digits a number may have here."""
LARGEST_EXPONENT = 200
"""What is larger still is taken for the largest amount there is: no number of that many digits is kept."""


class QuantityError(ValueError):
    """The text is not a quantity; the message is Kubernetes'."""


@total_ordering
class Quantity:
    """An amount. Compare, add and subtract; ``value()`` and ``milli()`` round up (away from zero downwards)."""

    __slots__ = ("format", "nano")

    def __init__(self, nano: int, format: str = "DecimalSI") -> None:
        self.nano = nano
        self.format = format

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and self.nano == other.nano

    def __lt__(self, other: Quantity) -> bool:
        return self.nano < other.nano

    def __hash__(self) -> int:
        return hash(self.nano)

    def __add__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano + other.nano, self.format if self.nano else other.format)

    def __sub__(self, other: Quantity) -> Quantity:
        return Quantity(self.nano - other.nano, self.format if self.nano else other.format)

    def __bool__(self) -> bool:
        return self.nano != 0

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __str__(self) -> str:
        return canonical(self)

    def value(self) -> int:
        """Return the amount in whole units, rounded away from zero, at most what 64 bits hold."""
        return max(-MAX_INT64, min(_ceil(self.nano, NANO), MAX_INT64))

    def milli(self) -> int:
        """Return the amount in thousandths, rounded away from zero (``cpu`` requests), at most what 64 bits hold."""
        return max(-MAX_INT64, min(_ceil(self.nano, 10**6), MAX_INT64))


def _ceil(amount: int, unit: int) -> int:
    return -(-amount // unit) if amount >= 0 else amount // unit


@remembered(4096)
def _parse(text: str) -> Quantity:
    match = _shape.fullmatch(text)
    if match is None:
        raise QuantityError(FORMAT_WRONG)
    number, suffix = match.groups()
    parts = _number.fullmatch(number)
    if parts is None or not (parts[2] or parts[3]) or len(number) > LONGEST:
        raise QuantityError(NUMBER_WRONG)
    whole, fraction = parts[2] or "", parts[3] or ""
    digits = int(whole + fraction)
    exponent10, power2, format = _scale(suffix)
    nano = _to_nano(digits, exponent10 - len(fraction), power2)
    if format == "BinarySI":
        nano = min(nano, LIMIT)
    return Quantity(-nano if parts[1] == "-" else nano, format)


def _scale(suffix: str) -> tuple[int, int, str]:
    if suffix in DECIMAL:
        return DECIMAL[suffix], 0, "DecimalSI"
    if suffix in BINARY:
        return 0, BINARY[suffix], "BinarySI"
    match = _exponent.fullmatch(suffix)
    if match is None:
        raise QuantityError(SUFFIX_WRONG)
    return int(match[1]), 0, "DecimalExponent"


def _to_nano(digits: int, exponent10: int, power2: int) -> int:
    if digits == 0:
        return 0
    digits <<= power2
    exponent10 += 9
    if exponent10 >= 0:
        return LIMIT if exponent10 > LARGEST_EXPONENT else digits * int(10**exponent10)
    if -exponent10 > LONGEST + 40:
        return 1
    return -(-digits // int(10**-exponent10))


def parse(text: str | int | float) -> Quantity:
    """Return the quantity a JSON string or number stands for; raises ``QuantityError``."""
    if isinstance(text, str):
        if not text:
            raise QuantityError(FORMAT_WRONG)
        return _parse(text)
    if isinstance(text, bool) or not isinstance(text, (int, float)):
        raise QuantityError(FORMAT_WRONG)
    return _parse(repr(text))


def canonical(quantity: Quantity) -> str:
    """Return the canonical text: no fraction, the largest suffix that keeps the number whole."""
    nano, format = quantity.nano, quantity.format
    if nano == 0:
        return "0"
    if format == "BinarySI" and abs(nano) >= 1024 * NANO:
        return _canonical_binary(_ceil(nano, NANO))
    exponent = -9
    while nano % 1000 == 0:
        nano //= 1000
        exponent += 3
    if format == "DecimalExponent":
        return f"{nano}e{exponent}" if exponent else str(nano)
    while exponent > 18:
        nano *= 1000
        exponent -= 3
    return f"{nano}{DECIMAL_SUFFIX[exponent]}"


def _canonical_binary(amount: int) -> str:
    power = 0
    while power < 60 and amount % 1024 == 0:
        amount //= 1024
        power += 10
    return f"{amount}{BINARY_SUFFIX.get(power, '')}"


@remembered(4096)
def canonical_text(text: str) -> str:
    """Return the canonical form of a quantity's text; raises ``QuantityError``."""
    return canonical(_parse(text) if text else parse(text))
