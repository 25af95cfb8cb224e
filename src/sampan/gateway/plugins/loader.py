"""Plugins as they are loaded: found, copied under the name of their content, tried, and watched for changes.

``Plugin`` objects lead to a ``Loaded`` version each: a package ``sampan_plugin_<hash>`` in Envoy's plugin directory. A
version is tried in a process of its own first; when its import fails, the error (file and line) is the plugin's condition and
the version before stays live. A directory is watched by inotify, so an edit is live without a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from sampan.client.informer import key_of
from sampan.gateway.plugins.apart import apart_of
from sampan.gateway.plugins.content import CODE, PROCESS, Content, content_of
from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.processes import Processes
from sampan.gateway.plugins.sources import Fetched, Source, secret_of, source_of
from sampan.gateway.plugins.sources.installed import Installed
from sampan.gateway.plugins.wasm import PROXY_WASM
from sampan.node.inotify import changes_of
from sampan.schema.objects import Object

SETTLE_SECONDS = 0.03
"""An editor writes a file in several steps; the directory is read when it has been quiet for so long."""
CHECK_SECONDS = 20.0
AGAIN_SECONDS = 10.0
"""After what time a source is asked again that could not be fetched."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The live version of a plugin: its content's hash, and the module pyvoy runs (``<module>:app``)."""

    version: str
    module: str
    kind: str = "hook"
    socket: str = ""
    """Where its own process answers; empty for one that runs in Envoy."""
    phases: tuple[str, ...] = ()
    """What of an exchange a processor has methods for."""
    is_there: bool = True
    """Whether its process runs: one that ended is started again."""
    settings: str = ""
    """As JSON, for a module that Envoy runs."""
    fails_open: bool = False
    reroutes: bool = False
    timeout_seconds: float = 0.0
    slow: str = ""
    """Why it is not shown of a plugin in Envoy, or of a processor, that it is quick (``quick.py``); empty where it is."""
    apart: str = ""
    """Why a processor is only called in its process, however quick it is."""
    package: str = ""
    """What it is imported as in Envoy; empty for one that is not called there."""
    deployment: str = ""
    """How it is called (``Deployment``), as JSON; of processors."""
    revision: str = ""
    """What its source calls it: a commit, a digest, a package's version."""

    @property
    def is_slow(self) -> bool:
        """Whether it runs in Envoy's Python and may hold it as long as it likes."""
        return self.kind in ("hook", "asgi") and not self.socket and bool(self.slow)


def package_of(content: Content) -> str:
    """Return the name under which a version is imported: each Plugin has modules of its own, whatever it shares."""
    return f"sampan_plugin_{content.version}"


def write_package(plugin_dir: Path, package: str, content: Content) -> None:
    """Write a version as a package, with the module beside it that pyvoy imports."""
    folder = plugin_dir / package
    for name, data in {"__init__.py": b"", **content.files}.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    said = content.deployment.json()
    text = f"from sampan.gateway.plugins.host import host\n\napp = host({package!r}, {content.version!r}, {said!r})\n"
    (plugin_dir / f"{package}_app.py").write_text(text)


TRIAL = """
import os
out = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
import {package}_app
from sampan.gateway.plugins.quick import reason_of_hosted
os.write(out, reason_of_hosted({package!r}).encode())
"""
"""What a plugin prints while it is imported is not what is asked for."""


