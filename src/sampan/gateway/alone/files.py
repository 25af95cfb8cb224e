"""A directory of manifests: which objects are in it, and which file is none. YAML and JSON, in folders too."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from sys import intern
from typing import NamedTuple

import orjson

from sampan.schema.objects import Object
from sampan.schema.yaml import YAMLError, load

SUFFIXES = (".yaml", ".yml", ".json")
DOCUMENT = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
NAMESPACE = "default"


class Problem(NamedTuple):
    """What is wrong, and where: file and object, as far as they are known."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class Named(NamedTuple):
    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass
class Found:
    """What a directory holds."""

    objects: dict[Named, bytes] = field(default_factory=dict)
    """As JSON, which is compared and seldom read: dicts would take ten times the memory for as long as we run."""
    files: dict[Named, str] = field(default_factory=dict)
    """Object → its file, from the directory on."""
    problems: list[Problem] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    """Files that could not be read whole: what was in them before stays."""


class Reader:
    """Reads a directory again and again: of a file whose text is the same, the objects are those of before."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._known: dict[Path, tuple[bytes, list[tuple[Named, bytes]]]] = {}
        """Files that could be read whole → digest of the text, objects."""

    def read(self) -> Found:
        """Return the objects of the directory. What cannot be read is among the problems. Raises ``OSError`` where there is
        no such directory."""
        os.scandir(self.directory).close()
        found = Found()
        known, self._known = self._known, {}
        for path in sorted(paths(self.directory)):
            name = str(path.relative_to(self.directory))
            try:
                text = path.read_text()
                digest = sha256(text.encode()).digest()
                before, objects = known.get(path, (b"", []))
                taken: list[tuple[Named, bytes]] = []
                for entry in objects if before == digest else (entry_of(path, obj) for obj in documents(text)):
                    taken.append(entry)
                    take(found, name, *entry)
                self._known[path] = digest, taken
            except (YAMLError, ValueError, OSError) as error:
                why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                found.problems.append(Problem(name, why))
                found.broken.add(name)
        return found


def paths(directory: Path) -> Iterator[Path]:
    """Yield the files; hidden ones, as editors and ConfigMap mounts have them, are passed over."""
    for folder, folders, files in os.walk(directory, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(folder, name)


def folders(directory: Path) -> list[Path]:
    """Return the directory and those inside it."""
    return [Path(folder) for folder, _, _ in os.walk(directory, followlinks=True)]


def documents(text: str) -> Iterator[Object]:
    """Yield the objects of a text, those of Lists one by one. Raises ``ValueError``."""
    for place, document in enumerate(DOCUMENT.split(text)):
        value, duplicates = load(document.encode())
        if value is None:
            continue
        if duplicates:
            raise ValueError(f"document {place + 1}: {duplicates[0]}")
        items = value.get("items") if isinstance(value, dict) and str(value.get("kind")).endswith("List") else None
        for obj in items if isinstance(items, list) else [value]:
            if not isinstance(obj, dict) or not isinstance(obj.get("kind"), str) or not obj.get("apiVersion"):
                raise ValueError(f"document {place + 1}: an object has apiVersion, kind and metadata")
            if not isinstance(obj.get("metadata"), dict) or not obj["metadata"].get("name"):
                raise ValueError(f"document {place + 1}: a {obj['kind']} needs metadata.name")
            yield obj


def entry_of(path: Path, obj: Object) -> tuple[Named, bytes]:
    """Return an object's name, and itself with the path of a Plugin seen from its file."""
    metadata = obj["metadata"]
    version, namespace = str(obj["apiVersion"]), str(metadata.get("namespace") or NAMESPACE)
    name = Named(intern(version), intern(obj["kind"]), intern(namespace), str(metadata["name"]))
    spec = obj.get("spec")
    if obj["kind"] == "Plugin" and isinstance(spec, dict) and isinstance(spec.get("path"), str):
        obj = {**obj, "spec": {**spec, "path": str((path.parent / spec["path"]).resolve())}}
    try:
        return name, bytes(
            memoryview(orjson.dumps(obj))
        )  # a copy: what orjson returns holds kilobytes more than it says
    except orjson.JSONEncodeError as error:  # half of a pair of surrogates, which no other program could read
        raise ValueError(f"{name}: {error}") from None


def take(found: Found, file: str, name: Named, obj: bytes) -> None:
    if name in found.objects:
        found.problems.append(Problem(file, f"{name} is in {found.files[name]} already: this one is not read"))
        return
    found.objects[name], found.files[name] = obj, file
