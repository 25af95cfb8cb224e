"""Quantities (1.28) and semantic versions (1.33) of Kubernetes' CEL libraries."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Any

from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError, no_overload
from sampan.schema.cel.values import Opaque
from sampan.schema.quantity import NANO, QuantityError, parse
from sampan.schema.quantity import Quantity as Amount

LARGEST = 10**18
"""Quantities of more digits are decimals to apimachinery, not integers."""


class Quantity(Opaque):
    """A ``resource.Quantity`` as a CEL value."""

    __slots__ = ("amount",)
    type_name = "kubernetes.Quantity"

    def __init__(self, amount: Amount) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quantity) and other.amount == self.amount

    def __hash__(self) -> int:
        return hash(self.amount)


def _quantity(text: str) -> Quantity:
    try:
        return Quantity(parse(text))
    except QuantityError as error:
        raise EvaluationError(str(error)) from None


def quantity_of(text: str) -> Quantity:
    """Return the value of a quantity's text; raises ``EvaluationError``."""
    return _quantity(text)


def semver_of(text: str) -> Semver:
    """Return the value of a version's text (semver 2); raises ``EvaluationError``."""
    return _parse_semver(text)


def _is_quantity(text: str) -> bool:
    try:
        parse(text)
    except QuantityError:
        return False
    return True


def _is_integer(quantity: Quantity) -> bool:
    nano = quantity.amount.nano
    return nano % NANO == 0 and abs(nano // NANO) < LARGEST


def _as_integer(quantity: Quantity) -> int:
    if not _is_integer(quantity):
        raise EvaluationError("cannot convert value to integer")
    return quantity.amount.nano // NANO


def _order(left: Any, right: Any) -> int:
    return int(left.amount.nano > right.amount.nano) - int(left.amount.nano < right.amount.nano)


def _sum(left: Quantity, right: Quantity) -> Quantity:
    return Quantity(left.amount + right.amount)


def _difference(left: Quantity, right: Quantity) -> Quantity:
    return Quantity(left.amount - right.amount)


def _whole(number: int) -> Amount:
    return Amount(number * NANO, "DecimalExponent")


QUANTITIES = [
    overload("string_to_quantity", "quantity(string) -> Quantity", _quantity),
    overload("is_quantity_string", "isQuantity(string) -> bool", _is_quantity),
    overload("quantity_sign", "sign(Quantity) -> int", lambda one: (one.amount.nano > 0) - (one.amount.nano < 0)),
    overload("quantity_is_greater_than", "Quantity.isGreaterThan(Quantity) -> bool", lambda a, b: _order(a, b) > 0),
    overload("quantity_is_less_than", "Quantity.isLessThan(Quantity) -> bool", lambda a, b: _order(a, b) < 0),
    overload("quantity_compare_to", "Quantity.compareTo(Quantity) -> int", _order),
    overload("quantity_get_float", "Quantity.asApproximateFloat() -> double", lambda one: one.amount.nano / NANO),
    overload("quantity_get_int", "Quantity.asInteger() -> int", _as_integer),
    overload("quantity_is_integer", "Quantity.isInteger() -> bool", _is_integer),
    overload("quantity_add", "Quantity.add(Quantity) -> Quantity", _sum),
    overload("quantity_add_int", "Quantity.add(int) -> Quantity", lambda a, b: Quantity(a.amount + _whole(b))),
    overload("quantity_sub", "Quantity.sub(Quantity) -> Quantity", _difference),
    overload("quantity_sub_int", "Quantity.sub(int) -> Quantity", lambda a, b: Quantity(a.amount - _whole(b))),
]

# semantic versions (semver.org 2.0.0, refused in the words of github.com/blang/semver)

_prerelease = re.compile(r"[0-9A-Za-z-]+", re.ASCII)


@total_ordering
class Semver(Opaque):
    """A version; build metadata does not order."""

    __slots__ = ("build", "numbers", "prerelease")
    type_name = "kubernetes.Semver"

    def __init__(self, numbers: tuple[int, int, int], prerelease: tuple[str, ...], build: tuple[str, ...]) -> None:
        self.numbers = numbers
        self.prerelease = prerelease
        self.build = build

    def _key(self) -> tuple[Any, ...]:
        parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in self.prerelease)
        return (self.numbers, not self.prerelease, parts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Semver) and self._key() == other._key()

    def __lt__(self, other: Semver) -> bool:
        return bool(self._key() < other._key())

    def __hash__(self) -> int:
        return hash(self._key())


