"""Manifests as the verbs read them: files, directories, standard input; YAML or JSON; Lists taken apart."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def group_of(obj: Any) -> str:
    return str(obj.get("apiVersion") or "").rpartition("/")[0]


def name_of(obj: Any) -> str:
    """Return an object's kind and name as people write them: ``deployment/web``."""
    return f"{str(obj['kind']).lower()}/{(obj.get('metadata') or {}).get('name') or '(no name)'}"


def objects(names: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield every object of the files, those of Lists one by one. Raises ``ValueError`` for what is no manifest."""
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = sorted(file for suffix in ("yaml", "yml", "json") for file in path.rglob(f"*.{suffix}"))
            yield from objects([str(file) for file in inside])
            continue
        text = sys.stdin.read() if name == "-" else path.read_text()
        for document in documents(name, text):
            listed = document.get("items") if str(document.get("kind") or "").endswith("List") else None
            for obj in listed if isinstance(listed, list) else [document]:
                if isinstance(obj, dict):
                    yield name, obj


def documents(name: str, text: str) -> Iterator[dict[str, Any]]:
    import yaml

    try:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict):
                yield document
            elif document is not None:
                raise ValueError(f"{name}: a manifest is an object, this is {type(document).__name__}")
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from error
