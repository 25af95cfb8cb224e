"""Where the Corefile comes from, and when it changes: a ConfigMap, a file, or the default.

``texts()`` yields it at once and again after each change. A ConfigMap that is not there (any more) is the default; its other
keys are files that ``hosts`` may name. Source: kubeadm's ConfigMap ``kube-system/coredns``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import CONFIG_MAPS
from sampan.node.inotify import changes_of
from sampan.schema.objects import Object

KEY = "Corefile"


class Text(NamedTuple):
    text: str
    files: Mapping[str, str] = {}
    about: Object | None = None
    """The ConfigMap that it is in: events are about it."""


class Source(Protocol):
    def texts(self) -> AsyncIterator[Text]: ...


class FixedSource:
    def __init__(self, text: str) -> None:
        self._text = text

    async def texts(self) -> AsyncIterator[Text]:
        yield Text(self._text)
        await asyncio.Event().wait()


class FileSource:
    """Raises ``OSError`` where the file cannot be read at the start; later it stays as it was. A file that a kubelet
    mounts is replaced behind a link of its folder: the folder is followed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def texts(self) -> AsyncIterator[Text]:
        text = self._path.read_text()
        yield Text(text)
        async with changes_of(self._path.parent) as changed:
            while True:
                await changed.wait()
                changed.clear()
                try:
                    now = self._path.read_text()
                except OSError:
                    continue  # it is being replaced
                if now != text:
                    text = now
                    yield Text(text)


class ConfigMapSource:
    """``run`` must be a task of the owner's group."""

    def __init__(self, client: Client, namespace: str, name: str, default: str) -> None:
        self._default = default
        self._informer = Informer(client, CONFIG_MAPS, namespace, field_selector=f"metadata.name={name}")
        self._changed = asyncio.Event()
        self._informer.add_handler(lambda change, old, new: self._changed.set())

    async def run(self) -> None:
        await self._informer.run()

    async def texts(self) -> AsyncIterator[Text]:
        await self._informer.synced()
        while True:
            self._changed.clear()
            yield self._text()
            await self._changed.wait()

    def _text(self) -> Text:
        for found in self._informer.all():
            data = found.get("data") or {}
            about = {"apiVersion": "v1", "kind": "ConfigMap", **found}
            return Text(str(data.get(KEY, "")), {key: text for key, text in data.items() if key != KEY}, about)
        return Text(self._default)
