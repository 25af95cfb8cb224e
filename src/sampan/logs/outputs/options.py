"""The options of one output, taken one by one: of a configuration's ``outputs:``, or of an address's query. Pure.

Whoever reads an option says of what kind it is; what nobody has read is refused at the end, with its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

SIZE = re.compile(r"(\d+)\s*(|B|[kKMGT]i?B?)")
POWERS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
SECONDS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
Taken = TypeVar("Taken")


class OptionError(ValueError):
    """An output cannot be as it is described: the message begins with the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")


class Options:
    """``field`` is where they stand, for messages: ``outputs[2]``. Every method raises ``OptionError``."""

    def __init__(self, values: Any, field: str) -> None:
        if not isinstance(values, Mapping):
            raise OptionError(field, f"a mapping of options is wanted, not {values!r}")
        self._values: dict[str, Any] = {str(name): value for name, value in values.items()}
        self._read: set[str] = set()
        self._inner: list[Options] = []
        self.field = field

    def place(self, name: str) -> str:
        return f"{self.field}.{name}"

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def peek(self, name: str) -> Any:
        """Return an option as it stands; it still has to be read."""
        return self._values.get(name)

    def take(self, name: str, default: Taken, make: Callable[[Any], Taken | None], wanted: str) -> Taken:
        """Return an option as ``make`` reads it; None of that is an error, which says what is wanted."""
        self._read.add(name)
        value = self._values.get(name)
        if value is None:
            return default
        made = make(value)
        if made is None:
            raise OptionError(self.place(name), f"{wanted} is wanted, not {value!r}")
        return made

    def text(self, name: str, default: str = "") -> str:
        return self.take(name, default, lambda value: str(value) if is_scalar(value) else None, "a text")

    def needed(self, name: str) -> str:
        """Return a text that must be there."""
        if not (value := self.text(name)):
            raise OptionError(self.place(name), "it is wanted")
        return value

    def one_of(self, name: str, words: Iterable[str], default: str) -> str:
        known = tuple(words)
        found = self.text(name, default)
        if found not in known:
            raise OptionError(self.place(name), f"one of {', '.join(known)} is wanted, not {found!r}")
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        return self.take(name, default, lambda value: WORDS.get(str(value).lower()), "true or false")

    def number(self, name: str, default: int, least: int = 0, most: int = 1 << 62) -> int:
        found = self.take(name, default, whole_number, "a whole number")
        if not least <= found <= most:
            raise OptionError(self.place(name), f"{found} is not from {least} to {most}")
        return found

    def size(self, name: str, default: int, least: int = 1) -> int:
        """Return bytes: a number, or one with ``Ki``, ``MiB``, ``G`` …"""
        found = self.take(name, default, bytes_of, "a size such as 512Mi")
        if found < least:
            raise OptionError(self.place(name), f"at least {least} bytes are wanted, not {found}")
        return found

    def seconds(self, name: str, default: float) -> float:
        """Return seconds: a number, or one with ``ms``, ``s``, ``m``, ``h``."""
        return self.take(name, default, seconds_of, "a duration such as 30s")

    def texts(self, name: str, default: Iterable[str] = ()) -> tuple[str, ...]:
        """Return a list of texts; a text may have commas."""
        return self.take(name, tuple(default), texts_of, "a list of texts")

    def mapping(self, name: str) -> dict[str, str]:
        """Return texts by names."""
        return self.take(name, {}, pairs_of, "a mapping of texts")

    def inner(self, name: str) -> Options:
        """Return the options below a name, none where it is not there. ``name.option`` of an address is one of them."""
        self._read.add(name)
        dotted = {key: value for key, value in self._values.items() if key.startswith(f"{name}.")}
        self._read.update(dotted)
        values = self._values.get(name)
        found = Options({} if values is None else values, self.place(name))
        found._values |= {key.removeprefix(f"{name}."): value for key, value in dotted.items()}
        self._inner.append(found)
        return found

    def secret(self, name: str) -> str:
        """Return what stands in ``NAME``, in the file of ``NAME_file`` without its line's end, or in the environment as the
        variable that ``NAME_env`` names."""
        ways = [way for way in (name, f"{name}_file", f"{name}_env") if self.text(way)]
        if len(ways) > 1:
            raise OptionError(self.place(ways[1]), f"there is {ways[0]} as well")
        if f"{name}_file" in ways:
            return self.content(f"{name}_file").decode("utf-8", "replace").rstrip("\r\n")
        if f"{name}_env" in ways:
            variable = self.text(f"{name}_env")
            if variable not in os.environ:
                raise OptionError(self.place(f"{name}_env"), f"the environment has no {variable}")
            return os.environ[variable]
        return self.text(name)

    def fresh(self, name: str, before: str) -> str:
        """Return a secret as it is now: of a file anew, ``before`` where that cannot be read just now."""
        if f"{name}_file" not in self:
            return before
        try:
            return self.content(f"{name}_file").decode("utf-8", "replace").rstrip("\r\n")
        except OptionError:
            return before

    def content(self, name: str) -> bytes:
        """Return what is in the file that an option names."""
        path = Path(self.needed(name))
        try:
            return path.read_bytes()
        except OSError as error:
            raise OptionError(self.place(name), f"{path}: {error.strerror}") from error

    def done(self) -> None:
        """Refuse what nobody has asked for."""
        unknown = sorted(self._values.keys() - self._read)
        if unknown:
            known = ", ".join(sorted(self._read))
            raise OptionError(self.place(unknown[0]), f"there is no such option; there are {known}")
        for inner in self._inner:
            inner.done()


def is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def whole_number(value: Any) -> int | None:
    text = str(value)
    return int(text) if is_scalar(value) and re.fullmatch(r"-?\d{1,18}", text) else None


def bytes_of(value: Any) -> int | None:
    found = SIZE.fullmatch(str(value)) if is_scalar(value) else None
    if found is None:
        return None
    unit = found[2].rstrip("B")
    base = 1024 if unit.endswith("i") else 1000
    return int(found[1]) * int(base ** POWERS.get(unit[:1], 0))


def seconds_of(value: Any) -> float | None:
    found = DURATION.fullmatch(str(value)) if is_scalar(value) else None
    return float(found[1]) * SECONDS[found[2]] if found is not None else None


def texts_of(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, list) and all(map(is_scalar, value)):
        return tuple(map(str, value))
    return None


def pairs_of(value: Any) -> dict[str, str] | None:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in texts_of(value) or ()]
        return {name: rest for name, equal, rest in pairs} if all(equal for _, equal, _ in pairs) else None
    if isinstance(value, Mapping) and all(map(is_scalar, value.values())):
        return {str(name): str(one) for name, one in value.items()}
    return None
