"""Plugins that were installed as Python packages: by an entry point of the group ``sampan.gateway.plugins``.

    [project.entry-points."sampan.gateway.plugins"]
    geo = "acme_geo"                  # a package whose folder is a plugin's directory: plugin.toml, plugin.py …

Its files are copied as they are found, under their own names, for a process of its own: absolute imports of the package
lead to the copy, and an upgrade is another version. Source: the entry points specification of Python packaging.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
from contextlib import AsyncExitStack
from pathlib import Path

from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.sources.seam import Fetched
from sampan.node.inotify import changes_of, first_of, quiet
from sampan.schema.objects import Object

GROUP = "sampan.gateway.plugins"
LARGEST_BYTES = 64 * 2**20
QUIET_SECONDS = 0.3
"""An installer writes many files; the package is read when it has been quiet for so long."""


class Installed:
    def __init__(self, name: str, cache: Path, secret: Object | str | None) -> None:
        self._name = name
        self._folders: set[Path] = set()

    async def cached(self) -> Fetched | None:
        return None

    async def fetch(self) -> Fetched:
        return await asyncio.to_thread(self._read)

    def _read(self) -> Fetched:
        importlib.invalidate_caches()
        found = importlib.metadata.entry_points(group=GROUP, name=self._name)
        self._folders = {Path(path) for path in importlib.import_module("sys").path if Path(path).is_dir()}
        if not found:
            known = ", ".join(sorted({point.name for point in importlib.metadata.entry_points(group=GROUP)})) or "none"
            raise PluginError(
                f"spec.installed: no package has an entry point {GROUP}:{self._name} (there are: {known})"
            )
        (point, *others) = found
        if others:
            names = ", ".join(str(one.dist and one.dist.name) for one in found)
            raise PluginError(f"spec.installed: {self._name} is an entry point of several packages: {names}")
        top, _, rest = point.module.partition(".")
        spec = importlib.util.find_spec(top)
        locations = list(spec.submodule_search_locations or ()) if spec is not None else []
        if point.attr or not locations or not (Path(locations[0]) / rest.replace(".", "/")).is_dir():
            raise PluginError(
                f"spec.installed: {self._name} = {point.value!r}: a package is expected, with a plugin.py"
            )
        folder = Path(locations[0])
        self._folders |= {folder, folder / rest.replace(".", "/")}
        version = f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""
        return Fetched(files_of(folder, top), version, point.module)

    async def changed(self) -> None:
        async with AsyncExitStack() as stack:
            events = [await stack.enter_async_context(changes_of(folder)) for folder in sorted(self._folders)]
            await first_of(events)
            await quiet(events, QUIET_SECONDS)


def files_of(folder: Path, top: str) -> dict[str, bytes]:
    """Return the files of a package by their path below where it is found. Raises ``PluginError``."""
    files: dict[str, bytes] = {}
    size = 0
    for file in sorted(folder.rglob("*")):
        inner = file.relative_to(folder)
        if not file.is_file() or "__pycache__" in inner.parts or any(part.startswith(".") for part in inner.parts):
            continue
        size += file.stat().st_size
        if size > LARGEST_BYTES:
            raise PluginError(f"spec.installed: {top} has more than {LARGEST_BYTES // 2**20} MiB of files")
        files[f"{top}/{inner}"] = file.read_bytes()
    return files
