"""Outputs by their addresses: ``json:FILE``, ``text:FILE`` (``-`` is stdout), ``sqlite:FILE``, ``http://…``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sampan.logs.outputs.files import File, Stdout
from sampan.logs.outputs.http import Http
from sampan.logs.outputs.index import Index
from sampan.logs.outputs.output import Delivery, Output, json_line, text_line


def lines_to(rest: str, line: Callable[[Delivery], bytes]) -> Output:
    return Stdout(line) if rest == "-" else File(Path(rest), line)


KINDS: dict[str, Callable[[str], Output]] = {
    "json": lambda rest: lines_to(rest, json_line),
    "text": lambda rest: lines_to(rest, text_line),
    "sqlite": lambda rest: Index(Path(rest)),
    "http": lambda rest: Http(f"http:{rest}"),
    "https": lambda rest: Http(f"https:{rest}"),
}


def output_named(address: str) -> Output:
    """Return the output of an address. Raises ``ValueError``."""
    kind, colon, rest = address.partition(":")
    if kind not in KINDS or not colon or not rest:
        raise ValueError(f"{address!r} is no output: KIND:ADDRESS is, with one of {', '.join(KINDS)}")
    return KINDS[kind](rest)
