"""The OpenAPI definitions of one Kubernetes version, read one by one out of the packaged file.

Parsed, the file would take 4 MB in every API server for good; few of its 900 definitions are looked at. So the file is looked
through once for where each definition stands and which kinds there are, and stays open: whoever asks for a definition gets it
parsed. The file is JSON indented by two spaces, which is what is looked for; one that is not is kept so in memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

BEGIN = re.compile(rb'\n    "([^"\n]+)": \{')
KINDS = re.compile(rb'"x-kubernetes-group-version-kind": (\[[^]]*\])')
END = b"\n  }"
REMEMBERED = 8
"""Parsed definitions. Whoever needs one for long has made something of it."""

Kind = tuple[str, str, str]


class Place(NamedTuple):
    start: int
    length: int


class Definitions(Mapping[str, dict[str, Any]]):
    """Definitions by name (``io.k8s.api.core.v1.Pod``). ``kinds``: (group, version, kind) → name. Never change one."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_RDONLY | os.O_CLOEXEC)  # stays the one that was read, whatever takes its place
        text = os.pread(self._file, os.fstat(self._file).st_size, 0)
        self._text: bytes | None = None
        if not indented(text):
            text = self._text = orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2)
        self._places = places(text)
        self.kinds = kinds(text, self._places)
        self._get = lru_cache(REMEMBERED)(self._read)

    def _read(self, name: str) -> dict[str, Any]:
        start, length = self._places[name]
        text = self._text
        found: dict[str, Any] = orjson.loads(
            os.pread(self._file, length, start) if text is None else text[start : start + length]
        )
        return found

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._get(name)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __del__(self) -> None:
        os.close(self._file)


def indented(text: bytes) -> bool:
    """Whether the file is written as it is read here."""
    return text.startswith(b'{\n  "$defs": {\n    "') and b"\t" not in text


def places(text: bytes) -> dict[str, Place]:
    """Return where each definition stands in an indented file."""
    begins = list(BEGIN.finditer(text))
    stops = [match.start() - 1 for match in begins[1:]]  # before the comma
    if begins:
        stops.append(text.index(END, begins[-1].end()))
    found: dict[str, Place] = {}
    for match, stop in zip(begins, stops, strict=True):
        start = match.end() - 1
        found[match[1].decode()] = Place(start, stop - start)
    return found


def kinds(text: bytes, at: Mapping[str, Place]) -> dict[Kind, str]:
    """Return the definition of each kind."""
    found: dict[Kind, str] = {}
    for name, (start, length) in at.items():
        match = KINDS.search(text, start, start + length)
        for gvk in orjson.loads(match[1]) if match else ():
            found[gvk["group"], gvk["version"], gvk["kind"]] = name
    return found
