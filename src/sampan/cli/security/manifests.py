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


def texts(names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each file with its text, those of directories one by one."""
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = sorted(file for suffix in ("yaml", "yml", "json") for file in path.rglob(f"*.{suffix}"))
            yield from texts([str(file) for file in inside])
        else:
            yield name, sys.stdin.read() if name == "-" else path.read_text()


def objects(names: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield every object of the files, those of Lists one by one. Raises ``ValueError`` for what is no manifest."""
    for name, text in texts(names):
        for document in documents(name, text):
            listed = document.get("items") if str(document.get("kind") or "").endswith("List") else None
            for obj in listed if isinstance(listed, list) else [document]:
                if isinstance(obj, dict):
                    yield name, obj


def documents(name: str, text: str) -> Iterator[dict[str, Any]]:
    for _, document in numbered(name, text):
        yield document


def numbered(name: str, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the documents of a text with their places in it; empty ones have a place, too."""
    import yaml

    try:
        for place, document in enumerate(yaml.safe_load_all(text)):
            if isinstance(document, dict):
                yield place, document
            elif document is not None:
                raise ValueError(f"{name}: a manifest is an object, this is {type(document).__name__}")
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from error


def read_configuration(name: str) -> Any:
    """Return a PodSecurityConfiguration, also out of kube-apiserver's AdmissionConfiguration. Raises ``ClusterError``."""
    import yaml

    from sampan.cluster.lifecycle import ClusterError

    try:
        found = yaml.safe_load(Path(name).read_text())
    except yaml.YAMLError as error:
        raise ClusterError(f"{name}: {' '.join(str(error).split())}") from error
    if isinstance(found, dict) and found.get("kind") == "AdmissionConfiguration":
        plugins = found.get("plugins") or ()
        found = next((one.get("configuration") for one in plugins if one.get("name") == "PodSecurity"), None)
    if not isinstance(found, dict):
        raise ClusterError(f"{name}: this is no PodSecurityConfiguration")
    return found
