"""Where the files of a plugin come from that are not at hand: a Git directory, an image, an installed package.

A source is an object as ``seam.Source`` says, made of a Plugin's spec; ``SOURCES`` is the one list. ``loader.py`` asks it for
files, tries what they come to, and asks again when the source says that they may have changed. What cannot be fetched is
the Plugin's problem, and what was fetched before, also by an earlier run, serves.
"""

from __future__ import annotations

from pathlib import Path

from sampan.gateway.plugins.sources.git import Git
from sampan.gateway.plugins.sources.image import Image
from sampan.gateway.plugins.sources.installed import Installed
from sampan.gateway.plugins.sources.seam import Fetched, Source
from sampan.schema.objects import Object

SOURCES: dict[str, type[Git] | type[Image] | type[Installed]] = {"git": Git, "image": Image, "installed": Installed}
"""Field of a Plugin's spec → its source."""


def source_of(spec: Object, cache: Path, secret: Object | str | None) -> Source | None:
    """Return the source that a spec names, None where the files are at hand. ``secret``: what it names to be let in, or why
    that is not there."""
    for field, made in SOURCES.items():
        if spec.get(field):
            return made(spec[field], cache, secret)
    return None


def secret_of(spec: Object) -> str:
    """Return the name of the Secret that a source needs, "" where it needs none."""
    for field in SOURCES:
        if isinstance(spec.get(field), dict) and spec[field].get("secretRef"):
            return str(spec[field]["secretRef"]["name"])
    return ""


__all__ = ["SOURCES", "Fetched", "Source", "secret_of", "source_of"]
