"""The agent's configuration, one file of YAML: what of it is read here, and what others make of its parts.

    paths: [/var/log/pods]                                   as --path
    rules: [{name: …, multiline: {…}}]                       which lines are one record (rules/)
    encodings: [{path: "*/legacy_*", encoding: gbk}]         of files that are no UTF-8 (reading/encodings.py)
    processing: [{parse: auto}, {redact: {}}]                steps in their order (processing/)
    annotations: [parse, level]                              what pods may ask for (default: all)
    outputs: [{name: archive, type: json, path: /a.json}]    (outputs/)

A field that nobody knows is refused, with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sampan.logs.outputs.options import OptionError, Options, texts_of
from sampan.logs.processing import wishes
from sampan.logs.processing.pipeline import Pipeline, configured
from sampan.logs.reading.encodings import Encoded, encoded
from sampan.logs.rules.file import ours
from sampan.logs.rules.rule import Rule

FIELDS = ("paths", "rules", "encodings", "processing", "annotations", "outputs")


@dataclass
class Configuration:
    paths: tuple[str, ...] = ()
    rules: list[Rule] = field(default_factory=list)
    encodings: list[Encoded] = field(default_factory=list)
    pipeline: Pipeline = field(default_factory=lambda: pipeline_of({}))
    outputs: list[Any] | None = None
    """As they stand; ``outputs/registry.py`` makes them."""


def read_configuration(path: Path) -> Configuration:
    """Return what a file says. Raises ``OSError``, ``ValueError`` (``OptionError``, ``RuleError``)."""
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise OptionError(str(path), f"this is no YAML: {error}") from error
    return configuration_of(content)


def configuration_of(content: Any) -> Configuration:
    """Raises ``ValueError``."""
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise OptionError("file", f"{', '.join(FIELDS)} are wanted, not {content!r}")
    unknown = sorted(str(name) for name in content if name not in FIELDS)
    if unknown:
        raise OptionError(unknown[0], f"there is no such field; there are {', '.join(FIELDS)}")
    outputs = content.get("outputs")
    return Configuration(
        Options(content, "file").texts("paths") if "paths" in content else (),
        [ours(one, f"rules[{number}]") for number, one in enumerate(listed(content, "rules"))],
        [encoded(one, f"encodings[{number}]") for number, one in enumerate(listed(content, "encodings"))],
        pipeline_of(content),
        None if outputs is None else listed(content, "outputs"),
    )


def listed(content: dict[str, Any], name: str) -> list[Any]:
    given = content.get(name)
    if given is None:
        return []
    if not isinstance(given, list):
        raise OptionError(name, f"a list is wanted, not {given!r}")
    return given


def pipeline_of(content: dict[str, Any]) -> Pipeline:
    may_ask = frozenset(wishes.NAMES)
    if content.get("annotations") is not None:
        may_ask = frozenset(texts_of(content["annotations"]) or ())
        unknown = sorted(may_ask.difference(wishes.NAMES))
        if unknown or (content["annotations"] and not may_ask):
            raise OptionError(
                "annotations", f"a list of {', '.join(wishes.NAMES)} is wanted, not {content['annotations']!r}"
            )
    return Pipeline(configured(content.get("processing")), may_ask=may_ask)