def _semver(text: str, normalize: bool = False) -> Semver:
    if not isinstance(text, str) or not isinstance(normalize, bool):
        raise no_overload()
    return _parse_semver(_normalized(text) if normalize else text)


def _parse_semver(text: str) -> Semver:
    if not text:
        raise EvaluationError("Version string empty")
    parts = text.split(".", 2)
    if len(parts) != 3:
        raise EvaluationError("No Major.Minor.Patch elements found")
    patch, _, build = parts[2].partition("+")
    patch, dash, prerelease = patch.partition("-")
    numbers = [_number(name, part) for name, part in zip(("Major", "Minor", "Patch"), (*parts[:2], patch), strict=True)]
    pre = prerelease.split(".") if dash else []
    for part in pre:
        _identifier(part, "Prerelease is empty", "Invalid character(s) found in prerelease")
        if part.isdigit() and part != "0" and part.startswith("0"):
            raise EvaluationError(f'Numeric PreRelease version must not contain leading zeroes "{part}"')
    builds = build.split(".") if "+" in parts[2] else []
    for part in builds:
        _identifier(part, "Build meta data is empty", "Invalid character(s) found in build meta data")
    return Semver((numbers[0], numbers[1], numbers[2]), tuple(pre), tuple(builds))


def _identifier(part: str, empty: str, bad: str) -> None:
    if not part:
        raise EvaluationError(empty)
    if not _prerelease.fullmatch(part):
        raise EvaluationError(f'{bad} "{part}"')


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise EvaluationError(f'Invalid character(s) found in {name.lower()} number "{text}"')
    if len(text) > 1 and text.startswith("0"):
        raise EvaluationError(f'{name} number must not contain leading zeroes "{text}"')
    if len(text) > 20 or int(text) >= 2**64:
        raise EvaluationError(f'strconv.ParseUint: parsing "{text[:64]}": value out of range')
    return int(text)


def _normalized(text: str) -> str:
    parts = text.removeprefix("v").split(".", 2)
    for index, part in enumerate(parts):
        if len(part) > 1:
            stripped = part.lstrip("0")
            parts[index] = stripped if stripped[:1].isdigit() else "0" + stripped
    if len(parts) < 3:
        if "+" in parts[-1] or "-" in parts[-1]:
            raise EvaluationError("short version cannot contain PreRelease/Build meta data")
        parts += ["0"] * (3 - len(parts))
    return ".".join(parts)


def _is_semver(text: str, normalize: bool = False) -> bool:
    if not isinstance(text, str) or not isinstance(normalize, bool):
        raise no_overload()
    try:
        _semver(text, normalize)
    except EvaluationError:
        return False
    return True


SEMVERS = [
    overload("string_to_semver", "semver(string) -> Semver", _semver),
    overload("string_bool_to_semver", "semver(string, bool) -> Semver", _semver),
    overload("is_semver_string", "isSemver(string) -> bool", _is_semver),
    overload("is_semver_string_bool", "isSemver(string, bool) -> bool", _is_semver),
    overload("semver_is_greater_than", "Semver.isGreaterThan(Semver) -> bool", lambda a, b: a > b),
    overload("semver_is_less_than", "Semver.isLessThan(Semver) -> bool", lambda a, b: a < b),
    overload("semver_compare_to", "Semver.compareTo(Semver) -> int", lambda a, b: (a > b) - (a < b)),
    overload("semver_major", "Semver.major() -> int", lambda version: version.numbers[0]),
    overload("semver_minor", "Semver.minor() -> int", lambda version: version.numbers[1]),
    overload("semver_patch", "Semver.patch() -> int", lambda version: version.numbers[2]),
]
