"""What a source of plugin files is asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sampan.gateway.model.durations import milliseconds
from sampan.schema.objects import Object

DEFAULT_INTERVAL = "1m"


@dataclass(frozen=True, slots=True)
class Fetched:
    files: dict[str, bytes]
    """Path in the plugin's directory → content."""
    revision: str
    """What the source calls it: a commit, a digest, a version."""
    package: str = ""
    """The package that the files are, where they are imported by their own name."""


class Source(Protocol):
    async def cached(self) -> Fetched | None:
        """Return what was fetched before, by this run or an earlier one, without asking anybody."""

    async def fetch(self) -> Fetched:
        """Return what is there now. Raises ``PluginError`` with what is in the way."""

    async def changed(self) -> None:
        """Return when it may be otherwise."""


class Asked:
    """A source that nobody hears from: it is asked again after an interval. ``secret``: what lets us in, or why not."""

    def __init__(self, spec: Object, cache: Path, secret: Object | str | None) -> None:
        self.cache = cache
        self.seconds = max(1.0, milliseconds(spec.get("interval") or DEFAULT_INTERVAL) / 1000)
        self.secret = secret if isinstance(secret, dict) else None
        wanted = (spec.get("secretRef") or {}).get("name")
        self.no_secret = ""
        """Why there is no Secret, where one is asked for."""
        if wanted and self.secret is None:
            self.no_secret = f"secretRef.name: {secret or f'Secret {wanted} does not exist'}"

    async def changed(self) -> None:
        await asyncio.sleep(self.seconds)
