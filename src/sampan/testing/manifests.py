"""Manifests in every form a test author has them: objects, YAML or JSON text, files, folders of files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from sampan.schema.objects import Object
from sampan.testing.spec import ClusterError

Manifests: TypeAlias = "str | Path | Object | Iterable[str | Path | Object]"
SUFFIXES = (".yaml", ".yml", ".json")
DOCUMENT = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)


def load(given: Manifests) -> list[Object]:
    """Return the objects. A text of one line without a colon is a path; a ``List`` is its items.

    Raises ``ClusterError`` naming what cannot be read."""
    return list(_objects(given))


def _objects(given: Any) -> Iterator[Object]:
    if isinstance(given, dict):
        yield from _flat(given, "the object")
    elif isinstance(given, Path):
        yield from _of_path(given)
    elif isinstance(given, str):
        if "\n" not in given and ":" not in given:
            yield from _of_path(Path(given))
        else:
            yield from _of_text(given, "the text")
    else:
        for part in given:
            yield from _objects(part)


def _of_path(path: Path) -> Iterator[Object]:
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.suffix in SUFFIXES:
                yield from _of_path(file)
        return
    try:
        text = path.read_text()
    except OSError as error:
        raise ClusterError(f"manifests {path}: {error.strerror}") from error
    yield from _of_text(text, str(path))


def _of_text(text: str, where: str) -> Iterator[Object]:
    from sampan.schema.yaml import YAMLError
    from sampan.schema.yaml import load as load_yaml

    for document in DOCUMENT.split(text):
        try:
            value, duplicates = load_yaml(document.encode())
        except YAMLError as error:
            raise ClusterError(f"manifests in {where}: {error}") from error
        if duplicates:
            raise ClusterError(f"manifests in {where}: {duplicates[0]}")
        if value is not None:
            yield from _flat(value, where)


def _flat(value: Any, where: str) -> Iterator[Object]:
    if not isinstance(value, dict) or not value.get("kind") or not value.get("apiVersion"):
        raise ClusterError(f"{where} is no manifest: it has no apiVersion and kind")
    if value["kind"].endswith("List") and isinstance(value.get("items"), list):
        for item in value["items"]:
            yield from _flat(item, where)
    else:
        yield value