async def try_package(plugin_dir: Path, package: str, origin: str) -> str:
    """Import a version in a process of its own, and return why it is not shown that it is quick, "" where it is. Raises
    ``PluginError`` with what Python said."""
    paths = os.pathsep.join([str(plugin_dir), *sys.path])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", TRIAL.format(package=package)),
        env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            slow, errors = await process.communicate()
    except TimeoutError:
        raise PluginError(f"its import does not end within {CHECK_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise PluginError(last_words(errors.decode(errors="replace"), str(plugin_dir / package), origin))
    return slow.decode(errors="replace")


def last_words(text: str, folder: str, origin: str) -> str:
    """Return the error of a traceback with the plugin's own file and line."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    place = next((line for line in reversed(lines) if line.startswith("File ") and folder in line), "")
    place = place.replace(folder, origin).removeprefix("File ")
    message = lines[-1] if lines else "its import failed without a word"
    return f"{message} ({place})" if place else message


def config_map_of(plugin: Object) -> str:
    """Return the key of the ConfigMap that a Plugin comes from, "" when it does not."""
    name = (plugin["spec"].get("configMapRef") or {}).get("name")
    return f"{plugin['metadata']['namespace']}/{name}" if name else ""


class Plugins:
    """All plugins: ``live`` is what serves, ``problems`` why a newer version does not; both by ``ns/name``."""

    def __init__(
        self, plugin_dir: Path, changed: Callable[[], None], group: asyncio.TaskGroup, run_dir: Path, log: Path
    ) -> None:
        self.live: dict[str, Loaded] = {}
        self.problems: dict[str, str] = {}
        self._dir = plugin_dir
        self.secrets: Callable[[str], Object | str] = lambda key: f"Secret {key} does not exist"
        """How a Secret is found that a source needs, or why it is not."""
        self._config_maps: dict[str, Object] = {}
        """Those that a Plugin names, or may name."""
        self._plugins: dict[str, Object] = {}
        self._changed = changed
        self._group = group
        self._processes = Processes(run_dir, plugin_dir, log, group)
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._loading: set[str] = set()
        self._trying: dict[str, str] = {}
        self._loaded = asyncio.Event()
        self._loaded.set()

    async def loaded(self) -> None:
        """Return when every plugin that is known has been tried once: until then its routes would answer 500."""
        await self._loaded.wait()

    def _tried(self, key: str) -> None:
        self._loading.discard(key)
        if not self._loading:
            self._loaded.set()

    def on_config_map(self, change: str, old: Object | None, new: Object) -> None:
        """Informer handler: load the plugins again that come from a ConfigMap."""
        key = key_of(new)
        if change == "DELETED":
            self._config_maps.pop(key, None)
        elif any(name.endswith(CODE) for name in {**(new.get("data") or {}), **(new.get("binaryData") or {})}):
            self._config_maps[key] = new
        elif self._config_maps.pop(key, None) is None:
            return
        for plugin_key, plugin in list(self._plugins.items()):
            if config_map_of(plugin) == key and plugin_key in self._tasks:
                identity, task = self._tasks[plugin_key]
                task.cancel()
                again = self._group.create_task(self._follow(plugin_key, plugin), name=f"plugin-{plugin_key}")
                self._tasks[plugin_key] = (identity, again)

    def on_plugin(self, change: str, old: Object | None, new: Object) -> None:
        """Informer handler: follow a plugin for as long as its spec stays."""
        key = key_of(new)
        known = self._tasks.get(key)
        identity = f"{new['metadata']['uid']}{new['metadata'].get('generation')}"
        if known is not None and change != "DELETED" and known[0] == identity:
            return
        if known is not None:
            known[1].cancel()
            del self._tasks[key]
        if change == "DELETED":
            self._plugins.pop(key, None)
            self._tried(key)
            self.live.pop(key, None)
            self.problems.pop(key, None)
            self._changed()
            return
        self._plugins[key] = new
        if key not in self.live:
            self._loading.add(key)
            self._loaded.clear()
        task = self._group.create_task(self._follow(key, new), name=f"plugin-{key}")
        self._tasks[key] = (identity, task)

    async def _follow(self, key: str, plugin: Object) -> None:
        if (source := self._source(plugin)) is not None:
            await self._follow_source(key, plugin, source)
            return
        path = plugin["spec"].get("path")
        while True:
            try:
                if not path or plugin["spec"].get("source") or config_map_of(plugin):
                    await self._load(key, plugin)
                    return
                async with changes_of(Path(path)) as changed:
                    while True:
                        await self._load(key, plugin)
                        await changed.wait()
                        while changed.is_set():
                            changed.clear()
                            await asyncio.sleep(SETTLE_SECONDS)
            except OSError as error:  # the directory is not there (any more)
                self.problems[key] = f"{path}: {error.strerror or error}"
                self._tried(key)
                self._changed()
                await asyncio.sleep(1.0)

    def _source(self, plugin: Object) -> Source | None:
        namespace = plugin["metadata"].get("namespace", "")
        secret = self.secrets(f"{namespace}/{secret_of(plugin['spec'])}")
        return source_of(plugin["spec"], self._dir / "fetched", secret)

    async def _follow_source(self, key: str, plugin: Object, source: Source) -> None:
        """Serve what was fetched before at once, then what is there, for as long as it may change."""
        with contextlib.suppress(OSError):  # what is in the way is told by the first try to fetch it
            cached = await source.cached()
            if cached is not None:
                await self._load(key, plugin, cached)
        if not isinstance(source, Installed):
            self._tried(key)  # who is far away is not waited for
        while True:
            patience: float | None = None
            try:
                await self._load(key, plugin, await source.fetch())
            except (PluginError, OSError) as error:  # the disk is full, a file is where a folder should be
                patience = AGAIN_SECONDS
                if self.problems.get(key) != str(error):
                    self.problems[key] = str(error)
                    self._changed()
            self._tried(key)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await source.changed()
            source = self._source(plugin) or source  # its Secret may be there now, or another

    async def _load(self, key: str, plugin: Object, fetched: Fetched | None = None) -> None:
        try:
            config_map = self._config_maps.get(config_map_of(plugin))
            content = await asyncio.to_thread(content_of, key, plugin, config_map, fetched)
            version, package = content.version, package_of(content)
            live = self.live.get(key)
            if live is not None and live.version == version and live.revision != content.revision:
                self.live[key] = replace(live, revision=content.revision)
            if live is None or live.version != version:
                self._trying[key] = package  # not live yet, and not to be swept
                await asyncio.to_thread(write_package, self._dir, package, content)
                loaded = await self._tried_version(key, content, package)
                self.live[key] = replace(loaded, revision=content.revision)
            had_problem = self.problems.pop(key, None)
            if had_problem is None and self.live[key] == live:
                return
        except PluginError as error:
            self.problems[key] = str(error)
        finally:
            self._trying.pop(key, None)
            self._tried(key)
        self._changed()

    async def _tried_version(self, key: str, content: Content, package: str) -> Loaded:
        """Return a version that can serve. Raises ``PluginError``."""
        origin = (self._plugins.get(key) or {"spec": {}})["spec"].get("path") or "plugin"
        kind, settings = content.deployment.kind, json.dumps(content.deployment.settings)
        if kind == PROXY_WASM:  # Envoy tries it, and its words are the condition's
            module, fails_open = (
                str(self._dir / package / content.deployment.entry_point),
                content.deployment.fails_open,
            )
            return Loaded(content.version, module, kind, settings=settings, fails_open=fails_open)
        asked = content.deployment
        options: dict[str, Any] = {
            "fails_open": asked.fails_open,
            "reroutes": asked.reroutes,
            "timeout_seconds": asked.timeout_seconds,
        }
        if content.deployment.isolation != PROCESS:
            slow = await try_package(self._dir, package, origin)
            return Loaded(content.version, f"{package}_app", kind, slow=slow, **options)
        try:
            socket, ready = await self._processes.start(
                content, package, partial(self._process_says, key, content.version)
            )
        except PluginError as error:
            raise PluginError(last_words(str(error), str(self._dir / package), origin)) from None
        if kind == "processor":
            options |= {"slow": ready.slow, "apart": apart_of(content, ready.phases)}
            options |= {"package": "" if content.package else package, "deployment": asked.json()}
        return Loaded(content.version, "", kind, socket, ready.phases, **options)

    def _process_says(self, key: str, version: str, is_there: bool, problem: str) -> None:
        live = self.live.get(key)
        if live is None or live.version != version:
            return
        self.live[key] = replace(live, is_there=is_there)
        if problem:
            self.problems[key] = problem
        elif is_there and not live.is_there:
            self.problems.pop(key, None)
        self._changed()

    def versions(self) -> dict[str, str]:
        """Return the live version of each plugin."""
        return {key: loaded.version for key, loaded in self.live.items()}

    def sweep(self, told: dict[str, str]) -> None:
        """Remove versions that no plugin has live or is about to, and end their processes. ``told``: what Envoy uses, which
        may be older than what is live."""
        self._processes.sweep({*told.items(), *self.versions().items()})
        versions = {*told.values(), *self.versions().values()}
        kept = {f"sampan_plugin_{version}" for version in versions} | set(self._trying.values())
        for entry in self._dir.glob("sampan_plugin_*"):
            if entry.name.removesuffix(".py").removesuffix("_app") in kept:
                continue
            with contextlib.suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
