"""Reading a configuration: every field is known, of the right type and in range, or refused with its place in the file."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.schema.objects import Object

NO_EFFECT = {
    "parallelism": "cycles run one after another in one loop",
    "enableProfiling": "there is nothing to profile with",
    "enableContentionProfiling": "there are no locks",
    "healthzBindAddress": "the health of the scheduler is that of its process",
    "metricsBindAddress": "metrics are on the API's own page",
    "delayCacheUntilActive": "the cache is filled when the scheduler leads",
}


class ConfigurationError(ValueError):
    """The configuration cannot be used; the message begins with the field."""


def known(found: object, names: Sequence[str], at: str) -> None:
    if not isinstance(found, dict):
        raise ConfigurationError(f"{at.rstrip('.') or 'configuration'}: expected an object")
    for name in found:
        if name not in names:
            why = f": it would have no effect: {NO_EFFECT[name]}" if name in NO_EFFECT and not at else ""
            raise ConfigurationError(f'unknown field "{at}{name}"{why}')


def mapping(found: Object, name: str, at: str) -> Object:
    value = found.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{at}{name}: expected an object")
    return value


def number(found: Object, name: str, at: str, otherwise: int, *, lowest: int = 0, highest: int = 2**31) -> int:
    value = found.get(name)
    if value is None:
        return otherwise
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ConfigurationError(f"{at}{name}: Invalid value: {value}: must be a number from {lowest} to {highest}")
    return value
