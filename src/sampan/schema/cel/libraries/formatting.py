"""``'%s has %d'.format([a, b])``: values as text, as cel-go's ext/formatting writes them.

``pieces`` reads the clauses of a format; the program's validator checks constant formats with it when an expression is
compiled, ``formatted`` writes them when it is evaluated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from sampan.schema.cel.conversions import TO_STRING
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.values import Duration, Timestamp, TypeValue, Uint, type_name

DEFAULT_PRECISION = 6
SUPERSCRIPT = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_clause = re.compile(r"%(?:\.([0-9]*))?(.?)", re.ASCII | re.DOTALL)

REFUSED = {
    "s": "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and "
    "timestamps, was given {}",
    "d": "decimal clause can only be used on integers, was given {}",
    "f": "fixed-point clause can only be used on doubles, was given {}",
    "e": "scientific clause can only be used on doubles, was given {}",
    "b": "only integers and bools can be formatted as binary, was given {}",
    "x": "only integers, byte buffers, and strings can be formatted as hex, was given {}",
    "o": "octal clause can only be used on integers, was given {}",
}
INTEGERS = frozenset(("int", "uint"))
ACCEPTED = {
    "s": frozenset(
        (
            "list",
            "map",
            "int",
            "uint",
            "double",
            "bool",
            "string",
            "bytes",
            "null",
            "type",
            "timestamp",
            "duration",
            "dyn",
        )
    ),
    "d": INTEGERS,
    "f": frozenset(("double", "string")),
    "e": frozenset(("double", "string")),
    "b": INTEGERS | {"bool"},
    "x": INTEGERS | {"string", "bytes"},
    "o": INTEGERS,
}
"""Kinds of types that a clause takes, as far as they are known when an expression is compiled."""


class FormatProblem(ValueError):
    """What is wrong with a format or one of its arguments."""


class Clause(NamedTuple):
    """One ``%.2f``: ``letter`` is a key of ``REFUSED``; ``upper`` for ``%X``."""

    letter: str
    precision: int
    upper: bool


def pieces(text: str, count: int) -> Iterator[str | Clause]:
    """Yield the plain parts and the clauses of a format that has ``count`` arguments. Raises ``FormatProblem``."""
    position, used = 0, 0
    while position < len(text):
        start = text.find("%", position)
        if start < 0:
            yield text[position:]
            return
        if start > position:
            yield text[position:start]
        if text[start + 1 : start + 2] == "%":
            yield "%"
            position = start + 2
            continue
        if used >= count:
            raise FormatProblem(f"index {used} out of range")
        if start + 1 >= len(text):
            raise FormatProblem("unexpected end of string")
        match = _clause.match(text, start)
        assert match is not None
        yield _read(match)
        used += 1
        position = match.end()


def _read(match: re.Match[str]) -> Clause:
    before = "could not parse formatting clause: "
    if match[1] is not None and not match[2]:
        raise FormatProblem(before + "error while parsing precision: could not find end of precision specifier")
    if match[1] == "":
        detail = 'error while converting precision to integer: strconv.Atoi: parsing "": invalid syntax'
        raise FormatProblem(f"{before}error while parsing precision: {detail}")
    letter = match[2]
    if letter.lower() not in REFUSED or (letter.isupper() and letter != "X"):
        raise FormatProblem(f'{before}unrecognized formatting clause "{letter}"')
    precision = min(int(match[1]), 1000) if match[1] is not None else DEFAULT_PRECISION
    return Clause(letter.lower(), precision, letter == "X")


def formatted(text: str, args: list[Any]) -> str:
    """Return a format with its arguments put in. Raises ``EvaluationError``."""
    out: list[str] = []
    used = 0
    try:
        for piece in pieces(text, len(args)):
            if isinstance(piece, str):
                out.append(piece)
            else:
                out.append(_written(piece, args[used]))
                used += 1
    except FormatProblem as problem:
        raise EvaluationError(str(problem)) from None
    return "".join(out)


def _written(clause: Clause, value: Any) -> str:
    if clause.letter == "s":
        return _string(value)
    if clause.letter in ("f", "e"):
        return _number(clause, value)
    kind = type(value)
    if kind in (int, Uint):
        if clause.letter == "d":
            return str(int(value))
        return format(int(value), "X" if clause.upper else clause.letter)
    if clause.letter == "b" and kind is bool:
        return "1" if value else "0"
    if clause.letter == "x" and kind in (str, bytes):
        text = (value.encode() if kind is str else value).hex()
        return str(text.upper() if clause.upper else text)
    raise _refused(clause.letter, value)


def _refused(letter: str, value: Any) -> FormatProblem:
    return FormatProblem("error during formatting: " + REFUSED[letter].format(type_name(value)))


def _number(clause: Clause, value: Any) -> str:
    if value in ("NaN", "Infinity", "-Infinity") and isinstance(value, str):
        value = float(value)
    if type(value) is not float:
        raise _refused(clause.letter, value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if clause.letter == "f":
        return f"{value:,.{clause.precision}f}"
    # cel-go takes the precision for a width here
    mantissa, _, exponent = f"{value:.{DEFAULT_PRECISION}e}".partition("e")
    return f"{mantissa}×10{exponent.removeprefix('+').translate(SUPERSCRIPT)}".rjust(clause.precision)


def _string(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "[" + ", ".join(_member(item) for item in value) + "]"
    if isinstance(value, dict):
        pairs = sorted(f"{_key(key)}:{_member(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, TypeValue):
        return value.name
    convert = TO_STRING.get(type(value))
    if convert is None:
        raise _refused("s", value)
    return convert(value)


def _key(key: Any) -> str:
    if type(key) is str:
        return _go_quoted(key)
    if type(key) in (bool, int, Uint):
        return TO_STRING[type(key)](key)
    raise FormatProblem(f"error during formatting: no formatting function for map key of type {type_name(key)}")


def _member(value: Any) -> str:
    if isinstance(value, str):
        return _go_quoted(value)
    if isinstance(value, bytes):
        return "b" + _go_quoted(value.decode(errors="replace"))
    if isinstance(value, float):
        if not math.isfinite(value):
            return '"NaN"' if math.isnan(value) else '"+Inf"' if value > 0 else '"-Inf"'
        return f"{value:.{DEFAULT_PRECISION}f}"
    if isinstance(value, Timestamp):
        return f'timestamp("{TO_STRING[Timestamp](value)}")'
    if isinstance(value, Duration):
        return f'duration("{TO_STRING[Duration](value)}")'
    if value is not None and not isinstance(value, (list, dict, TypeValue)) and type(value) not in TO_STRING:
        raise FormatProblem(f"error during formatting: no formatting function for {type_name(value)}")
    return _string(value)


def _go_quoted(text: str) -> str:
    return orjson.dumps(text.encode("utf-8", "replace").decode()).decode()
