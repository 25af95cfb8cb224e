"""Plugins, and what stands behind Middlewares: their filters, the hooks that decide, the issuers and databases they name."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.hook import serving
from sampan.gateway.issuers import Issuer
from sampan.gateway.middlewares import databases_of, issuer_of
from sampan.gateway.middlewares.hooked import hook_app, hook_key
from sampan.gateway.stages.resources import Resources, note
from sampan.gateway.xds import plugins
from sampan.gateway.xds.judged import JudgedPlugins
from sampan.gateway.xds.types import EXTENSION


class Plugins:
    def __init__(self, out: Resources) -> None:
        self.out, self.world = out, out.world
        self.judged = JudgedPlugins(self.world)
        self.issuers: dict[tuple[str, str], Issuer] = {}
        """Middleware → the OpenID issuer that it names."""
        self.databases: dict[tuple[str, str], set[str]] = {}
        """Middleware → the paths of the databases that it names."""
        self._slow: set[str] = set()
        """Plugins in Envoy's Python of which it is not shown that they are quick."""

    def put(self, key: str, live: Any, problem: str) -> None:
        """Take over which version of a plugin is live (None: none), and why a newer one is not."""
        self.world.put("PluginProblem", key, problem or None)
        if live is not None and live.is_slow:
            self._slow.add(key)
        else:
            self._slow.discard(key)
        self.world.put("SlowPython", "", min(self._slow, default=None))
        refused = self.world.get("RefusedPlugin", key)
        if refused is not None and (live is None or refused[0] != live.version):
            self.world.put("RefusedPlugin", key, None)
        if self.world.put("LivePlugin", key, live):
            self.world.dirty.add(("plugin", key))

    def compute(self, key: str) -> None:
        loaded, news = serving(self.world, key), {}
        for type_url, name, message in plugins.of_plugin(self.world, key, loaded):
            changed = self.out.emit(type_url, name, message)
            if type_url == EXTENSION and changed:  # it is judged anew: a listener may name it again
                self.world.put("Refusal", (type_url, name), None)
                news[name] = message
            if type_url == EXTENSION and message is None:
                self.world.put("Taken", name, None)
        self.judged.sent(key, loaded, news, self.out.ads.sequence + 1)

    def compute_hook(self, kind: str, key: str) -> None:
        """Make what stands behind a Middleware: the hook that decides, the issuer to ask. Its routes tell what is wrong."""
        spec = (self.world.get(kind, key) or {}).get("spec") or {}
        note(self.databases, (kind, key), databases_of(spec))
        note(self.issuers, (kind, key), issuer_of(spec, key.partition("/")[0], self.world))
        app = hook_app(self.world, kind, key)
        name = hook_key(kind, key)
        if self.world.put("Hook", name, app) or app is not None:
            for type_url, resource, message in plugins.resources(self.world, name, app):
                self.out.emit(type_url, resource, message)

    def taken_versions(self) -> dict[str, str]:
        """Return the version of each plugin that Envoy has."""
        return {str(key): loaded.version for key, loaded in self.world.all("TakenPlugin").items()}
