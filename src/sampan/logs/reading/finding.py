"""Which files are to be read: folders with what is below them, patterns, single files; rotated ones included."""

from __future__ import annotations

import fnmatch
import glob  # of strings: pathlib's follows no symbolic links below **
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

NAMES = ("*.log", "*.log.*", "*.log-*")
"""What is read below a folder. The kubelet rotates ``0.log`` to ``0.log.20261130-100000`` and later to that with ``.gz``."""
UNFINISHED = ("*.tmp", "*.swp")


class Roots:
    """The paths that a user has named."""

    def __init__(self, paths: Sequence[str], names: Sequence[str] = NAMES) -> None:
        self._paths = [os.path.abspath(path) for path in paths]  # noqa: PTH100 - a pattern is no path
        self._names = names

    def files(self) -> Iterator[str]:
        """Yield the paths of all files that are there now. What cannot be looked into is left out."""
        for path in self._paths:
            if glob.has_magic(path):
                for found in matching(path):
                    if Path(found).is_file():
                        yield found
                    else:
                        yield from self._below(found)
            elif Path(path).is_dir():
                yield from self._below(path)
            else:
                yield from (str(Path(path).parent / name) for name in siblings(Path(path)))

    def _below(self, path: str) -> Iterator[str]:
        for folder, _, names in os.walk(path, followlinks=False):
            yield from (str(Path(folder) / name) for name in names if self._wanted(name))

    def folders(self) -> Iterator[str]:
        """Yield the folders where files may come and go."""
        for path in self._paths:
            if glob.has_magic(path):
                yield from (str(found) for found in parents_of_pattern(path))
                for found in matching(path):
                    yield from (folder for folder, _, _ in os.walk(found, followlinks=False))
            elif Path(path).is_dir():
                yield from (folder for folder, _, _ in os.walk(path, followlinks=False))
            elif Path(path).parent.is_dir():
                yield str(Path(path).parent)

    def _wanted(self, name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._names) and not any(
            fnmatch.fnmatchcase(name, pattern) for pattern in UNFINISHED
        )


def matching(pattern: str) -> Iterator[str]:
    yield from glob.iglob(pattern, recursive=True)  # noqa: PTH207 - an absolute pattern


def siblings(path: Path) -> list[str]:
    """Return the names of a file and of what rotation makes of it."""
    try:
        there = [file.name for file in path.parent.iterdir()]
    except OSError:
        return []
    return [name for name in there if name == path.name or is_rotated(name, path.name)]


def is_rotated(name: str, of: str) -> bool:
    """Whether a name is one that rotation gives: ``app.log.1``, ``app.log-20261130.gz``, ``app-20261130.log``."""
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in UNFINISHED):
        return False
    if name == of:
        return False
    if name.startswith(of):
        return not name[len(of)].isalnum()
    stem, dot, suffix = of.partition(".")
    rest = name.removeprefix(stem)
    return bool(stem) and rest != name and not rest[0].isalnum() and f"{dot}{suffix}" in rest


def alike(name: str, other: str) -> bool:
    """Whether one rotation may have given both names: ``app.log.2.gz`` and ``app.log.1``."""
    stem = other.partition(".")[0]
    rest = name.removeprefix(stem)
    return bool(stem) and rest != name and (not rest or not rest[0].isalnum())


def parents_of_pattern(pattern: str) -> set[Path]:
    """Return the folders that a pattern looks into."""
    head, tail = Path(pattern).parts[0], Path(pattern).parts[1:]
    found = {Path(head)}
    fixed = Path(head)
    for part in tail[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
        found = {fixed}
    matched = {Path(path) for path in matching(str(Path(pattern).parent))}
    return {folder for folder in found | matched if folder.is_dir()}
