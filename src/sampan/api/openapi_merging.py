"""What an extension server's OpenAPI v2 adds to ours: paths of its group's version, and the definitions these reach. Pure.

A definition that is there already is not added again; another one of the same name gets a name of its own (``NAME_v2``).
Source: kube-aggregator pkg/controllers/openapi/aggregator, kube-openapi pkg/aggregator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REFERENCE = "#/definitions/"
KUBERNETES = "io.k8s."
"""The names of Kubernetes' own types: what another server says of them is what we say, in other words perhaps."""


def merged(document: Mapping[str, Any], prefix: str, taken: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the paths below ``prefix`` and the definitions to add. ``taken`` holds those there are, and gets these, too."""
    found = {path: item for path, item in (document.get("paths") or {}).items() if path.startswith(prefix)}
    definitions = document.get("definitions") or {}
    names: dict[str, str] = {}
    for _ in range(len(definitions)):  # who refers to something renamed is another one, too
        again = {name: name_of(name, renamed(definitions[name], names), taken) for name in reached(found, definitions)}
        if again == names:
            break
        names = again
    added = {}
    for name, new in names.items():
        if new not in taken:
            added[new] = taken[new] = renamed(definitions[name], names)
    return renamed(found, names), added


def name_of(name: str, definition: Any, taken: Mapping[str, Any]) -> str:
    """Return the name that a definition has in the whole document."""
    number, tried = 1, name
    while tried in taken and not name.startswith(KUBERNETES) and taken[tried] != definition:
        number += 1
        tried = f"{name}_v{number}"
    return tried


def reached(paths: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """Return the names of the definitions that paths refer to, and these to others, in order."""
    names: dict[str, None] = {}
    waiting = list(references(paths))
    while waiting:
        name = waiting.pop(0)
        if name not in names and name in definitions:
            names[name] = None
            waiting += references(definitions[name])
    return list(names)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        target = node.get("$ref")
        if isinstance(target, str) and target.startswith(REFERENCE):
            yield target[len(REFERENCE) :]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def renamed(node: Any, names: Mapping[str, str]) -> Any:
    """Return a document with its references under the names that definitions have now."""
    if isinstance(node, list):
        return [renamed(value, names) for value in node]
    if not isinstance(node, Mapping):
        return node
    made = {key: renamed(value, names) for key, value in node.items()}
    target = made.get("$ref")
    if isinstance(target, str) and target.startswith(REFERENCE):
        name = target[len(REFERENCE) :]
        made["$ref"] = REFERENCE + names.get(name, name)
    return made
