"""A cluster's names in the host's /etc/hosts: a marked block, put there when asked for and taken out by ``down``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FILE = Path("/etc/hosts")


def _marks(cluster: str) -> tuple[str, str]:
    return f"# names of the sampan cluster {cluster}", f"# end of the sampan cluster {cluster}"


def with_block(text: str, cluster: str, names: Iterable[tuple[str, str]]) -> str:
    """Return a hosts file with the block of a cluster: names and their addresses."""
    begin, end = _marks(cluster)
    text = without_block(text, cluster)
    lines = [f"{address}\t{name}" for name, address in names]
    return (
        "\n".join([text.rstrip("\n"), begin, *lines, end, ""]) if text.strip() else "\n".join([begin, *lines, end, ""])
    )


def without_block(text: str, cluster: str) -> str:
    """Return a hosts file without the block of a cluster; as it is where it has none, or the block has no end."""
    begin, end = _marks(cluster)
    lines = text.splitlines()
    if begin not in lines or end not in lines[lines.index(begin) :]:
        return text
    first = lines.index(begin)
    last = lines.index(end, first)
    kept = [*lines[:first], *lines[last + 1 :]]
    return "\n".join(kept) + "\n" if kept else ""


def put(cluster: str, names: Iterable[tuple[str, str]], file: Path = FILE) -> None:
    """Write the block. Raises ``OSError``."""
    # in place: in containers the file is a mount and cannot be replaced by another
    file.write_text(with_block(file.read_text() if file.exists() else "", cluster, names))


def remove(cluster: str, file: Path = FILE) -> None:
    """Take the block out, where there is one. Raises ``OSError``."""
    text = file.read_text() if file.exists() else ""
    left = without_block(text, cluster)
    if left != text:
        file.write_text(left)
