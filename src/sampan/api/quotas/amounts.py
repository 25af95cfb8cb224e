"""Resource lists as arithmetic: name → quantity. Source: k8s.io/apiserver pkg/quota/v1/resources.go."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from sampan.schema.quantity import Quantity, QuantityError, parse

Amounts = Mapping[str, Quantity]
ONE = parse("1")
ZERO = parse("0")


def read(given: Mapping[str, object]) -> dict[str, Quantity]:
    """Return the amounts of an object's map; what is no quantity was refused when it was written."""
    found = {}
    for name, value in given.items():
        try:
            found[name] = parse(str(value))
        except QuantityError:
            continue
    return found


def text(given: Amounts) -> dict[str, str]:
    return {name: str(value) for name, value in given.items()}


def added(one: Amounts, other: Amounts) -> dict[str, Quantity]:
    total = dict(one)
    for name, value in other.items():
        total[name] = total[name] + value if name in total else value
    return total


def total(several: Iterable[Amounts]) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    for one in several:
        found = added(found, one)
    return found


def lowered(one: Amounts, by: Amounts) -> dict[str, Quantity]:
    """Return ``one - by``, nothing below zero."""
    found = {name: value - by.get(name, ZERO) for name, value in one.items()}
    return {name: value if value.nano > 0 else ZERO for name, value in found.items()}


def raised(one: Amounts, before: Amounts) -> dict[str, Quantity]:
    """Return by how much each amount is more than it was; what is not more is left out."""
    found = {name: value - before.get(name, ZERO) for name, value in one.items()}
    return {name: value for name, value in found.items() if value.nano > 0}


def only(given: Amounts, names: Collection[str]) -> dict[str, Quantity]:
    return {name: value for name, value in given.items() if name in names}


def exceeded(given: Amounts, most: Amounts) -> list[str]:
    """Return the names of which there is more than allowed."""
    return [name for name, value in given.items() if name in most and most[name] < value]


def shown(given: Amounts) -> str:
    """Return ``cpu=1,memory=2Gi``."""
    return ",".join(f"{name}={value}" for name, value in sorted(given.items()))
